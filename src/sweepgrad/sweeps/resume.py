"""Decide whether a command resumes an earlier sweep or starts a new one, one process at a time."""

import glob
import json
import os
import re
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

# An experiment in a folder has a slash in its name; quotes and wildcards would have to be escaped elsewhere.
_NOT_IN_NAMES = re.compile(r"[^\w.+=,@ -]")
_LONGEST_PREFIX = 100
_OF_SWEEPERS = ("multirun.yaml", "optimization_results.json")  # which they write into the sweep's folder


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process runs.

    Attributes:
        earlier: the record by the process that ran it before; None for a new sweep.
    """

    record: SweepRecord
    folder: Path
    earlier: SweepRecord | None

    def write(self, status: records.Status, halving: str = "") -> None:
        """Record how the sweep ended.

        Raises:
            OSError: the record cannot be written.
        """
        sweep_record.write(self.folder, replace(self.record, status=status, halving=halving))


def key(jobs: Sequence[str], settings: object) -> str:
    """Return the SHA-256 that identifies a sweep.

    Arguments:
        jobs: the digests of the jobs, in order.
        settings: everything else that decides what is run and where it is sent, serializable as JSON.
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
    """Resume the earlier sweep with the same key, or start a new one, in this process.

    Arguments:
        pattern: the folder of a sweep, with * in the place of its id if it contains the id.
        name: the prefix of the id of a new sweep, which also names its folder.
        jobs: the number of jobs.
        varying: the keys in which the jobs differ.
        words: the arguments of the command line after `sweepgrad train`.
        resume: whether to resume an earlier sweep.

    Raises:
        UserError: another process runs the sweep, or the folder holds another sweep.
        OSError: the folder cannot be created.
    """
    parent = Path(pattern.partition("*")[0] or ".")
    parent = parent if pattern.partition("*")[0].endswith("/") else parent.parent
    parent.mkdir(parents=True, exist_ok=True)
    with locked(parent):
        found = _earlier(pattern)
        matching = [(folder, record) for folder, record in found if record.key == key]
        if resume and matching:
            folder, before = max(matching, key=lambda pair: (pair[0] / SWEEP).stat().st_mtime)
            if _runs(before):
                raise UserError(
                    f"process {before.process} on {before.host} is running this sweep as {before.id}: wait"
                    " for it, or use sweep.resume=false to train everything again as another sweep. If that"
                    f" process is no longer running, remove {folder / SWEEP}; finished runs are reused"
                )
            earlier: SweepRecord | None = before
            id = before.id  # noqa: A001 - the field's word
        else:
            prefix = _NOT_IN_NAMES.sub("-", name)[:_LONGEST_PREFIX]
            id = f"{prefix}-{datetime.now():%Y-%m-%d-%H%M%S}-{uuid.uuid4().hex[:4]}"  # noqa: A001
            folder, earlier = Path(pattern.replace("*", id)), None
            if found and "*" not in pattern:
                raise UserError(
                    f"{folder} holds another sweep, {found[0][1].id}: choose another hydra.sweep.dir, or"
                    " remove that folder"
                )
            for file in (SWEEP, *_OF_SWEEPERS):
                if not found and (folder / file).exists():
                    raise UserError(
                        f"{folder / file} is there, and is not a sweep's: choose another hydra.sweep.dir"
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
        except (OSError, ValueError):  # an older version wrote it: it cannot be resumed
            continue
    return found


def _runs(record: SweepRecord) -> bool:
    """Return whether a process runs the sweep. The record is trusted for processes on other machines."""
    return record.status == "RUNNING" and (
        record.host != socket.gethostname() or process.lives(record.process)
    )
