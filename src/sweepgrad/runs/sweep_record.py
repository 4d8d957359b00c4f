"""The record of a sweep, in the folder that holds the folders of its jobs."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from sweepgrad import files
from sweepgrad.bounded import reading
from sweepgrad.config import old_names
from sweepgrad.errors import DamagedFile
from sweepgrad.runs.record import Status
from sweepgrad.runs.validation import Count, Many

SWEEP = "sweep.json"
LIMITS = reading.Limits(size=1 << 24, values=1 << 20)  # the command may list many values


def _current_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(old_names.key, keys))


def _a_name(id: str) -> str:  # noqa: A002 - the field's word
    if id in ("", ".", "..") or "/" in id or not id.isprintable():  # folders are named after it
        raise ValueError(f"{id!r} cannot be the name of a folder")
    return id


@dataclass(frozen=True)
class SweepRecord:
    """The record of a sweep.

    Attributes:
        id: its name.
        key: a digest; the same command on the same data and code has the same key.
        status: RUNNING until it ends.
        jobs: number of runs.
        varying: the keys in which the runs differ.
        command: the command that started it.
        process: the process that runs it, see `process.this`.
        host: the machine that it runs on.
        halving: a summary of successive halving; empty without halving.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, AfterValidator(_a_name)]
    key: str
    status: Status | Literal["RUNNING"]
    jobs: Count
    varying: Annotated[Many[str], AfterValidator(_current_names)]
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
        OSError: the file cannot be read.
        DamagedFile: it is damaged, or of another version.
    """
    try:
        return reading.validated(_as_json(), reading.read(folder / SWEEP, LIMITS.size), LIMITS)
    except ValueError as error:
        raise DamagedFile(f"{folder / SWEEP} is damaged, or of another version: {error}") from None


def write(folder: Path, record: SweepRecord) -> None:
    """Write a sweep's record to its folder.

    Raises:
        OSError: the file cannot be written.
    """
    files.write_whole(folder / SWEEP, _as_json().dump_json(record, indent=1) + b"\n")
