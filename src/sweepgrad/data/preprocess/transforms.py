"""Turn raw columns into the network's inputs, with statistics of the training rows only."""

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
    """A numeric column: (value - mean) / sd, with missing values replaced by the mean.

    Attributes:
        missing: whether training rows had missing values; then a second feature marks them.
        normal: replaces values by their normal scores first; mean and sd are then those of the scores.
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
        mean, sd = _mean_and_sd(normal.transform(values) if normal else values)
        return Numeric(str(column.name), mean, sd, missing, normal)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        if self.normal is None:
            del value["normal"]  # the format of versions before normal scores
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
        """Write the features (N, len(names)) of raw values (N,) to `out`."""
        values = as_numbers(column)
        absent = np.isnan(values)
        if self.normal:
            values = self.normal.transform(values)
        values = (values - self.mean) / self.sd
        values[absent] = 0.0
        # A value far from those of training rows may be finite as float64 but not as float32.
        largest = np.finfo(out.dtype).max
        out[:, 0] = np.clip(values, -largest, largest, out=values)
        if self.missing:
            out[:, 1] = absent

    def inverse(self, features: Features) -> NDArray[np.float64]:
        """Return the raw values (N,) of features (N, len(names)), NaN where they were missing.

        With normal scores, values outside the range of the training rows return as its nearest end.
        """
        values = features[:, 0].astype(np.float64) * self.sd + self.mean
        if self.normal:
            values = self.normal.inverse(values)
        return np.where(features[:, 1] == 1, np.nan, values) if self.missing else values


@dataclass(frozen=True)
class Categorical:
    """A categorical column, one-hot encoded by the levels of the training rows.

    A level that the training rows do not have is encoded as zeros.

    Attributes:
        levels: as text, see `column_types.as_level`.
        missing: whether training rows had missing values; then "missing" is the last level.
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
        """Write the features (N, len(names)) of raw values (N,) to `out`."""
        position = {level: i for i, level in enumerate(self.levels)}
        codes, uniques = pd.factorize(column)  # -1 where missing
        # One entry for each distinct value; the last one, index -1, is for missing values.
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
    """Turns raw columns into features (N, D); it is fitted to training rows and applies to any rows."""

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
        """The names of the D features, such as "tempo", "track_genre=pop" and "age missing"."""
        return tuple(name for part in self.parts for name in part.names)

    def transform(self, frame: pd.DataFrame, out: Features | None = None) -> Features:
        """Return the features (N, D) of raw columns, which may be in any order and among others.

        A missing number becomes the training mean, even if training rows had none missing; a level that
        training rows did not have becomes zeros.

        Arguments:
            out: an array (N, D) to write to; None makes a new one of type float64.

        Raises:
            UserError: if a column is absent or repeated, or a numeric one holds text or an infinite value.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise UserError(
                f"the model needs the columns {', '.join(map(repr, absent))}, which the rows lack"
            )
        repeated = [name for name in self.columns if isinstance(frame[name], pd.DataFrame)]
        if repeated:
            raise UserError(f"the rows have more than one column named {', '.join(map(repr, repeated))}")
        if out is None:
            out = np.empty((len(frame), len(self.names)))
        start = 0
        for part in self.parts:
            stop = start + len(part.names)
            part.transform(frame[part.column], out[:, start:stop])
            start = stop
        return out

    def numbers(self, X: Features) -> pd.DataFrame:
        """Return the numeric columns from which features (N, D) were computed, up to rounding."""
        found, start = {}, 0
        for part in self.numeric:  # they come first
            stop = start + len(part.names)
            found[part.column] = part.inverse(X[:, start:stop])
            start = stop
        return pd.DataFrame(found)

    def to_json(self) -> dict[str, Any]:
        """Return a value for JSON, from which `from_json` makes an equal preprocessor."""
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
    """Return mean and population standard deviation of values (N,); a constant has sd 1, to become 0.

    The two-pass algorithm (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., 2002,
    section 1.9) is accurate in spite of a large offset. Scaling by a power of two, which is exact, keeps the
    squares of very large and very small values within range.
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
