"""The ledger of test-set evaluations, on disk beside MLflow's record, so that losing one leaves the other."""

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

from sweepgrad.config import old_names
from sweepgrad.data.digests import Digests
from sweepgrad.errors import UserError
from sweepgrad.files import locked, naming

LEDGER = "test_evaluations.jsonl"
JUDGED = "sweepgrad.judged"
"""A tag of a sweep's own run: its latest test-set evaluation of which the store has all that was found."""


@dataclass(frozen=True)
class LedgerEntry:
    """One test-set evaluation: a time that test rows were read.

    Attributes:
        id: its own, by which MLflow and the ledger tell it from others.
        when: the moment, in UTC, as ISO 8601 has it.
        user, host: who did it, and on which machine.
        sweep: what was finalized.
        run_id: the MLflow run of the model that was judged.
        table, test: SHA-256 of the table and of the indices of its test rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    when: str
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
    """Return the entry of the test-set evaluation that is about to be.

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
    """The test-set evaluations before the one that is about to be, the first one first.

    Attributes:
        seen: each of these very rows whose figures may have been seen.
        interrupted: those for the same model of the same sweep of which nothing was kept.
        of_table: how often test rows of the table were evaluated, of whichever split.
    """

    seen: tuple[LedgerEntry, ...]
    interrupted: tuple[LedgerEntry, ...]
    of_table: int


class AlreadyEvaluated(Exception):
    """The test rows were evaluated before, as `earlier` has it."""

    def __init__(self, earlier: Sequence[LedgerEntry]) -> None:
        super().__init__(f"opened before: {'; '.join(map(str, earlier))}")
        self.earlier = earlier


@contextmanager
def entering(
    ledger: Path, of_store: Sequence[LedgerEntry], entry: LedgerEntry, *, kept: bool, again: bool
) -> Iterator[Before]:
    """See that test rows are unseen, do what is to be done before they are read, and write the entry down.

    One process at a time: whoever comes second sees the line of the first. The line is written at the end,
    and on the disk then; if what is done within fails, there is none.

    Arguments:
        of_store: what the store knows of test-set evaluations.
        kept: whether the sweep has figures of test rows; if not, its own evaluations came to nothing.
        again: whether rows that were seen may be read once more.

    Raises:
        AlreadyEvaluated: they were, and to do it again is not asked for.
        UserError: the ledger is damaged.
        OSError: there is no room, or no right to.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with locked(ledger, make=True):
        before = before_of([*of_store, *read(ledger)], entry, kept=kept)
        if before.seen and not again:
            raise AlreadyEvaluated(before.seen)
        yield before
        with naming(ledger), ledger.open("ab") as file:
            file.write(_as_json().dump_json(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make the folder in which results are kept, and let no other process judge into it meanwhile.

    Raises:
        UserError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise UserError(f"another process is judging this sweep into {folder}: wait for it") from None
        yield


def read(ledger: Path) -> list[LedgerEntry]:
    """Return what the ledger holds, and that of an earlier version beside it; nothing where there is none.

    Raises:
        UserError: a line is damaged: what it said cannot be known, so nobody is told that rows are unread.
    """
    files = [ledger.with_name(name) for name in old_names.spellings(ledger.name, old_names.FILES)]
    return [entry for file in reversed(files) for entry in _entries(file)]


def _entries(ledger: Path) -> Iterator[LedgerEntry]:
    try:
        lines = ledger.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        try:
            yield _as_json().validate_json(line)
        except ValueError as error:
            raise UserError(
                f"{ledger}, line {number} is damaged ({error}): it says when test rows were opened; put the"
                " file back as it was, or mend the line"
            ) from None


def before_of(known: Sequence[LedgerEntry], entry: LedgerEntry, *, kept: bool) -> Before:
    """Return what of the known evaluations, some known twice, matters to one that is about to be.

    Arguments:
        kept: as in `entering`.
    """
    of_table = once_each(known, entry.table)
    of_rows = [other for other in of_table if other.test == entry.test]
    mine = [e for e in of_rows if not kept and (e.sweep, e.run_id) == (entry.sweep, entry.run_id)]
    return Before(tuple(e for e in of_rows if e not in mine), tuple(mine), len(of_table))


def once_each(known: Sequence[LedgerEntry], table: str) -> list[LedgerEntry]:
    """Return the evaluations of a table, the first one first, though both ledger and store know most."""
    same = {entry.id: entry for entry in known if entry.table == table}
    return sorted(same.values(), key=lambda entry: entry.when)


def times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def of_table_in_words(n: int) -> str:
    """Return a sentence for the card and the page on how often test rows of the table were opened before."""
    return (
        f"Test rows of this table, of whichever split, had been opened {times(n)} before by the ledger"
        f" (runs/{LEDGER}) and the store."
    )
