"""What a search may try: Hydra's sweep syntax read as a space, and a point of that space as overrides.

key=choice(a,b), key=a,b, key=glob(*)  one of these, without order: shuffle() and sort() change nothing
key=range(1,9,2)                       one of 1, 3, 5, 7; the end is left out, as when Hydra enumerates
key=interval(0,0.6)                    a float, both ends included; Hydra makes floats of whole ends too
key=int(interval(1,64))                a whole number, both ends included
key=tag(log,interval(1e-4,1e-1))       as probable between 1e-4 and 1e-3 as between 1e-2 and 1e-1
key=value, +key=value, ~key            the same in every job
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweepgrad.compose.internals import (
    ChoiceSweep,
    ConfigLoader,
    IntervalSweep,
    Override,
    OverridesParser,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from sweepgrad.errors import UserError
from sweepgrad.runs import provenance

# Without ASCII, IGNORECASE takes İ for an i, which Hydra's words do not have.
_PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z_][a-z0-9_./-]*", re.IGNORECASE | re.ASCII)
# Sections that change where results go, and what is done with them, not what they are.
_OF_NO_EFFECT = ("hydra", "tracking", "sweep", "select")
_OF_EFFECT = ("select.metric", "sweep.halving")  # but for these: what a job tells, and after how many epochs


@dataclass(frozen=True)
class Choices:
    """One of some values, each written as Hydra reads it back."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"choice({','.join(self.values)})"


@dataclass(frozen=True)
class Steps:
    """One of evenly spaced numbers, ascending."""

    values: range | tuple[float, ...]

    def __str__(self) -> str:
        return f"{len(self.values)} values from {self.values[0]} to {self.values[-1]}"


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included: a whole one if these are ints.

    Attributes:
        log: whether its logarithm is uniform, rather than itself.
    """

    low: float
    high: float
    log: bool

    def __str__(self) -> str:
        plain = f"interval({self.low},{self.high})"
        return f"tag(log,{plain})" if self.log else plain


Dimension = Choices | Steps | Interval


@dataclass(frozen=True)
class Space:
    """A search space and what is the same in all its points.

    Attributes:
        parts: by key (with + or ~ before it, if so given) a dimension or a whole override, in order.
    """

    parts: Mapping[str, Dimension | str]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """By key, sorted: a command means the same whatever the order of its words."""
        return {key: part for key, part in sorted(self.parts.items()) if not isinstance(part, str)}

    @property
    def fixed(self) -> dict[str, str]:
        """The overrides that all points share, by key."""
        return {key: part for key, part in self.parts.items() if isinstance(part, str)}

    @property
    def size(self) -> float:
        """How many points there are."""
        return math.prod(map(_count, self.dimensions.values()))

    def overrides(self, point: Mapping[str, str]) -> list[str]:
        """A point as a job's overrides; `point` gives the value of each dimension as text."""
        return [part if isinstance(part, str) else f"{key}={point[key]}" for key, part in self.parts.items()]


def parse(params: Mapping[str, str], arguments: Sequence[str], loader: ConfigLoader) -> Space:
    """Read a search space.

    Arguments:
        params: `hydra.sweeper.params`, as an experiment gives them.
        arguments: the overrides of the command line, which win over `params`.
        loader: knows the options that glob() matches.

    Raises:
        UserError: nothing is to be searched, a key is given twice, or a dimension has no values.
    """
    parser = OverridesParser.create(loader)
    parts: dict[str, tuple[str, Dimension | str]] = {}
    for words in ([f"{key}={value}" for key, value in params.items()], arguments):
        said: dict[str, Override] = {}
        for override in parser.parse_overrides(list(words)):
            key = override.get_key_element()
            name = key if override.is_delete() else key.lstrip("+")
            if name in said:
                both = f"{said[name].input_line} {override.input_line}"
                raise UserError(f"{both}: {name} is given twice; keep one of them.")
            said[name] = override
            parts.pop(name, None)
            parts[name] = key, _part(override)
    space = Space(dict(parts.values()))
    if not space.dimensions:
        raise UserError(
            "hydra/sweeper=optuna has nothing to search: give some key more than one value, such as"
            " 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' or 'model=choice(wide,deep)'."
        )
    return space


