"""The ledger of test-set evaluations, kept on disk in addition to MLflow."""

import getpass
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from sweepgrad.bounded import reading
from sweepgrad.config import old_names
from sweepgrad.data.digests import Digests
from sweepgrad.errors import DamagedFile, UserError
from sweepgrad.files import locked, naming
from sweepgrad.runs.validation import Time

LEDGER = "test_evaluations.jsonl"
_LARGEST = 1 << 26  # bytes: more than 100,000 evaluations
_LINE = reading.Limits(size=1 << 14, values=1 << 8)
JUDGED = "sweepgrad.judged"
"""A tag of a sweep's own run: its latest test-set evaluation whose results are all in the store."""


@dataclass(frozen=True)
class LedgerEntry:
    """One test-set evaluation.

    Attributes:
        id: the same in MLflow and in the ledger.
        when: the time, in UTC, in ISO 8601.
        user, host: the user and the machine that ran it.
        sweep: the sweep that was finalized.
        run_id: the MLflow run of the model that was evaluated.
        table, test: SHA-256 of the table and of the indices of its test rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    id: str
    when: Time
    user: str
    host: str
    sweep: str
    run_id: str
    table: str
    test: str

    def __str__(self) -> str:
        return f"{self.when} by {self.user} on {self.host}, for run {self.run_id} of {self.sweep}"


@cache
def _as_json() -> TypeAdapter[LedgerEntry]:
    return TypeAdapter(LedgerEntry)


def entry_now(sweep: str, run_id: str, digests: Digests) -> LedgerEntry:
    """Return the entry of a test-set evaluation that begins now.

    Arguments:
        digests: of the table and of its parts.
    """
    return LedgerEntry(
        id=uuid.uuid4().hex,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        user=getpass.getuser(),
        host=socket.gethostname(),
        sweep=sweep,
        run_id=run_id,
        table=digests.table,
        test=digests.test,
    )


@dataclass(frozen=True)
class Before:
    """Earlier test-set evaluations, in order of time.

    Attributes:
        seen: evaluations of the same test rows whose metrics may have been seen.
        interrupted: evaluations of the same model of the same sweep whose results were lost.
        of_table: number of evaluations of test rows of the table, by any split.
    """

    seen: tuple[LedgerEntry, ...]
    interrupted: tuple[LedgerEntry, ...]
    of_table: int


class AlreadyEvaluated(Exception):
    """The test set was evaluated before; `earlier` lists when."""

    def __init__(self, earlier: Sequence[LedgerEntry]) -> None:
        super().__init__(f"the test set was evaluated before: {'; '.join(map(str, earlier))}")
        self.earlier = earlier


@contextmanager
def entering(
    ledger: Path, of_store: Sequence[LedgerEntry], entry: LedgerEntry, *, kept: bool, again: bool
) -> Iterator[Before]:
    """Check that the test set was not evaluated before, run the body, and add the entry to the ledger.

    The ledger is locked meanwhile, so that a second process sees the entry of the first. If the body fails,
    no entry is written.

    Arguments:
        of_store: the test-set evaluations that the store knows.
        kept: whether the sweep has test metrics; if not, its own evaluations were interrupted.
        again: whether to allow a test set that was evaluated before.

    Raises:
        AlreadyEvaluated: it was evaluated before, and `again` is false.
        UserError: the ledger is damaged.
        OSError: the ledger cannot be written.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with locked(ledger, make=True):
        before = before_of([*of_store, *read(ledger)], entry, kept=kept)
        if before.seen and not again:
            raise AlreadyEvaluated(before.seen)
        yield before
        _append(ledger, _as_json().dump_json(entry) + b"\n")


def _append(ledger: Path, line: bytes) -> None:
    """Add a line to the ledger. If that fails, leave the ledger as it was: a part of a line is damage."""
    with naming(ledger), ledger.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = b"\n" + line  # an editor may have left the last line without its end
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(size)
            raise


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make the folder of the results and lock it against other processes.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise UserError(
                f"another process is evaluating this sweep and writes to {folder}: wait until it ends"
            ) from None
        yield


def read(ledger: Path) -> list[LedgerEntry]:
    """Return the entries of the ledger and of that of an earlier version; none if there are no files.

    Raises:
        UserError: a line is damaged, so that it is unknown which test sets were evaluated.
    """
    files = [ledger.with_name(name) for name in old_names.spellings(ledger.name, old_names.FILES)]
    return [entry for file in reversed(files) for entry in _entries(file)]


def _entries(ledger: Path) -> Iterator[LedgerEntry]:
    try:
        lines = reading.read(ledger, _LARGEST).splitlines()
    except FileNotFoundError:
        return
    except DamagedFile as error:
        raise UserError(f"{ledger} is damaged: {error}. Restore it from a backup") from None
    for number, line in enumerate(lines, 1):
        try:
            yield reading.validated(_as_json(), line, _LINE)
        except ValueError as error:
            raise UserError(
                f"{ledger}, line {number}: this record of a test-set evaluation is damaged:"
                f" {error}. Restore the file from a backup, or fix the line"
            ) from None


def before_of(known: Sequence[LedgerEntry], entry: LedgerEntry, *, kept: bool) -> Before:
    """Return the earlier evaluations that matter to a new one; `known` may hold some twice.

    Arguments:
        kept: as in `entering`.
    """
    of_table = once_each(known, entry.table)
    of_rows = [other for other in of_table if other.test == entry.test]
    interrupted = [e for e in of_rows if not kept and (e.sweep, e.run_id) == (entry.sweep, entry.run_id)]
    return Before(tuple(e for e in of_rows if e not in interrupted), tuple(interrupted), len(of_table))


def once_each(known: Sequence[LedgerEntry], table: str) -> list[LedgerEntry]:
    """Return the evaluations of a table in order of time, without those listed twice."""
    same = {entry.id: entry for entry in known if entry.table == table}
    return sorted(same.values(), key=lambda entry: entry.when)


def times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def earlier_of_table(n: int) -> str:
    """Return a sentence on how often test rows of the table were evaluated before."""
    return (
        f"Before this, test rows of this table had been evaluated {times(n)}, counting every split"
        f" (sources: runs/{LEDGER} and MLflow)."
    )
