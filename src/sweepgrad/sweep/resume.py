"""Which sweep a command goes on with, or that it begins a new one: decided by one process at a time."""

import fcntl
import glob
import json
import os
import shlex
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from sweepgrad import process
from sweepgrad.errors import UserError
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record as notes
from sweepgrad.runs.sweep_record import Note


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process runs.

    Attributes:
        earlier: what was left of it by the process that ran it before, if one did.
    """

    note: Note
    folder: Path
    earlier: Note | None

    def write(self, status: records.Status, halving: str = "") -> None:
        """Leave word of how it ended.

        Raises:
            OSError: it cannot be written.
        """
        note = replace(self.note, status=status, halving=halving)
        folders.write_json(self.folder / notes.SWEEP, asdict(note))


def key(jobs: Sequence[str], settings: object) -> str:
    """SHA-256 of what a sweep is.

    Arguments:
        jobs: their digests, in order.
        settings: all else that decides what is run and where it is sent, for JSON.
    """
    return sha256(json.dumps([list(jobs), settings], sort_keys=True, default=str).encode()).hexdigest()


def claim(
    pattern: str,
    key: str,
    *,
    name: str,
    jobs: int,
    varying: Sequence[str],
    words: Sequence[str],
    resume: bool,
) -> Sweep:
    """Take a sweep for this process: an earlier one with the same key if there is, else a new one.

    Arguments:
        pattern: the folder of a sweep, with * where its id goes, if its id is in it.
        name: what the id of a new sweep begins with.
        jobs: how many it has.
        varying: the keys in which they differ.
        words: of the command line, after `sweepgrad train`.
        resume: whether to go on with an earlier one.

    Raises:
        UserError: another process runs it, or the folder holds another sweep.
        OSError: the folder cannot be made.
    """
    parent = Path(pattern.partition("*")[0] or ".")
    parent = parent if pattern.partition("*")[0].endswith("/") else parent.parent
    parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _notes(pattern)
        same = [(folder, note) for folder, note in found if note.key == key]
        if resume and same:
            folder, note = max(same, key=lambda pair: (pair[0] / notes.SWEEP).stat().st_mtime)
            if _runs(note):
                raise UserError(
                    f"{note.id} is this very sweep, and process {note.process} of {note.host} runs it: wait"
                    " for it, or say sweep.resume=false to train everything anew beside it. If it does not"
                    f" run any more, remove {folder / notes.SWEEP}: what it trained is taken over"
                )
            earlier: Note | None = note
            id = note.id  # noqa: A001 - the field's word
        else:
            id = f"{name}-{datetime.now():%Y-%m-%d-%H%M%S}-{uuid.uuid4().hex[:4]}"  # noqa: A001
            folder, earlier = Path(pattern.replace("*", id)), None
            if found and "*" not in pattern:
                raise UserError(
                    f"{folder} holds the sweep {found[0][1].id}: choose another hydra.sweep.dir, or remove it"
                )
        command = shlex.join(["sweepgrad", "train", *words])
        host = socket.gethostname()
        note = Note(id, key, "RUNNING", jobs, tuple(varying), command, process.this(), host)
        folder.mkdir(parents=True, exist_ok=True)
        folders.write_json(folder / notes.SWEEP, asdict(note))
    finally:
        os.close(lock)
    return Sweep(note, folder, earlier)


def _notes(pattern: str) -> list[tuple[Path, Note]]:
    found = []
    only_the_id_varies = "*".join(glob.escape(part) for part in pattern.split("*"))
    for path in glob.glob(os.path.join(only_the_id_varies, notes.SWEEP)):
        try:
            found.append((Path(path).parent, notes.read(Path(path).parent)))
        except (OSError, ValueError):  # of an older version: it cannot be gone on with
            continue
    return found


def _runs(note: Note) -> bool:
    """Whether some process is at it. Of another machine's there is no telling, so it is believed."""
    return note.status == "RUNNING" and (note.host != socket.gethostname() or process.lives(note.process))
