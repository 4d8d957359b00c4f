"""Search spaces: parse Hydra's sweep syntax, and return a point of the space as overrides.

key=choice(a,b), key=a,b, key=glob(*)  one of these values, without order: shuffle() and sort() have no effect
key=range(1,9,2)                       one of 1, 3, 5, 7; the end is excluded, as in Hydra
key=interval(0,0.6)                    a float, both ends included; Hydra reads integer ends as floats too
key=int(interval(1,64))                an integer, both ends included
key=tag(log,interval(1e-4,1e-1))       a float whose logarithm is uniform
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

# ASCII: otherwise IGNORECASE matches İ as an i, which Hydra does not.
_PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z_][a-z0-9_./-]*", re.IGNORECASE | re.ASCII)
# Sections that do not change the results of jobs, but where they are written and how they are used.
_WITHOUT_EFFECT = ("hydra", "tracking", "sweep", "select")
_WITH_EFFECT = ("select.metric", "sweep.halving")  # exceptions: the value of a job, and its epochs


@dataclass(frozen=True)
class Choices:
    """One of several values, each as Hydra's override grammar writes it."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"choice({','.join(self.values)})"


@dataclass(frozen=True)
class Steps:
    """One of several evenly spaced numbers, in ascending order."""

    values: range | tuple[float, ...]

    def __str__(self) -> str:
        return f"{len(self.values)} values from {self.values[0]} to {self.values[-1]}"


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included; an integer if these are ints.

    Attributes:
        log: whether the logarithm of the number is uniform, instead of the number.
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
    """A search space and the overrides that all its points share.

    Attributes:
        parts: a dimension or a whole override by key (with its prefix + or ~, if any), in order.
    """

    parts: Mapping[str, Dimension | str]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The dimensions by key, sorted, so that the order of overrides does not matter."""
        return {key: part for key, part in sorted(self.parts.items()) if not isinstance(part, str)}

    @property
    def fixed(self) -> dict[str, str]:
        """The overrides that all points share, by key."""
        return {key: part for key, part in self.parts.items() if isinstance(part, str)}

    @property
    def size(self) -> float:
        """The number of points."""
        return math.prod(map(_count, self.dimensions.values()))

    def overrides(self, point: Mapping[str, str]) -> list[str]:
        """Return the overrides of a point; `point` holds the value of each dimension as text."""
        return [part if isinstance(part, str) else f"{key}={point[key]}" for key, part in self.parts.items()]


def parse(params: Mapping[str, str], arguments: Sequence[str], loader: ConfigLoader) -> Space:
    """Read a search space.

    Arguments:
        params: `hydra.sweeper.params`, for example of an experiment.
        arguments: the overrides of the command line, which take precedence over `params`.
        loader: resolves the options that glob() matches.

    Raises:
        UserError: there is nothing to search, a key is given twice, or a dimension has no values.
    """
    parser = OverridesParser.create(loader)
    parts: dict[str, tuple[str, Dimension | str]] = {}
    for lines in ([f"{key}={value}" for key, value in params.items()], arguments):
        given: dict[str, Override] = {}
        for override in parser.parse_overrides(list(lines)):
            key = override.get_key_element()
            name = key if override.is_delete() else key.lstrip("+")
            if name in given:
                both = f"{given[name].input_line} {override.input_line}"
                raise UserError(f"{both}: {name} is given twice; keep one of them.")
            given[name] = override
            parts.pop(name, None)
            parts[name] = key, _part(override)
    space = Space(dict(parts.values()))
    if not space.dimensions:
        raise UserError(
            "hydra/sweeper=optuna: there is nothing to search. Give a key more than one value, such as"
            " 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' or 'model=choice(wide,deep)'."
        )
    return space


def setting(
    space: Space, config: DictConfig, loader: ConfigLoader, tables: Mapping[str, str]
) -> dict[str, str]:
    """Return everything that the results of the jobs depend on, by key; studies with others are not mixed.

    The configuration is taken before interpolation, so that it contains no paths of this machine. For a
    searched config group, the YAML of each option is included.

    Arguments:
        tables: an identifier of the contents of each table, by name.
    """
    fixed = [part for key, part in space.fixed.items() if _has_effect(key)]
    values = dict(_flat(config))
    values |= {key: part for key, part in space.fixed.items() if _has_effect(key)}
    values["the code"] = provenance.code()
    values |= {f"the table {name}": contents for name, contents in tables.items()}
    for key, dimension in space.dimensions.items():
        values[key] = str(dimension)
        if isinstance(dimension, Choices) and loader.get_group_options(key.lstrip("+").partition("@")[0]):
            for value in dimension.values:
                composed = loader.load_sweep_config(config, [*fixed, f"{key}={value}"])
                values[f"the YAML of {key}={value}"] = digest(dict(_flat(composed)))
    return values


def digest(values: Mapping[str, str]) -> str:
    """Return a short digest of values."""
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
        raise UserError(
            f"{line}: tag {', '.join(sorted(unknown))} has no effect here; the only tag is log, for"
            " interval()."
        )
    if isinstance(sweep, IntervalSweep):
        return _interval(line, sweep)
    if isinstance(sweep, RangeSweep):
        return _steps(line, sweep)
    values = sweep.list if isinstance(sweep, ChoiceSweep) else list(override.sweep_iterator())
    texts = sorted(Transformer.str(_quoted(value)) for value in values)
    if not texts:
        raise UserError(f"{line}: no option matches.")
    if twice := sorted({text for text in texts if texts.count(text) > 1}):
        raise UserError(f"{line}: {', '.join(twice)} is given twice; give each value once.")
    return Choices(tuple(texts))


def _known_tags(sweep: Sweep) -> set[str]:
    return {"log"} if isinstance(sweep, IntervalSweep) else set()


def _interval(line: str, sweep: IntervalSweep) -> Interval:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{line}: both ends must be finite numbers, the lower one first.")
    if log and low <= 0:
        raise UserError(f"{line}: the lower end of a logarithmic interval must be positive.")
    return Interval(low, high, log)


def _steps(line: str, sweep: RangeSweep) -> Steps:
    if not sweep.step:
        raise UserError(f"{line}: the step must not be 0.")
    numbers = sweep.range()
    values = numbers if isinstance(numbers, range) else tuple(numbers)
    if not values:
        raise UserError(f"{line}: the range is empty; range(a,b) starts at a and excludes b.")
    return Steps(values if sweep.step > 0 else values[::-1])


def _quoted(value: Any) -> Any:
    """Return a value with quotes around strings that Hydra would otherwise read as another type."""
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
    within = any(name == key or name.startswith(f"{key}.") for key in _WITH_EFFECT)
    return within or name.partition(".")[0] not in _WITHOUT_EFFECT


def _flat(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Yield the keys of a configuration that have an effect on results, with their values as JSON."""
    found: list[tuple[str, Any]] = [("", OmegaConf.to_container(config, resolve=False))]
    while found:
        key, value = found.pop()
        if isinstance(value, dict) and value:
            found += [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
        elif _has_effect(key):
            yield key, json.dumps(value, sort_keys=True, default=str)
