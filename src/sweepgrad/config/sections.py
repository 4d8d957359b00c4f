"""What every section of a configuration is made of; those that come in kinds, and those of the table."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]  # MLflow registers models under it


class Section(BaseModel):
    """Unknown keys fail, strings are not numbers, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SGD(Section):
    name: Literal["sgd"]
    lr: Annotated[float, Field(gt=0)]


class Momentum(Section):
    name: Literal["momentum"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Adagrad(Section):
    name: Literal["adagrad"]
    lr: Annotated[float, Field(gt=0)]
    epsilon: Annotated[float, Field(gt=0)]


class Adam(Section):
    name: Literal["adam"]
    lr: Annotated[float, Field(gt=0)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(gt=0)]


class ConstantSchedule(Section):
    name: Literal["constant"]


class InverseRootSchedule(Section):
    name: Literal["inverse_root"]
    delay: Annotated[int, Field(ge=1)]


class StaircaseSchedule(Section):
    name: Literal["staircase"]
    every: Annotated[int, Field(ge=1)]
    factor: Fraction


class CosineSchedule(Section):
    name: Literal["cosine"]
    final: Annotated[float, Field(ge=0, lt=1)]


OptimizerConfig = Annotated[SGD | Momentum | Adagrad | Adam, Field(discriminator="name")]
ScheduleConfig = Annotated[
    ConstantSchedule | InverseRootSchedule | StaircaseSchedule | CosineSchedule, Field(discriminator="name")
]


Transform = Literal["standardize", "quantile_normal"]
ColumnTransforms = tuple[tuple[str, Transform], ...]  # a mapping, but hashable


class HalfThreshold(Section):
    """Positive from a probability of one half on."""

    rule: Literal["half"]


class AccuracyThreshold(Section):
    """Where most validation rows are right."""

    rule: Literal["accuracy"]


class F1Threshold(Section):
    """Where F1 on validation rows, the harmonic mean of precision and recall, is highest."""

    rule: Literal["f1"]


class PrevalenceThreshold(Section):
    """Where as large a share of the validation rows is taken for positive as is positive in training."""

    rule: Literal["prevalence"]


class CostThreshold(Section):
    """Where both mistakes are expected to cost the same; only the ratio of the costs moves it."""

    rule: Literal["cost"]
    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


class NoEnsemble(Section):
    kind: Literal["none"]


class SeedsEnsemble(Section):
    """For each configuration, all its seeds averaged."""

    kind: Literal["seeds"]


class BestEnsemble(Section):
    """The `size` best configurations by validation, with all their seeds, averaged."""

    kind: Literal["best"]
    size: Annotated[int, Field(ge=2)]


ThresholdConfig = Annotated[
    HalfThreshold | AccuracyThreshold | F1Threshold | PrevalenceThreshold | CostThreshold,
    Field(discriminator="rule"),
]
EnsembleConfig = Annotated[NoEnsemble | SeedsEnsemble | BestEnsemble, Field(discriminator="kind")]


class FileData(Section):
    """A table in a CSV or Parquet file, and the role of each of its columns.

    Every column has exactly one role: target, numeric, categorical, group or drop. `numeric: null` and
    `categorical: null` mean "the columns that nothing else names, by their type". `group` is a column, a list
    of columns that identify an individual together, or a list of such lists, any of which identifies it.
    `keep` lists columns to train on although a check objects to them. `transform` is what is done to the
    number columns, or a mapping of some of them to what is done to these; the others are then standardized. A
    `path` that begins with "bundled:" is of a table that ships with sweepgrad. `name: null` means the file's
    name without its ending.
    """

    source: Literal["file"]
    name: Name
    path: str
    sha256: str | None
    target: str
    positive: str | int | float | bool | None
    numeric: tuple[str, ...] | None
    categorical: tuple[str, ...] | None
    drop: tuple[str, ...]
    group: str | tuple[str, ...] | tuple[tuple[str, ...], ...] | None
    keep: tuple[str, ...]
    transform: Transform | ColumnTransforms = "standardize"  # runs that are older than transforms do not say

    def transform_of(self, column: str) -> Transform:
        """What is done to a number column."""
        if isinstance(self.transform, str):
            return self.transform
        return dict(self.transform).get(column, "standardize")

    @field_validator("transform", mode="before")
    @classmethod
    def _of_all_or_of_some(cls, value: Any) -> Any:
        known = get_args(Transform)
        if not isinstance(value, dict):
            if value not in known:
                raise ValueError(
                    f"{value!r} should be one of {', '.join(known)}; or number columns, each with its own:"
                    " 'data.transform={income: quantile_normal}'"
                )
            return value
        for column, transform in value.items():
            if transform == "standardize":
                raise ValueError(
                    f"{column}: standardize has no effect, since a column that is not named is standardized;"
                    f" leave {column} out"
                )
            if not isinstance(column, str) or transform not in known:
                raise ValueError(
                    f"{column!r}: {transform!r} should be a column's name and {' or '.join(known[1:])}"
                )
        if not value:
            raise ValueError("a mapping of no columns has no effect; say data.transform: standardize")
        return tuple(sorted(value.items()))

    @field_serializer("transform")
    def _as_it_is_said(self, value: Transform | ColumnTransforms) -> str | dict[str, str]:
        return value if isinstance(value, str) else dict(value)

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_file(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name") is None and isinstance(values.get("path"), str):
            stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(values["path"]).stem)
            return {**values, "name": stem}
        return values


class SimulatedData(Section):
    """A table drawn from a known rule, so that the best possible accuracy (1 - noise) is known too."""

    source: Literal["simulated"]
    name: Name
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


class Split(Section):
    """Shares of the rows; the same seed gives the same parts, whatever the run's own seed.

    With a `fold` the rows outside the test part are divided into `folds` equal parts: the fold-th, from 0, is
    for validation and the others are for training, so of `train` and `val` only the sum counts. The test part
    is the same for every fold and without one. `fold: null` divides by the shares.

    With an `outer_fold` the test part is that one, from 0, of `outer_folds` equal parts of all rows: `test`
    must say 1 / outer_folds. Outer fold 0 tests the rows that are tested without one, with these shares.
    """

    train: Fraction
    val: Fraction
    test: Fraction
    seed: Seed
    stratify: bool
    folds: Annotated[int, Field(ge=2)] = 5  # as in config.yaml: runs that are older than folds do not say
    fold: Annotated[int, Field(ge=0)] | None = None
    outer_folds: Annotated[int, Field(ge=2)] = 5  # as in config.yaml, too
    outer_fold: Annotated[int, Field(ge=0)] | None = None

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of training, validation and test: what the parts are meant to have of the rows."""
        if self.fold is None:
            return self.train, self.val, self.test
        val = (self.train + self.val) / self.folds
        return self.train + self.val - val, val, self.test

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> "Split":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"train + val + test must be 1, but {self.train} + {self.val} + {self.test} = {total:.10g}"
            )
        return self

    @model_validator(mode="after")
    def _the_fold_is_one_of_the_folds(self) -> "Split":
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(
                f"there is no fold {self.fold}: {self.folds} folds are numbered from 0 to {self.folds - 1}"
            )
        if self.fold is None and self.folds != type(self).model_fields["folds"].default:
            raise ValueError(
                f"folds: {self.folds} has no effect without a fold; say split.fold=range({self.folds}) in a"
                " sweep, or split.fold=0"
            )
        return self

    @model_validator(mode="after")
    def _the_outer_fold_is_one_of_them(self) -> "Split":
        n = self.outer_folds
        if self.outer_fold is None:
            if n != type(self).model_fields["outer_folds"].default:
                raise ValueError(
                    f"outer_folds: {n} has no effect without an outer fold; say split.outer_fold=range({n})"
                    " in a sweep, or split.outer_fold=0"
                )
            return self
        if self.outer_fold >= n:
            raise ValueError(
                f"there is no outer fold {self.outer_fold}: {n} outer folds are numbered from 0 to {n - 1}"
            )
        if abs(self.test * n - 1) > 0.02:  # a third cannot be said exactly
            test = float(f"{1 / n:.3g}")
            train = round((1 - test) * self.train / (self.train + self.val), 3)
            raise ValueError(
                f"each of {n} outer folds tests 1 in {n} rows, so test: {self.test:g} has no"
                f" effect; say split.test={test:g} split.train={train:g} split.val={1 - test - train:.10g}"
            )
        return self


DataConfig = Annotated[FileData | SimulatedData, Field(discriminator="source")]