def setting(
    space: Space, config: DictConfig, loader: ConfigLoader, tables: Mapping[str, str]
) -> dict[str, str]:
    """All that the jobs' results depend on, by key: where it differs, results are not to be mixed.

    The configuration is taken before interpolation, so that no path of the machine enters. Of a config group
    that is searched, the YAML of each option counts too.

    Arguments:
        tables: what tells the contents of each table, by name.
    """
    fixed = [part for key, part in space.fixed.items() if _has_effect(key)]
    said = dict(_flat(config))
    said |= {key: part for key, part in space.fixed.items() if _has_effect(key)}
    said["the code"] = provenance.code()
    said |= {f"the table {name}": contents for name, contents in tables.items()}
    for key, dimension in space.dimensions.items():
        said[key] = str(dimension)
        if isinstance(dimension, Choices) and loader.get_group_options(key.lstrip("+").partition("@")[0]):
            for value in dimension.values:
                composed = loader.load_sweep_config(config, [*fixed, f"{key}={value}"])
                said[f"the YAML of {key}={value}"] = digest(dict(_flat(composed)))
    return said


def digest(values: Mapping[str, str]) -> str:
    """A short name for what `values` says."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=5).hexdigest()


def _count(dimension: Dimension) -> float:
    if not isinstance(dimension, Interval):
        return len(dimension.values)
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return dimension.high - dimension.low + 1
    return math.inf


def _part(override: Override) -> Dimension | str:
    line = str(override.input_line)
    if not override.is_sweep_override():
        return line
    sweep = override.value()
    if isinstance(sweep, Sweep) and (unknown := sweep.tags - _known_tags(sweep)):
        raise UserError(f"{line}: tag {', '.join(sorted(unknown))} has no effect; log on interval() has.")
    if isinstance(sweep, IntervalSweep):
        return _interval(line, sweep)
    if isinstance(sweep, RangeSweep):
        return _steps(line, sweep)
    values = sweep.list if isinstance(sweep, ChoiceSweep) else list(override.sweep_iterator())
    texts = sorted(Transformer.str(_quoted(value)) for value in values)
    if not texts:
        raise UserError(f"{line}: matches nothing.")
    if twice := sorted({text for text in texts if texts.count(text) > 1}):
        raise UserError(f"{line}: {', '.join(twice)} is there twice; a search wants each value once.")
    return Choices(tuple(texts))


def _known_tags(sweep: Sweep) -> set[str]:
    return {"log"} if isinstance(sweep, IntervalSweep) else set()


def _interval(line: str, sweep: IntervalSweep) -> Interval:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{line}: the ends must be numbers, the lower one first.")
    if log and low <= 0:
        raise UserError(f"{line}: a logarithmic interval begins above 0.")
    return Interval(low, high, log)


def _steps(line: str, sweep: RangeSweep) -> Steps:
    if not sweep.step:
        raise UserError(f"{line}: the step must not be 0.")
    numbers = sweep.range()
    values = numbers if isinstance(numbers, range) else tuple(numbers)
    if not values:
        raise UserError(f"{line}: is empty; range(a,b) goes from a to below b.")
    return Steps(values if sweep.step > 0 else values[::-1])


def _quoted(value: Any) -> Any:
    """A value with its strings in quotes where Hydra would else read something else, such as a number."""
    if isinstance(value, list):
        return [_quoted(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _quoted(inner) for key, inner in value.items()}
    text = value.text if isinstance(value, QuotedString) else value
    if not isinstance(text, str) or _PLAIN.fullmatch(text):
        return text
    return QuotedString(text, Quote.single)


def _has_effect(key: str) -> bool:
    name = key.lstrip("+~")
    within = any(name == key or name.startswith(f"{key}.") for key in _OF_EFFECT)
    return within or name.partition(".")[0] not in _OF_NO_EFFECT


def _flat(config: DictConfig) -> Iterator[tuple[str, str]]:
    """The keys of a configuration that have an effect, with their values as JSON."""
    found: list[tuple[str, Any]] = [("", OmegaConf.to_container(config, resolve=False))]
    while found:
        key, value = found.pop()
        if isinstance(value, dict) and value:
            found += [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
        elif _has_effect(key):
            yield key, json.dumps(value, sort_keys=True, default=str)
