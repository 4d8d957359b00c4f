"""What runs on a Dask worker: batches of jobs, each batch on one of the worker's threads.

All that comes and goes is plain: dicts, lists, strings, numbers and bytes. Nothing is left on the worker but
tables that were sent to it, in Dask's scratch folder, which Dask removes when the worker ends.
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
from sweepgrad.sweep import threads
from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Job, Outcome
from sweepgrad.sweep.memory import Room, free
from sweepgrad.training.experiment import dtype_of

_TABLES = "sweepgrad-tables"  # in the scratch folder
_LOOKS_SECONDS = 0.2  # between two looks at whether a batch is still wanted


class GivenJob(TypedDict):
    """A job as it is sent.

    Attributes:
        config: as JSON would have it.
        path: where the sender has the table; None for one that is drawn.
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
    """A batch as it is sent, and the software of the sender."""

    software: dict[str, str]
    jobs: list[GivenJob]


class Result(TypedDict):
    """What became of a job: its record as it is written, and the files of its model and state."""

    number: int
    record: str
    model: dict[str, bytes]
    seconds: float
    problem: str


class Answer(TypedDict):
    """What became of a batch, and which worker says so.

    Attributes:
        results: of the jobs that ended; where some are lacking, one of the other two may say why.
        missing: tables, by their SHA-256, that must be sent first.
        refused: why this worker cannot run it at all.
    """

    worker: str
    address: str
    results: list[Result]
    missing: NotRequired[list[str]]
    refused: NotRequired[str]


def software() -> dict[str, str]:
    """What must be the same on all machines for results to be."""
    return {"sweepgrad": __version__, "code": provenance.code()}


def train(order: Order) -> Answer:
    """Train a batch of jobs, one after another, while other threads of the worker do likewise."""
    worker = get_worker()
    answer: Answer = {"worker": worker.id, "address": worker.address, "results": []}
    if software() != order["software"]:
        return {**answer, "refused": "it runs another version of sweepgrad"}
    tables = Path(worker.local_directory, _TABLES)
    cancelled = Event()
    try:
        with tempfile.TemporaryDirectory(prefix="sweepgrad-", dir=worker.local_directory) as scratch:
            jobs, missing = [], set()
            for given in order["jobs"]:
                config = _where_the_table_is(check(given["config"]), given["path"], given["digests"], tables)
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
        place = error.filename or worker.local_directory  # a full disk has no file's name
        answer["refused"] = f"cannot write {place}: {error.strerror}"
    return answer


def keep(
    sender: str, name: str, content: bytes, start: int, digest: str | None, dask_worker: Worker | None = None
) -> str:
    """Take a piece of a table, and after the last one put the table where `train` looks for it.

    Arguments:
        sender: tells this table's pieces from those that somebody else sends.
        name: of the file.
        start: where in it the piece begins.
        digest: with the last piece, the SHA-256 that the file must have to be kept.

    Returns:
        After the last piece, the SHA-256 that it has.

    Raises:
        OSError: the folder takes no more; what came before is removed.
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
    """What a table that was sent is called, given its SHA-256 and where it comes from."""
    return digest + Path(path).suffix.lower()


def _where_the_table_is(
    config: Config, path: str | None, digests: Mapping[str, str], tables: Path
) -> Config | None:
    """The configuration with the path that its table has on this worker; None if it has none.

    Raises:
        UserError: the table is here, and comes to something else.
    """
    data, sent = config.data, True
    choices: list[FileData | SimulatedData] = [data]
    if isinstance(data, FileData):
        assert path is not None
        digest = digests["table"]
        copy = tables / name_of_table(digest, path)
        sent = copy.exists()
        named = [data.model_copy(update={"path": there, "sha256": digest}) for there in (str(copy), path)]
        choices = [choice for choice in named if locate(choice).exists()]
    problem: UserError | None = None
    for choice in choices:
        try:
            found = asdict(open_training(choice, config.split, dtype_of(config)).digests)
        except UserError as error:  # such as: it is another file
            problem = error
            continue
        if found == digests:
            return config.model_copy(update={"data": choice})
        problem = UserError(f"{data.name} is split otherwise: its digests are {found} and not {digests}")
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
    """Cancel what this thread does within when whoever asked for it takes that back, or is gone.

    Dask by itself lets a thread go on to its end.
    """
    key, over = worker.get_current_task(), Event()

    def look() -> None:
        while not over.wait(_LOOKS_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                cancelled.set()
                return

    looking = Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


_lock, _within, _shared = Lock(), 0, Room(0)


@contextmanager
def _room(worker: Worker) -> Iterator[Room]:
    """The memory that the worker's threads share; how much there is, is looked up when none is within."""
    global _within, _shared
    with _lock:
        if _within == 0:
            n_bytes, limit = free(), worker.memory_manager.memory_limit
            if limit is not None:  # at which Dask ends the process
                n_bytes = min(n_bytes, max(0, limit - psutil.Process().memory_info().rss))
            _shared = Room(n_bytes)
        _within += 1
        room = _shared
    try:
        yield room
    finally:
        with _lock:
            _within -= 1
