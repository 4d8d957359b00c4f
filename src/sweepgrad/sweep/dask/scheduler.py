"""Running jobs on the workers of a Dask cluster; what they come to is written here, as if trained here."""

import concurrent.futures
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from dask.typing import Key
from distributed import Future, KilledWorker

from sweepgrad.config.schema import Config
from sweepgrad.data.access import Training, open_training
from sweepgrad.errors import UserError
from sweepgrad.runs import capture, folders
from sweepgrad.runs import record as records
from sweepgrad.sweep.dask.batches import Batches
from sweepgrad.sweep.dask.cluster import Cluster, Flight
from sweepgrad.sweep.dask.worker import Answer, GivenJob, Result
from sweepgrad.sweep.job import Job, Outcome
from sweepgrad.training.experiment import dtype_of

_LOOK_SECONDS = 1.0  # between two looks at who works
_TRIES = 3  # of a batch whose results, or whose table, are lost on their way
_AHEAD = 2  # batches for each core: while one is trained, another waits there


@dataclass(frozen=True)
class _Batch:
    """Jobs that are trained one after another.

    Attributes:
        alone: whether they are given to the cluster while it does nothing else.
        losses: how often what came of them, or their table, was lost on its way.
    """

    jobs: Sequence[Job]
    alone: bool = False
    losses: int = 0


def run(jobs: Sequence[Job], cluster: Cluster, cancelled: Event) -> Iterator[Outcome]:
    """Run jobs on a cluster; each ends with an `Outcome`, in the order in which they end.

    When the iterator is closed, or an exception is raised where it is used, the jobs under way are dropped:
    the workers hear of it, and end them within tenths of a second.

    A batch whose workers die is tried again job by job, and a job whose workers still die is tried once more
    with nothing beside it: then there is no doubt who ends them, and it ends as FAILED.

    Arguments:
        cancelled: once it is set, no more is begun.

    Raises:
        OSError: a folder cannot be written. Nothing more is run then.
        UserError: the scheduler is gone, or no worker can run a job, or what comes of one never arrives.
    """
    sweep = _Remote(jobs, cluster)
    try:
        while not cancelled.is_set() and sweep.begin():
            yield from sweep.wait()
    finally:
        sweep.drop()


