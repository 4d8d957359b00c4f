"""When test rows were read: a ledger on disk, beside MLflow's record, so that losing one leaves the other."""

import fcntl
import getpass
import json
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sweepgrad.errors import UserError, naming

LEDGER = "openings.jsonl"


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


def write(ledger: Path, opening: Opening) -> None:
    """Add a line to the ledger, on the disk before this returns.

    Raises:
        OSError: there is no room, or no right to.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with naming(ledger), ledger.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(opening)) + "\n")
        file.flush()
        os.fsync(file.fileno())


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


def of_rows(known: Sequence[Opening], digests: dict[str, str]) -> list[Opening]:
    """Each opening of these very test rows once, the first one first."""
    same = {
        opening.id: opening
        for opening in known
        if (opening.table, opening.test) == (digests["table"], digests["test"])
    }
    return sorted(same.values(), key=lambda opening: opening.when)
