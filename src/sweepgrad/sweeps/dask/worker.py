"""Train batches of jobs on a Dask worker, each batch on one of the worker's threads.

Jobs and results are sent as plain dicts, lists, strings, numbers and bytes. Only tables that were sent remain
on the worker, in Dask's scratch folder, which Dask removes when the worker ends.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NotRequired, TypedDict

import psutil
from distributed import Worker, get_worker

from sweepgrad import __version__
from sweepgrad.config.check import check
from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.config.schema import Config
from sweepgrad.data.access import open_training
from sweepgrad.data.io.files import locate
from sweepgrad.errors import UserError
from sweepgrad.runs import folders, provenance
from sweepgrad.runs import record as records
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Job, Outcome
from sweepgrad.sweeps.memory import Room, free
from sweepgrad.training.experiment import dtype_of

_TABLES = "sweepgrad-tables"  # in the scratch folder
_CHECK_SECONDS = 0.2  # between two checks whether a batch is still wanted


class GivenJob(TypedDict):
    """A job as it is sent to a worker.

    Attributes:
        config: the configuration as JSON values.
        path: the sender's path of the table; None for simulated data.
        digests: of the table and its parts, see `digests.Digests`.
    """

    number: int
    id: str
    name: str
    overrides: list[str]
    config: dict[str, Any]
    path: str | None
    digests: dict[str, str]


class Order(TypedDict):
    """A batch as it is sent to a worker, with the software of the sender."""

    software: dict[str, str]
    jobs: list[GivenJob]


class Result(TypedDict):
    """The result of a job: its record as text, and the files of its model and state."""

    number: int
    record: str
    model: dict[str, bytes]
    seconds: float
    problem: str


class Answer(TypedDict):
    """The answer of a worker to a batch.

    Attributes:
        results: of the jobs that ended; if some are missing, one of the other two may say why.
        missing: the SHA-256 of tables that must be sent first.
        refused: why this worker cannot run the batch at all.
    """

    worker: str
    address: str
    results: list[Result]
    missing: NotRequired[list[str]]
    refused: NotRequired[str]


def software() -> dict[str, str]:
    """Return the versions that must be equal on all machines for equal results."""
    return {"sweepgrad": __version__, "code": provenance.code()}


def train(order: Order) -> Answer:
    """Train the jobs of a batch one after another; other threads of the worker train other batches."""
    worker = get_worker()
    answer: Answer = {"worker": worker.id, "address": worker.address, "results": []}
    if software() != order["software"]:
        return {**answer, "refused": "this worker runs another version of sweepgrad"}
    tables = Path(worker.local_directory, _TABLES)
    cancelled = Event()
    try:
        with tempfile.TemporaryDirectory(prefix="sweepgrad-", dir=worker.local_directory) as scratch:
            jobs, missing = [], set()
            for given in order["jobs"]:
                config = _with_local_table(check(given["config"]), given["path"], given["digests"], tables)
                if config is None:
                    missing.add(given["digests"]["table"])
                else:
                    folder, overrides = Path(scratch, str(given["number"])), tuple(given["overrides"])
                    jobs.append(Job(given["number"], given["name"], overrides, config, folder, given["id"]))
            if missing:
                return {**answer, "missing": sorted(missing)}
            with _while_wanted(worker, cancelled), _room(worker) as room:
                for event in threads.run(jobs, 1, Rungs(None, "accuracy", jobs), cancelled, room=room):
                    if isinstance(event, Outcome):
                        answer["results"].append(_result(event))
    except UserError as error:
        answer["refused"] = str(error)
    except OSError as error:
        path = error.filename or worker.local_directory  # the error of a full disk has no file name
        answer["refused"] = f"cannot write {path}: {error.strerror}"
    return answer


def keep(
    sender: str, name: str, content: bytes, start: int, digest: str | None, dask_worker: Worker | None = None
) -> str:
    """Store a piece of a table; after the last piece, move the table to where `train` looks for it.

    Arguments:
        sender: an identifier that separates these pieces from those of other senders.
        name: the name of the file.
        start: the offset of the piece in the file.
        digest: with the last piece, the SHA-256 that the file must have to be stored.

    Returns:
        The SHA-256 of the file after the last piece, else "".

    Raises:
        OSError: the folder cannot be written; earlier pieces are removed.
    """
    assert dask_worker is not None
    folder = Path(dask_worker.local_directory, _TABLES)
    folder.mkdir(exist_ok=True)
    partial = folder / f".{sender}-{name}"
    try:
        with partial.open("ab" if start else "wb") as file:
            file.write(content)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if digest is None:
        return ""
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == digest:
        partial.replace(folder / name)
    return found


def name_of_table(digest: str, path: str) -> str:
    """Return the file name of a table on a worker, from its SHA-256 and the sender's path."""
    return digest + Path(path).suffix.lower()


def _with_local_table(
    config: Config, path: str | None, digests: Mapping[str, str], tables: Path
) -> Config | None:
    """Return the configuration with the path of its table on this worker; None if the table is missing.

    Raises:
        UserError: the table is here, but its digests differ.
    """
    data, sent = config.data, True
    choices: list[FileData | SimulatedData] = [data]
    if isinstance(data, FileData):
        assert path is not None
        digest = digests["table"]
        copy = tables / name_of_table(digest, path)
        sent = copy.exists()
        paths = (str(copy), path)
        candidates = [data.model_copy(update={"path": each, "sha256": digest}) for each in paths]
        choices = [choice for choice in candidates if locate(choice).exists()]
    problem: UserError | None = None
    for choice in choices:
        try:
            found = asdict(open_training(choice, config.split, dtype_of(config)).digests)
        except UserError as error:  # for example: it is another file
            problem = error
            continue
        if found == digests:
            return config.model_copy(update={"data": choice})
        problem = UserError(
            f"{data.name}: the split on this worker is different: its digests are {found}, not {digests}"
        )
    if sent and problem is not None:
        raise problem
    return None


def _result(outcome: Outcome) -> Result:
    folder = outcome.job.folder
    record = (folder / records.RECORD).read_text(encoding="utf-8")
    names = records.parse(record).files
    return {
        "number": outcome.job.number,
        "record": record,
        "model": {name: folders.path_of(folder, name).read_bytes() for name in names},
        "seconds": outcome.seconds,
        "problem": outcome.problem,
    }


@contextmanager
def _while_wanted(worker: Worker, cancelled: Event) -> Iterator[None]:
    """Cancel the batch of this thread when its sender cancels it or is gone.

    Dask by itself lets a thread run to its end.
    """
    key, over = worker.get_current_task(), Event()

    def watch() -> None:
        while not over.wait(_CHECK_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                cancelled.set()
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


_lock, _users, _shared = Lock(), 0, Room(0)


@contextmanager
def _room(worker: Worker) -> Iterator[Room]:
    """Share the worker's memory between its threads; it is measured while no thread uses it."""
    global _users, _shared
    with _lock:
        if _users == 0:
            n_bytes, limit = free(), worker.memory_manager.memory_limit
            if limit is not None:  # at which Dask ends the process
                n_bytes = min(n_bytes, max(0, limit - psutil.Process().memory_info().rss))
            _shared = Room(n_bytes)
        _users += 1
        room = _shared
    try:
        yield room
    finally:
        with _lock:
            _users -= 1
