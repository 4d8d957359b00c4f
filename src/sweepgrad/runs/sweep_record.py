"""The record of a sweep as a whole, left in the folder of its job folders."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from sweepgrad import files
from sweepgrad.config import old_names
from sweepgrad.runs.record import Status

SWEEP = "sweep.json"


def _todays(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(old_names.key, keys))


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as a whole.

    Attributes:
        id: its name.
        key: of what was asked for: the same command on the same data and code has the same one.
        status: RUNNING until it ends.
        jobs: how many runs it was to have.
        varying: the keys in which they differ.
        command: what started it.
        process: what runs it, see `process.this`.
        host: where.
        halving: what successive halving came to, in words; empty without.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    key: str
    status: Status | Literal["RUNNING"]
    jobs: int
    varying: Annotated[tuple[str, ...], AfterValidator(_todays)]
    command: str
    process: str
    host: str
    halving: str = ""


@cache
def _as_json() -> TypeAdapter[SweepRecord]:
    return TypeAdapter(SweepRecord)


def read(folder: Path) -> SweepRecord:
    """Return the record in a sweep's folder.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        return _as_json().validate_json((folder / SWEEP).read_bytes())
    except ValueError as error:
        raise ValueError(f"{folder / SWEEP} is damaged, or of another version: {error!r}") from None


def write(folder: Path, record: SweepRecord) -> None:
    """Leave a sweep's record in its folder.

    Raises:
        OSError: it cannot be written.
    """
    files.write_whole(folder / SWEEP, _as_json().dump_json(record, indent=1) + b"\n")
