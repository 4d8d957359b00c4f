"""What a configuration may say: every key with its type, its range and what it must agree with.

The YAML under `conf/` holds the values; this file holds the rules. `check` turns a composed configuration
into a frozen `Config`, or names every fault in it at once.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ACTIVATIONS = ("relu", "tanh", "sigmoid")

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Width = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """Unknown keys fail, strings are not numbers, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FileData(_Section):
    """A table in a CSV or Parquet file, and the role of each of its columns.

    Every column has exactly one role: target, numeric, categorical, group or drop. `numeric: null` and
    `categorical: null` mean "the columns that nothing else names, by their type". `group` is a column, a list
    of columns that identify an individual together, or a list of such lists, any of which identifies it.
    `keep` lists columns to train on although a check objects to them.
    """

    source: Literal["file"]
    name: Annotated[str, Field(min_length=1)]
    path: str
    sha256: str | None
    target: str
    positive: str | int | float | bool | None
    numeric: tuple[str, ...] | None
    categorical: tuple[str, ...] | None
    drop: tuple[str, ...]
    group: str | tuple[str, ...] | tuple[tuple[str, ...], ...] | None
    keep: tuple[str, ...]


class SimulatedData(_Section):
    """A table drawn from a known rule, so that the best possible accuracy (1 - noise) is known too."""

    source: Literal["simulated"]
    name: Annotated[str, Field(min_length=1)]
    kind: Literal["moons", "linear"]
    rows: Annotated[int, Field(ge=1)]
    features: Annotated[int, Field(ge=1)]
    noise: Annotated[float, Field(ge=0, lt=0.5)]
    seed: Seed

    @model_validator(mode="after")
    def _moons_lie_in_a_plane(self) -> "SimulatedData":
        if self.kind == "moons" and self.features < 2:
            raise ValueError("moons need features >= 2; use kind: linear for a single feature")
        return self


class Split(_Section):
    """Shares of the rows; the same seed gives the same parts, whatever the run's own seed."""

    train: Fraction
    val: Fraction
    test: Fraction
    seed: Seed
    stratify: bool

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> "Split":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"train + val + test must be 1, but {self.train} + {self.val} + {self.test} = {total:.10g}"
            )
        return self


class Model(_Section):
    """A multilayer perceptron: widths of the hidden layers, and the output sigmoid(scale * score).

    `hidden: []` is logistic regression; then there is no activation (null) and nothing to drop out.
    """

    hidden: tuple[Width, ...]
    activation: Literal["relu", "tanh", "sigmoid"] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "Model":
        if self.hidden and self.activation is None:
            raise ValueError(f"hidden layers need an activation: one of {', '.join(ACTIVATIONS)}")
        if not self.hidden and self.activation is not None:
            raise ValueError("without hidden layers an activation has no effect; say activation: null")
        if not self.hidden and self.dropout > 0:
            raise ValueError("without hidden layers dropout has no effect; say dropout: 0")
        return self


class SGD(_Section):
    name: Literal["sgd"]
    lr: Annotated[float, Field(gt=0)]


