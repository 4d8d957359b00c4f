"""The record of a sweep, in the folder that holds the folders of its jobs."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from sweepgrad import files
from sweepgrad.config import old_names
from sweepgrad.runs.record import Status
from sweepgrad.runs.validation import described

SWEEP = "sweep.json"


def _current_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(old_names.key, keys))


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

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    key: str
    status: Status | Literal["RUNNING"]
    jobs: int
    varying: Annotated[tuple[str, ...], AfterValidator(_current_names)]
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
        ValueError: it is damaged, or of another version.
    """
    try:
        return _as_json().validate_json((folder / SWEEP).read_bytes())
    except ValueError as error:
        raise ValueError(f"{folder / SWEEP} is damaged, or of another version: {described(error)}") from None


def write(folder: Path, record: SweepRecord) -> None:
    """Write a sweep's record to its folder.

    Raises:
        OSError: the file cannot be written.
    """
    files.write_whole(folder / SWEEP, _as_json().dump_json(record, indent=1) + b"\n")
