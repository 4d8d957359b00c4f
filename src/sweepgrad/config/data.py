"""The source of a table and the role of each of its columns."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_serializer, field_validator, model_validator

from sweepgrad.config.section import Name, PathText, Section, Seed

Transform = Literal["standardize", "quantile_normal"]
ColumnTransforms = tuple[tuple[str, Transform], ...]  # a mapping, but hashable


class FileData(Section):
    """A table in a CSV or Parquet file, and the role of each of its columns.

    Every column has exactly one role: target, numeric, categorical, group or drop. `group` is a column, a
    list of columns that identify an individual together, or a list of such lists, any of which identifies it.
    """

    source: Literal["file"] = Field(description="Source of the table.")
    name: Name = Field(
        description="Name of the table and of its models; null is the file's name without its ending."
    )
    path: PathText = Field(
        description="CSV or Parquet file, absolute or relative to the current folder; bundled:FILE is one"
        " that ships with sweepgrad."
    )
    sha256: str | None = Field(
        description="SHA-256 of the file; a file that differs is refused. null skips the check."
    )
    target: str = Field(description="Column to predict; it must have two values.")
    positive: str | int | float | bool | None = Field(
        description="Positive class of the target; null is the later value in order (1, true, yes)."
    )
    numeric: tuple[str, ...] | None = Field(
        description="Numeric feature columns; null is every column of numbers without another role."
    )
    categorical: tuple[str, ...] | None = Field(
        description="Categorical feature columns; null is every other column without another role."
    )
    drop: tuple[str, ...] = Field(description="Columns that are not used.")
    group: str | tuple[str, ...] | tuple[tuple[str, ...], ...] | None = Field(
        description="Column or columns that identify an individual; its rows stay in one set of the split."
    )
    keep: tuple[str, ...] = Field(
        description="Feature columns that are used although a leak check flags them."
    )
    transform: Transform | ColumnTransforms = Field(  # runs that are older than transforms have none
        "standardize",
        description="Transform of numeric features, standardize or quantile_normal; or {COLUMN: TRANSFORM}.",
    )

    def transform_of(self, column: str) -> Transform:
        """Return the transform of a numeric column."""
        if isinstance(self.transform, str):
            return self.transform
        return dict(self.transform).get(column, "standardize")

    @field_validator("transform", mode="before")
    @classmethod
    def _known_transforms(cls, value: Any) -> Any:
        known = get_args(Transform)
        if not isinstance(value, dict):
            if value not in known:
                raise ValueError(
                    f"{value!r} should be one of {', '.join(known)}; or a mapping of columns:"
                    " 'data.transform={income: quantile_normal}'"
                )
            return value
        for column, transform in value.items():
            if transform == "standardize":
                raise ValueError(
                    f"{column}: standardize has no effect, since it is the default. Remove {column}"
                )
            if not isinstance(column, str) or transform not in known:
                raise ValueError(
                    f"{column!r}: {transform!r} should be a column's name and {' or '.join(known[1:])}"
                )
        if not value:
            raise ValueError("an empty mapping has no effect. Set data.transform=standardize")
        return tuple(sorted(value.items()))

    @field_serializer("transform")
    def _as_in_yaml(self, value: Transform | ColumnTransforms) -> str | dict[str, str]:
        return value if isinstance(value, str) else dict(value)

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_file(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name") is None and isinstance(values.get("path"), str):
            stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(values["path"]).stem)
            return {**values, "name": stem}
        return values


class SimulatedData(Section):
    """A table drawn from a known rule; the best possible accuracy is 1 - noise."""

    source: Literal["simulated"] = Field(description="Source of the table.")
    name: Name = Field(description="Name of the table and of models trained on it.")
    kind: Literal["moons", "linear"] = Field(
        description="moons: two interleaved half circles; linear: two classes that a hyperplane separates."
    )
    rows: int = Field(ge=1, le=100_000_000, description="Number of rows.")
    features: int = Field(ge=1, le=100_000, description="Number of features; of moons all but two are noise.")
    noise: float = Field(ge=0, lt=0.5, description="Share of the labels that are flipped.")
    seed: Seed = Field(description="Seed of the table.")

    @model_validator(mode="after")
    def _moons_lie_in_a_plane(self) -> "SimulatedData":
        if self.kind == "moons" and self.features < 2:
            raise ValueError("moons need data.features >= 2. Set data.kind=linear for a single feature")
        return self


DataConfig = Annotated[FileData | SimulatedData, Field(discriminator="source")]
