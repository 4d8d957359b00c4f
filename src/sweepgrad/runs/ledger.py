"""When test rows were read: a ledger on disk, beside MLflow's record, so that losing one leaves the other."""

import fcntl
import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sweepgrad.errors import UserError, naming

LEDGER = "openings.jsonl"
JUDGED = (
    "sweepgrad.judged"  # on a sweep's own run: the latest opening of which the store has all that was found
)


@dataclass(frozen=True)
class Opening:
    """One time that test rows were read.

    Attributes:
        id: its own, by which MLflow and the ledger tell it from others.
        when: the moment, in UTC, as ISO 8601 has it.
        user, host: who did it, and on which machine.
        sweep: what was finalized.
        run_id: the MLflow run of the model that was judged.
        table, test: SHA-256 of the table and of the indices of its test rows.
    """

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


def opening_now(sweep: str, run_id: str, digests: dict[str, str]) -> Opening:
    """The opening that is about to be.

    Arguments:
        digests: of the table and of its parts.
    """
    return Opening(
        id=uuid.uuid4().hex,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        user=getpass.getuser(),
        host=socket.gethostname(),
        sweep=sweep,
        run_id=run_id,
        table=digests["table"],
        test=digests["test"],
    )


@dataclass(frozen=True)
class Before:
    """What was opened before some test rows are, the first one first.

    Attributes:
        seen: each opening of these very rows whose figures may have been seen.
        interrupted: those for the same model of the same sweep of which nothing was kept.
        of_table: how often test rows of the table were opened, of whichever split.
    """

    seen: tuple[Opening, ...]
    interrupted: tuple[Opening, ...]
    of_table: int


class Seen(Exception):
    """Test rows were opened before, as `earlier` has it."""

    def __init__(self, earlier: Sequence[Opening]) -> None:
        super().__init__(f"opened before: {'; '.join(map(str, earlier))}")
        self.earlier = earlier


@contextmanager
def claim(
    ledger: Path, of_store: Sequence[Opening], opening: Opening, *, kept: bool, again: bool
) -> Iterator[Before]:
    """See that test rows are unseen, do what is to be done before they are read, and write the opening down.

    One process at a time: whoever comes second sees the line of the first. The line is written at the end,
    and on the disk then; if what is done within fails, there is none.

    Arguments:
        of_store: what the store knows of openings.
        kept: whether the sweep has figures of test rows; if not, its own openings came to nothing.
        again: whether rows that were seen may be opened once more.

    Raises:
        Seen: they were opened before, and this is not asked for.
        UserError: the ledger is damaged.
        OSError: there is no room, or no right to.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = before_of([*of_store, *read(ledger)], opening, kept=kept)
        if before.seen and not again:
            raise Seen(before.seen)
        yield before
        with naming(ledger):
            file.write(json.dumps(asdict(opening)) + "\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder in which results are kept, and let no other process judge into it meanwhile.

    Raises:
        UserError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is judging this sweep into {folder}: wait for it") from None
        yield
    finally:
        os.close(lock)


def read(ledger: Path) -> list[Opening]:
    """What the ledger holds; nothing if it is not there.

    Raises:
        UserError: a line is damaged: what it said cannot be known, so nobody is told that rows are unread.
    """
    try:
        lines = ledger.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Opening(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{ledger}, line {number} is damaged ({error}): it says when test rows were opened; put the"
                " file back as it was, or mend the line"
            ) from None
    return found


def before_of(known: Sequence[Opening], opening: Opening, *, kept: bool) -> Before:
    """What of the openings that are known, some of them twice, matters to one that is about to be.

    Arguments:
        kept: as in `claim`.
    """
    of_table = once_each(known, opening.table)
    of_rows = [other for other in of_table if other.test == opening.test]
    mine = [o for o in of_rows if not kept and (o.sweep, o.run_id) == (opening.sweep, opening.run_id)]
    return Before(tuple(o for o in of_rows if o not in mine), tuple(mine), len(of_table))


def once_each(known: Sequence[Opening], table: str) -> list[Opening]:
    """The openings of test rows of a table, the first one first, though both ledger and store know most."""
    same = {opening.id: opening for opening in known if opening.table == table}
    return sorted(same.values(), key=lambda opening: opening.when)


def times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def of_table_in_words(n: int) -> str:
    """A sentence for the card and the page on how often test rows of the table were opened before."""
    return (
        f"Test rows of this table, of whichever split, had been opened {times(n)} before by the ledger"
        " (runs/openings.jsonl) and the store."
    )
