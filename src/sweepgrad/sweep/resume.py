"""Which sweep a command goes on with, or that it begins a new one: decided by one process at a time."""

import glob
import json
import os
import shlex
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from sweepgrad import process
from sweepgrad.errors import UserError
from sweepgrad.files import locked
from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record
from sweepgrad.runs.sweep_record import SWEEP, SweepRecord


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process runs.

    Attributes:
        earlier: what was left of it by the process that ran it before, if one did.
    """

    record: SweepRecord
    folder: Path
    earlier: SweepRecord | None

    def write(self, status: records.Status, halving: str = "") -> None:
        """Record how it ended.

        Raises:
            OSError: it cannot be written.
        """
        sweep_record.write(self.folder, replace(self.record, status=status, halving=halving))


def key(jobs: Sequence[str], settings: object) -> str:
    """SHA-256 of what a sweep is.

    Arguments:
        jobs: their digests, in order.
        settings: all else that decides what is run and where it is sent, for JSON.
    """
    return sha256(json.dumps([list(jobs), settings], sort_keys=True, default=str).encode()).hexdigest()


def start_or_resume(
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
    with locked(parent):
        found = _earlier(pattern)
        same = [(folder, record) for folder, record in found if record.key == key]
        if resume and same:
            folder, before = max(same, key=lambda pair: (pair[0] / SWEEP).stat().st_mtime)
            if _runs(before):
                raise UserError(
                    f"{before.id} is this very sweep, and process {before.process} of {before.host} runs it:"
                    " wait for it, or say sweep.resume=false to train everything anew beside it. If it does"
                    f" not run any more, remove {folder / SWEEP}: what it trained is taken over"
                )
            earlier: SweepRecord | None = before
            id = before.id  # noqa: A001 - the field's word
        else:
            id = f"{name}-{datetime.now():%Y-%m-%d-%H%M%S}-{uuid.uuid4().hex[:4]}"  # noqa: A001
            folder, earlier = Path(pattern.replace("*", id)), None
            if found and "*" not in pattern:
                raise UserError(
                    f"{folder} holds the sweep {found[0][1].id}: choose another hydra.sweep.dir, or remove it"
                )
        command = shlex.join(["sweepgrad", "train", *words])
        host = socket.gethostname()
        record = SweepRecord(id, key, "RUNNING", jobs, tuple(varying), command, process.this(), host)
        folder.mkdir(parents=True, exist_ok=True)
        sweep_record.write(folder, record)
    return Sweep(record, folder, earlier)


def find(pattern: str, key: str) -> tuple[Path, SweepRecord] | None:
    """Return the folder and the record of the latest sweep with this key, if there is one."""
    same = [(folder, record) for folder, record in _earlier(pattern) if record.key == key]
    return max(same, key=lambda pair: (pair[0] / SWEEP).stat().st_mtime, default=None)


def _earlier(pattern: str) -> list[tuple[Path, SweepRecord]]:
    found = []
    only_the_id_varies = "*".join(glob.escape(part) for part in pattern.split("*"))
    for path in glob.glob(os.path.join(only_the_id_varies, SWEEP)):
        try:
            found.append((Path(path).parent, sweep_record.read(Path(path).parent)))
        except (OSError, ValueError):  # of an older version: it cannot be gone on with
            continue
    return found


def _runs(record: SweepRecord) -> bool:
    """Whether some process is at it. Of another machine's there is no telling, so it is believed."""
    return record.status == "RUNNING" and (
        record.host != socket.gethostname() or process.lives(record.process)
    )
