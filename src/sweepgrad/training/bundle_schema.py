"""The schema of `bundle.json`: what a model file may say, and which arrays its weights must be."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    PlainValidator,
    TypeAdapter,
    model_validator,
)

from sweepgrad.bounded.arrays import MOST_VALUES, Shape
from sweepgrad.bounded.reading import Limits, check_size
from sweepgrad.config.ensembles import MOST_MEMBERS
from sweepgrad.data.preprocess.normal_scores import NormalScores, is_ascending
from sweepgrad.data.preprocess.transforms import Categorical, Numeric, Preprocessor
from sweepgrad.nn.network import Network
from sweepgrad.tasks.encoding import Scalar

FORMAT = 2  # 1 had a single network, and the threshold 0.5

LIMITS = Limits(size=1 << 25, values=1 << 20)

_LONGEST_NAMES = 1 << 26  # characters of the names of all features; a level repeats the name of its column
_REST = 1 << 16  # bytes and values of a model besides its preprocessing
_MOST_LAYERS = 1000

Width = Annotated[int, Field(ge=1, le=MOST_VALUES)]


def _scalar(value: Any) -> Any:
    if not (
        isinstance(value, (str, bool))
        or (isinstance(value, int) and -(2**63) <= value < 2**63)
        or (isinstance(value, float) and isfinite(value))
    ):
        raise ValueError("should be a text, a number or a boolean")
    return value


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError(f"{Counter(names).most_common(1)[0][0]!r} is there more than once")
    return names


TargetValue = Annotated[Scalar, PlainValidator(_scalar)]
V = TypeVar("V")
Many = Annotated[list[V], FailFast()]  # an error of each of a million entries would take a gigabyte
UniqueNames = Annotated[Many[str], AfterValidator(_unique)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _NormalScores(_Section):
    knots: Many[FiniteFloat] = Field(min_length=1)
    scores: Many[FiniteFloat]

    @model_validator(mode="after")
    def _a_function(self) -> "_NormalScores":
        if len(self.knots) != len(self.scores):
            raise ValueError(f"{len(self.knots)} knots, but {len(self.scores)} scores")
        if not is_ascending(np.array(self.knots)):
            raise ValueError("knots should ascend")
        if any(one > other for one, other in pairwise(self.scores)):
            raise ValueError("scores should not descend")
        return self


class _Numeric(_Section):
    column: str
    mean: FiniteFloat
    sd: FiniteFloat = Field(gt=0)
    missing: bool
    normal: _NormalScores | None = None

    def part(self) -> Numeric:
        scores = NormalScores(tuple(self.normal.knots), tuple(self.normal.scores)) if self.normal else None
        return Numeric(self.column, self.mean, self.sd, self.missing, scores)


class _Categorical(_Section):
    column: str
    levels: UniqueNames
    missing: bool

    def part(self) -> Categorical:
        return Categorical(self.column, tuple(self.levels), self.missing)


class _Preprocessor(_Section):
    numeric: Many[_Numeric]
    categorical: Many[_Categorical]

    @model_validator(mode="after")
    def _columns_are_unique(self) -> "_Preprocessor":
        _unique(self.columns)
        texts = sum(
            len(each.levels) * len(each.column) + sum(map(len, each.levels)) for each in self.categorical
        )
        if texts > _LONGEST_NAMES:
            raise ValueError(
                f"the names of its features have {texts} characters, and at most {_LONGEST_NAMES} are read"
            )
        return self

    @property
    def columns(self) -> list[str]:
        return [*(each.column for each in self.numeric), *(each.column for each in self.categorical)]

    @property
    def n_features(self) -> int:
        return sum(1 + each.missing for each in self.numeric) + sum(
            len(each.levels) + each.missing for each in self.categorical
        )

    def whole(self) -> Preprocessor:
        return Preprocessor(
            tuple(each.part() for each in self.numeric), tuple(each.part() for each in self.categorical)
        )


class _Network(_Section):
    n_features: int = Field(ge=0, le=MOST_VALUES)
    hidden: list[Width] = Field(max_length=_MOST_LAYERS)
    activation: str | None
    dropout: FiniteFloat = Field(ge=0, lt=1)
    scale: FiniteFloat = Field(gt=0)

    @model_validator(mode="after")
    def _an_activation_after_hidden_layers(self) -> "_Network":
        if self.hidden and self.activation is None:
            raise ValueError("its hidden layers have no activation")
        return self

    def whole(self) -> Network:
        return Network(self.n_features, tuple(self.hidden), self.activation, self.dropout, self.scale)


class _Member(_Section):
    network: _Network
    preprocessor: _Preprocessor

    @model_validator(mode="after")
    def _the_features_of_the_columns(self) -> "_Member":
        if self.network.n_features != (n := self.preprocessor.n_features):
            raise ValueError(
                f"network.n_features is {self.network.n_features}, but its columns give {n} features"
            )
        return self


class Described(_Section):
    """The content of `bundle.json`, of any format."""

    format: Literal[1, 2]
    members: list[_Member] = Field(min_length=1, max_length=MOST_MEMBERS)
    target: str
    positive: TargetValue
    negative: TargetValue
    threshold: FiniteFloat = Field(default=0.5, ge=0, le=1)
    columns: UniqueNames

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Described":
        if self.positive == self.negative:
            raise ValueError("positive and negative are the same")
        names = (name for member in self.members for name in member.preprocessor.columns)
        if self.columns != list(dict.fromkeys(names)):
            raise ValueError("columns are not those of its preprocessing")
        return self

    @property
    def shapes(self) -> list[list[Shape]]:
        """The shapes of the weights of each member."""
        return [list(_shapes(member.network)) for member in self.members]


def _shapes(network: _Network) -> Iterator[Shape]:
    for inputs, outputs in pairwise((network.n_features, *network.hidden, 1)):
        yield (inputs, outputs)
        yield (outputs,)


def check_preprocessor(values: Mapping[str, Any]) -> None:
    """Check that a model with this preprocessing can be read.

    Raises:
        ValueError: it could not.
    """
    columns = _Preprocessor.model_validate(values).columns
    content = json.dumps(
        [values, columns], indent=3, allow_nan=False
    ).encode()  # in a member, which is indented
    check_size(content, Limits(LIMITS.size - _REST, LIMITS.values - _REST))


@cache
def _schema() -> TypeAdapter[Described]:
    return TypeAdapter(Described)


def checked(values: Any) -> Described:
    """Return the content of a `bundle.json`.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(values, dict):
        raise ValueError("it is not an object")
    if values.get("format") == 1 and "members" not in values:
        values = dict(values)
        member = {name: values.pop(name) for name in ("network", "preprocessor") if name in values}
        values["members"] = [member]
    return _schema().validate_python(values)
