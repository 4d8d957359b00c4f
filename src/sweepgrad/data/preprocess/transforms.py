"""From raw columns to the network's inputs, with statistics of the training rows alone."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.config.data import Transform
from sweepgrad.data.preprocess.normal_scores import NormalScores
from sweepgrad.data.schema.column_types import as_level, as_numbers, level_order
from sweepgrad.errors import UserError

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Numeric:
    """A number column: (value - mean) / sd, the mean in place of a missing value.

    `missing` says that training rows had missing values; then a second feature marks them. With `normal` the
    values are replaced by their normal scores first, and mean and sd are those of the scores.
    """

    column: str
    mean: float
    sd: float
    missing: bool
    normal: NormalScores | None = None

    @staticmethod
    def fit(column: "pd.Series[Any]", transform: Transform = "standardize") -> "Numeric":
        values = as_numbers(column)
        absent = np.isnan(values)
        missing = bool(absent.any())
        if missing:
            values = values[~absent]
        normal = NormalScores.fit(values) if transform == "quantile_normal" else None
        mean, sd = _mean_and_sd(normal.of(values) if normal else values)
        return Numeric(str(column.name), mean, sd, missing, normal)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        if self.normal is None:
            del value["normal"]  # as it was written before there were normal scores
        else:
            value["normal"] = {name: list(numbers) for name, numbers in value["normal"].items()}
        return value

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Numeric":
        normal = value.get("normal")
        if normal is not None:
            normal = NormalScores(tuple(normal["knots"]), tuple(normal["scores"]))
        return Numeric(**{**value, "normal": normal})

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column, f"{self.column} missing") if self.missing else (self.column,)

    def transform(self, column: "pd.Series[Any]", out: Features) -> None:
        """(N,) raw values -> (N, len(names))."""
        values = as_numbers(column)
        absent = np.isnan(values)
        if self.normal:
            values = self.normal.of(values)
        values = (values - self.mean) / self.sd
        values[absent] = 0.0
        # A value that training rows are far from may be finite as float64 alone.
        largest = np.finfo(out.dtype).max
        out[:, 0] = np.clip(values, -largest, largest, out=values)
        if self.missing:
            out[:, 1] = absent

    def inverse(self, features: Features) -> NDArray[np.float64]:
        """(N, len(names)) -> (N,) raw values, NaN where they were missing.

        Values beyond those of the training rows have the scores of the outermost, and come back as these.
        """
        values = features[:, 0].astype(np.float64) * self.sd + self.mean
        if self.normal:
            values = self.normal.inverse(values)
        return np.where(features[:, 1] == 1, np.nan, values) if self.missing else values


@dataclass(frozen=True)
class Categorical:
    """A column of levels: one feature for each level of the training rows, 1 where a row has it.

    `missing` says that training rows had missing values; then "missing" is the last level. A row with a level
    that the training rows did not have is 0 everywhere. Levels are text, see `columns.as_level`.
    """

    column: str
    levels: tuple[str, ...]
    missing: bool

    @staticmethod
    def fit(column: "pd.Series[Any]") -> "Categorical":
        levels = {as_level(value) for value in column.dropna().unique().tolist()}
        return Categorical(
            str(column.name), tuple(sorted(levels, key=level_order)), missing=bool(column.isna().any())
        )

    @property
    def names(self) -> tuple[str, ...]:
        names = tuple(f"{self.column}={level}" for level in self.levels)
        return (*names, f"{self.column} missing") if self.missing else names

    def transform(self, column: "pd.Series[Any]", out: Features) -> None:
        """(N,) raw values -> (N, len(names))."""
        position = {level: i for i, level in enumerate(self.levels)}
        codes, uniques = pd.factorize(column)  # -1 stands for missing
        # One entry for each distinct value and, last, where index -1 finds it, one for missing.
        feature = np.array(
            [
                *(position.get(as_level(value), -1) for value in uniques.tolist()),
                len(self.levels) if self.missing else -1,
            ]
        )[codes]
        out[:] = 0.0
        known = np.flatnonzero(feature >= 0)
        out[known, feature[known]] = 1.0


@dataclass(frozen=True)
class Preprocessor:
    """Fitted on training rows, applied to any: raw columns in, features (N, D) out."""

    numeric: tuple[Numeric, ...]
    categorical: tuple[Categorical, ...]

    @property
    def parts(self) -> tuple[Numeric | Categorical, ...]:
        return (*self.numeric, *self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that `transform` needs."""
        return tuple(part.column for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The D features by name, such as "tempo", "track_genre=pop" and "age missing"."""
        return tuple(name for part in self.parts for name in part.names)

    def transform(self, frame: pd.DataFrame, out: Features | None = None) -> Features:
        """Raw columns, in any order and among others, to features (N, D), float64 or as `out` has them.

        A missing number becomes the training mean, whether or not training rows had missing ones; a level
        that they did not have becomes zeros.

        Arguments:
            out: (N, D), where to put them; None makes a new array.

        Raises:
            UserError: if a column is not there or is there twice, or a numeric one holds text or an infinite
                value.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise UserError(f"the rows have no column {', '.join(map(repr, absent))}, which the model needs")
        repeated = [name for name in self.columns if isinstance(frame[name], pd.DataFrame)]
        if repeated:
            raise UserError(f"the rows have more than one column called {', '.join(map(repr, repeated))}")
        if out is None:
            out = np.empty((len(frame), len(self.names)))
        start = 0
        for part in self.parts:
            stop = start + len(part.names)
            part.transform(frame[part.column], out[:, start:stop])
            start = stop
        return out

    def numbers(self, X: Features) -> pd.DataFrame:
        """The number columns that features (N, D) were made of, to rounding."""
        found, start = {}, 0
        for part in self.numeric:  # they come first
            stop = start + len(part.names)
            found[part.column] = part.inverse(X[:, start:stop])
            start = stop
        return pd.DataFrame(found)

    def to_json(self) -> dict[str, Any]:
        """Numbers, text, lists and dicts only; through JSON and back, `from_json` gives an equal value."""
        return {
            "numeric": [part.to_json() for part in self.numeric],
            "categorical": [{**asdict(part), "levels": list(part.levels)} for part in self.categorical],
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Preprocessor":
        return Preprocessor(
            numeric=tuple(Numeric.from_json(part) for part in value["numeric"]),
            categorical=tuple(
                Categorical(**{**part, "levels": tuple(part["levels"])}) for part in value["categorical"]
            ),
        )


def _mean_and_sd(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and population standard deviation of (N,) values; a constant has sd 1, so that it becomes 0.

    The deviations are taken from the mean first (two passes: Higham, "Accuracy and Stability of Numerical
    Algorithms", 2nd ed., 2002, section 1.9), so a large offset does not spoil their squares. Scaling by a
    power of two, which is exact, keeps the squares of very large and very small values within range.
    """
    if values.size == 0:
        return 0.0, 1.0
    if values.min() == values.max():
        return float(values[0]), 1.0
    exponent = np.frexp(max(abs(values.min()), abs(values.max())))[1]
    scaled = np.ldexp(values, -exponent)
    mean = scaled.mean()
    scaled -= mean
    sd = np.sqrt(np.mean(np.square(scaled, out=scaled)))
    return float(np.ldexp(mean, exponent)), float(np.ldexp(sd, exponent))
