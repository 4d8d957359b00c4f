"""Word of a sweep as a whole, left in the folder of its job folders."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sweepgrad.runs.record import Status

SWEEP = "sweep.json"


@dataclass(frozen=True)
class Note:
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

    id: str
    key: str
    status: Status | Literal["RUNNING"]
    jobs: int
    varying: tuple[str, ...]
    command: str
    process: str
    host: str
    halving: str = ""


def read(folder: Path) -> Note:
    """The word left in a sweep's folder.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        values = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        return Note(**{**values, "varying": tuple(values["varying"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / SWEEP} is damaged, or of another version: {error!r}") from None