class Momentum(_Section):
    name: Literal["momentum"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Adagrad(_Section):
    name: Literal["adagrad"]
    lr: Annotated[float, Field(gt=0)]
    epsilon: Annotated[float, Field(gt=0)]


class Adam(_Section):
    name: Literal["adam"]
    lr: Annotated[float, Field(gt=0)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(gt=0)]


class Train(_Section):
    """`patience`: stop after that many epochs without a better validation loss; null trains them all."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)] | None


class Tracking(_Section):
    uri: Annotated[str, Field(min_length=1)]
    experiment: Annotated[str, Field(min_length=1)]


class Sweep(_Section):
    """`id` ties a job to its sweep; `sweepgrad train --multirun` sets it, null means a run on its own."""

    id: str | None


DataConfig = Annotated[FileData | SimulatedData, Field(discriminator="source")]
OptimizerConfig = Annotated[SGD | Momentum | Adagrad | Adam, Field(discriminator="name")]


class Config(_Section):
    """One run, whole."""

    seed: Seed
    data: DataConfig
    split: Split
    model: Model
    optimizer: OptimizerConfig
    train: Train
    tracking: Tracking
    sweep: Sweep


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: the dotted key, and what about it."""

    key: str
    problem: str


class ConfigFaults(Exception):
    """All faults of one configuration."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.key}: {fault.problem}" for fault in faults))
        self.faults = tuple(faults)


def check(values: Mapping[str, Any]) -> Config:
    """The typed configuration, from a composed and resolved one as plain dicts and lists.

    Raises:
        ConfigFaults: naming every unknown key, wrong type, value out of range and combination without sense.
    """
    if missing := list(_missing(values)):
        raise ConfigFaults([Fault(key, f"must be given: {key}=…") for key in missing])
    try:
        return Config.model_validate(_tuples(values))
    except ValidationError as error:
        raise ConfigFaults([_fault(values, details) for details in error.errors()]) from None


def nearest(word: str, among: Sequence[str], prefix: str = "") -> str:
    """' Did you mean X?' for the most similar of the words, with `prefix` before it; or nothing."""
    close = difflib.get_close_matches(word, among, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def _missing(values: Any, prefix: str = "") -> Iterator[str]:
    """The keys that the YAML leaves to the user, by the value ???."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def _tuples(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _tuples(value) for key, value in values.items()}
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _fault(values: Mapping[str, Any], details: Any) -> Fault:
    path = _config_path(values, details["loc"])
    key, kind, given = ".".join(path), details["type"], details["input"]
    if kind == "extra_forbidden":
        return Fault(key, _unknown(values, path))
    if kind == "missing":
        return Fault(key, "is missing")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details["ctx"]["discriminator"].strip("'")
        return Fault(f"{key}.{tag}", f"must be one of {details['ctx'].get('expected_tags', 'its options')}")
    if kind == "value_error":
        return Fault(key, details["msg"].removeprefix("Value error, "))
    wanted = details["msg"].removeprefix("Input ").removeprefix("String ").replace("tuple", "list")
    shown = repr(list(given)) if isinstance(given, tuple) else repr(given)
    return Fault(key, f"{shown} {wanted}")


def _config_path(values: Mapping[str, Any], location: Sequence[str | int]) -> list[str]:
    """The keys of `location` without pydantic's names of union members."""
    path: list[str] = []
    at: Any = values
    for step in location:
        if isinstance(at, Mapping) and isinstance(step, str):
            if step not in at and path and len(location) > 1 and step in (at.get("source"), at.get("name")):
                continue
            path.append(step)
            at = at.get(step)
        elif isinstance(at, list | tuple) and isinstance(step, int) and step < len(at):
            path.append(str(step))
            at = at[step]
    return path


def _unknown(values: Mapping[str, Any], path: Sequence[str]) -> str:
    *sections, name = path
    if not sections:
        known = list(Config.model_fields)
    else:
        section = sections[0]
        options = _OPTIONS.get(section, {})
        chosen = _chosen(section, values[section])
        known = list(chosen.model_fields)
        elsewhere = next((option for option, other in options.items() if name in other.model_fields), None)
        if elsewhere is not None:
            return f"is no key of {section}={values[section]['name']}; it belongs to {section}={elsewhere}."
    prefix = "".join(f"{section}." for section in sections)
    there = ", ".join(known)
    return f"is no key.{nearest(name, known, prefix) or f' There are: {there}.'}"


_OPTIONS: dict[str, dict[str, type[BaseModel]]] = {
    "data": {"csv": FileData, "simulated": SimulatedData},
    "optimizer": {"sgd": SGD, "momentum": Momentum, "adagrad": Adagrad, "adam": Adam},
}


def _chosen(section: str, values: Mapping[str, Any]) -> type[BaseModel]:
    """The class that checks a section, given what it says of itself."""
    if section == "data":
        return SimulatedData if values.get("source") == "simulated" else FileData
    if section == "optimizer":
        return _OPTIONS["optimizer"].get(str(values.get("name")), SGD)
    annotation = Config.model_fields[section].annotation
    assert isinstance(annotation, type)
    return annotation
