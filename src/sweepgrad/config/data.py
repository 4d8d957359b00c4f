"""Where a table comes from, and the role of each of its columns."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_serializer, field_validator, model_validator

from sweepgrad.config.section import Name, Section, Seed

Transform = Literal["standardize", "quantile_normal"]
ColumnTransforms = tuple[tuple[str, Transform], ...]  # a mapping, but hashable


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


DataConfig = Annotated[FileData | SimulatedData, Field(discriminator="source")]