class _Remote:
    def __init__(self, jobs: Sequence[Job], cluster: Cluster) -> None:
        self._cluster, self._jobs = cluster, {job.number: job for job in jobs}
        self._batches = Batches(jobs)
        self._again: deque[_Batch] = deque()
        self._suspects: deque[_Batch] = deque()
        self._under_way: dict[Key, tuple[_Batch, Flight]] = {}
        self._arriving: dict[Key, concurrent.futures.Future[Answer]] = {}
        self._ended: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._looked = time.monotonic()
        self._sources = {
            training.digests.table: training.source for training in map(_training, (j.config for j in jobs))
        }

    def begin(self) -> bool:
        """Give the cluster as much as it can do; whether anything is under way or left."""
        while len(self._under_way) < _AHEAD * self._cluster.cores:
            if self._again:
                self._submit(self._again.popleft())
            elif jobs := self._batches.take(self._cluster.cores):
                self._submit(_Batch(jobs))
            else:
                break
        if self._suspects and not (self._under_way or self._again or self._batches):
            self._submit(self._suspects.popleft())
        return bool(self._under_way or self._suspects or self._again or self._batches)

    def wait(self) -> Iterator[Outcome]:
        """What ends within about a second."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        try:
            future = self._ended.get(timeout=_LOOK_SECONDS)
        except Empty:
            return
        if future.key not in self._under_way:  # it was taken back
            return
        if future.status == "finished" and future.key not in self._arriving:
            self._fetch(future)
            return
        batch, flight = self._under_way.pop(future.key)
        arriving = self._arriving.pop(future.key, None)
        if future.status == "error":
            yield from self._failed(batch, flight, future)
        elif arriving is None or arriving.cancelled():  # such as when the scheduler was lost for a moment
            self._lost(batch, f"it was {future.status}")
        elif (error := arriving.exception()) is not None:
            self._lost(batch, repr(error))
        else:
            yield from self._answered(batch, flight, arriving.result())

    def drop(self) -> None:
        """Take back all that is under way."""
        self._take_back([*self._under_way])

    def _submit(self, batch: _Batch) -> None:
        flight = self._cluster.submit([_given(job) for job in batch.jobs])
        self._under_way[flight.future.key] = batch, flight
        flight.future.add_done_callback(self._ended.put)

    def _fetch(self, future: "Future[Answer]") -> None:
        arriving = self._arriving[future.key] = self._cluster.fetch(future)
        arriving.add_done_callback(lambda _: self._ended.put(future))

    def _take_back(self, keys: Sequence[Key]) -> None:
        flights = [self._under_way.pop(key)[1] for key in keys]
        for arriving in [self._arriving.pop(key) for key in keys if key in self._arriving]:
            arriving.cancel()
        self._cluster.take_back([flight.future for flight in flights])

    def _retry(self, batch: _Batch) -> None:
        (self._suspects if batch.alone else self._again).append(batch)

    def _lost(self, batch: _Batch, why: str) -> None:
        """Try a batch again that something kept from its end, but not for ever: that may be no accident.

        Raises:
            UserError: it was tried often enough, or the scheduler is gone.
        """
        self._cluster.look()
        batch = replace(batch, losses=batch.losses + 1)
        if batch.losses == _TRIES:
            names = ", ".join(str(job.number) for job in batch.jobs[:5]) + ", …" * (len(batch.jobs) > 5)
            raise UserError(
                f"job {names}: what Dask workers made of it was lost {_TRIES} times on its way ({why}). What"
                " had ended is kept, and the same command does the rest; the logs of the workers and of the"
                " scheduler may say more"
            )
        self._retry(batch)

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._cluster.look()
        for key, (batch, flight) in [*self._under_way.items()]:
            if self._cluster.stranded(flight):
                self._take_back([key])
                self._retry(batch)

    def _failed(self, batch: _Batch, flight: Flight, future: "Future[Answer]") -> Iterator[Outcome]:
        error = future.exception()
        if isinstance(error, KilledWorker):
            if batch.alone:
                yield from map(_killed, batch.jobs)
            elif len(batch.jobs) == 1:
                self._suspects.append(replace(batch, alone=True))
            else:
                self._again.extend(replace(batch, jobs=[job]) for job in batch.jobs)
        elif self._cluster.bar(flight):
            self._retry(batch)
        else:
            raise UserError(f"a Dask worker cannot run a job: {error!r}")

    def _answered(self, batch: _Batch, flight: Flight, answer: Answer) -> Iterator[Outcome]:
        left = {job.number for job in batch.jobs}
        for result in answer["results"]:
            job = self._jobs[result["number"]]
            left.discard(job.number)
            outcome = _kept(job, result)
            self._batches.learn(job, outcome.seconds)
            yield outcome
        if "refused" in answer and not self._cluster.bar(flight):
            raise UserError(f"worker {answer['address']}: {answer['refused']}")
        there = self._cluster.upload(answer, flight, self._sources)
        if left:
            rest = replace(batch, jobs=[job for job in batch.jobs if job.number in left])
            if there:
                self._retry(rest)
            else:
                self._lost(rest, f"worker {answer['address']} could not be sent its table")


def _given(job: Job) -> GivenJob:
    training = _training(job.config)
    path = getattr(job.config.data, "path", None)
    if path is not None and not path.startswith("bundled:"):
        path = training.source  # a relative one means something else there
    return {
        "number": job.number,
        "id": job.id,
        "name": job.name,
        "overrides": [*job.overrides],
        "config": job.config.model_dump(mode="json"),
        "path": path,
        "digests": asdict(training.digests),
    }


def _kept(job: Job, result: Result) -> Outcome:
    """Leave what came of a job in its folder, as if it had been trained here."""
    record = records.parse(result["record"])
    changed: dict[str, Any] = {"config": job.config.model_dump(mode="json")}
    if record.data is not None:
        training = _training(job.config)
        changed["data"] = replace(record.data, source=training.source)
        changed["digest"] = capture.identity(job.config, record.data.digests)
    record = replace(record, **changed)
    folders.place(job.folder, record, {name: result["model"][name] for name in record.files})
    return Outcome(
        job,
        record.status,
        record.summary,
        record.best_epoch,
        len(record.history),
        result["seconds"],
        problem=result["problem"],
    )


def _killed(job: Job) -> Outcome:
    """Leave word of a job that ends whatever process runs it."""
    now = int(time.time() * 1000)
    problem = (
        "the worker that runs it dies, also with nothing beside it; the worker's log may say why. It may take"
        " more memory than the worker may use: a smaller model.hidden or train.batch_size takes less"
    )
    record = capture.of(
        job.config,
        job=job.id,
        name=job.name,
        overrides=job.overrides,
        status="FAILED",
        started=now,
        ended=now,
        error=problem,
    )
    folders.write(job.folder, record)
    return Outcome(job, "FAILED", {}, 0, 0, 0.0, problem=problem)


def _training(config: Config) -> Training:
    return open_training(config.data, config.split, dtype_of(config))
