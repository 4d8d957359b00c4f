"""The schemas of what files below `runs/` hold, and their limits."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    ValidationError,
)

from sweepgrad.bounded.reading import Limits, described, plain
from sweepgrad.config import old_names

__all__ = ["LIMITS", "Certificate", "Count", "Many", "Milliseconds", "Named", "Settings", "Time", "described"]

LIMITS = Limits(size=1 << 26, values=1 << 21)
"""Of a record: about 350,000 epochs, or 80,000 with `train.diagnose` and three layers."""

_MOST_NAMES = 100_000  # of metrics, packages or files

_DEPTH = 8  # of configurations and certificates

Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Milliseconds = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]  # until the year 9999


def _time(when: str) -> str:
    datetime.fromisoformat(when)
    return when


Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]
"""A time in ISO 8601; it stays text, by which evaluations are ordered."""


def _few(values: Any) -> Any:
    if isinstance(values, dict) and len(values) > _MOST_NAMES:  # each may be an error
        raise ValueError(f"{len(values)} entries, and at most {_MOST_NAMES} are read")
    return values


V = TypeVar("V")
Named = Annotated[dict[str, V], BeforeValidator(_few)]
Many = Annotated[tuple[V, ...], FailFast()]


class _Read(BaseModel):
    """A section of a configuration; other settings are checked by who trains with them."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Sweep(_Read):
    id: str | None


class _Tracking(_Read):
    uri: str
    experiment: str


class _Named(_Read):
    name: str


class _Train(_Read):
    epochs: int = Field(ge=1)


class _Settings(_Read):
    seed: int
    data: _Named
    split: dict[str, Any]
    model: dict[str, Any]
    optimizer: _Named
    schedule: _Named
    train: _Train
    engine: _Named
    tracking: _Tracking
    sweep: _Sweep


class _Section(BaseModel):
    """A section of a certificate, with all its keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Duplicates(_Section):
    rows: dict[str, Count]
    shares: dict[str, FiniteFloat]
    pairs: Count
    by_chance: FiniteFloat
    named: list[list[Count]]
    beyond_chance: bool


class _Isolation(_Section):
    unmoved: bool | None
    moved: list[str] = []
    proven: str
    garbage: list[str] = []
    not_meant: str = ""


class _Certificate(_Section):
    leaks: list[str]
    table: str
    digests: dict[str, str]
    rows: dict[str, Count]
    groups_across_parts: dict[str, Count]
    duplicates: _Duplicates
    near_duplicates: _Duplicates
    rows_with_duplicates: Count
    columns_that_tell_the_target: dict[str, FiniteFloat]
    preprocessing: _Isolation
    weights: _Isolation
    left_out: list[str]


T = TypeVar("T", bound=dict[str, Any])


def _checked(values: T, schema: type[BaseModel]) -> T:
    """Return the values, which stay as they are, if they match a schema."""
    try:
        schema.model_validate(plain(values, _DEPTH))
    except ValidationError as error:
        raise ValueError(described(error)) from None
    return values


def _checked_settings(values: dict[str, Any]) -> dict[str, Any]:
    return _checked(values, _Settings)


def _checked_certificate(values: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else _checked(values, _Certificate)


Settings = Annotated[dict[str, Any], BeforeValidator(old_names.config), AfterValidator(_checked_settings)]
"""A stored configuration, under today's names: the settings that are read without training again."""

Certificate = Annotated[
    dict[str, Any] | None, BeforeValidator(old_names.certificate), AfterValidator(_checked_certificate)
]
"""A stored certificate, under today's names."""
