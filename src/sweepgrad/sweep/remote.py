"""Running jobs on the workers of a Dask cluster; what they come to is written here, as if trained here."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from dask.typing import Key
from distributed import Future, KilledWorker

from sweepgrad import record as records
from sweepgrad.config import Config
from sweepgrad.data.doors import Training, open_training
from sweepgrad.errors import UserError
from sweepgrad.experiment import dtype_of
from sweepgrad.sweep.batches import Batches
from sweepgrad.sweep.cluster import Cluster, Flight
from sweepgrad.sweep.job import Job, Outcome
from sweepgrad.sweep.worker import Answer, GivenJob, Result

_LOOK_SECONDS = 1.0  # between two looks at who works
_RESULT_SECONDS = 30  # in which a result arrives; it is asked for again then
_AHEAD = 2  # batches for each core: while one is trained, another waits there


@dataclass(frozen=True)
class _Batch:
    """Jobs, and whether they were given to the cluster while it did nothing else."""

    jobs: Sequence[Job]
    alone: bool = False


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
        UserError: the scheduler is gone, or no worker can run a job.
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
        self._again: deque[Sequence[Job]] = deque()
        self._suspects: deque[Job] = deque()
        self._under_way: dict[Key, tuple[_Batch, Flight]] = {}
        self._ended: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._looked = time.monotonic()
        self._sources = {
            training.digests.table: training.source for training in map(_training, (j.config for j in jobs))
        }

    def begin(self) -> bool:
        """Give the cluster as much as it can do; whether anything is under way or left."""
        while len(self._under_way) < _AHEAD * self._cluster.cores:
            jobs = self._again.popleft() if self._again else self._batches.take(self._cluster.cores)
            if not jobs:
                break
            self._submit(_Batch(jobs))
        if self._suspects and not (self._under_way or self._again or self._batches):
            self._submit(_Batch([self._suspects.popleft()], alone=True))
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
        batch, flight = self._under_way.pop(future.key)
        if future.status == "error":
            yield from self._failed(batch, flight, future)
            return
        try:
            answer = future.result(timeout=_RESULT_SECONDS)
        except Exception:  # noqa: BLE001 - its worker died since, or the scheduler was lost: there are many names
            self._retry(batch)
            return
        yield from self._answered(batch, flight, answer)

    def drop(self) -> None:
        """Take back all that is under way."""
        futures = [flight.future for _, flight in self._under_way.values()]
        self._under_way.clear()
        self._cluster.take_back(futures)

    def _submit(self, batch: _Batch) -> None:
        flight = self._cluster.submit([_given(job) for job in batch.jobs])
        self._under_way[flight.future.key] = batch, flight
        flight.future.add_done_callback(self._ended.put)

    def _retry(self, batch: _Batch) -> None:
        if batch.alone:
            self._suspects.extend(batch.jobs)
        else:
            self._again.append(batch.jobs)

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._cluster.look()
        for key, (batch, flight) in [*self._under_way.items()]:
            if self._cluster.stranded(flight):
                del self._under_way[key]
                self._cluster.take_back([flight.future])
                self._retry(batch)

    def _failed(self, batch: _Batch, flight: Flight, future: "Future[Answer]") -> Iterator[Outcome]:
        error = future.exception()
        if isinstance(error, KilledWorker):
            if batch.alone:
                yield from map(_killed, batch.jobs)
            elif len(batch.jobs) == 1:
                self._suspects.extend(batch.jobs)
            else:
                self._again.extend([job] for job in batch.jobs)
        elif self._cluster.bar(flight):
            self._retry(batch)
        else:
            raise UserError(f"a Dask worker cannot run a job: {error!r}")

    def _answered(self, batch: _Batch, flight: Flight, answer: Answer) -> Iterator[Outcome]:
        if "refused" in answer and not self._cluster.bar(flight):
            raise UserError(f"worker {answer['address']}: {answer['refused']}")
        self._cluster.upload(answer, flight, self._sources)
        left = {job.number for job in batch.jobs}
        for result in answer["results"]:
            job = self._jobs[result["number"]]
            left.discard(job.number)
            outcome = _kept(job, result)
            self._batches.learn(job, outcome.seconds)
            yield outcome
        if left:
            self._retry(replace(batch, jobs=[job for job in batch.jobs if job.number in left]))


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
        changed["digest"] = records.identity(job.config, record.data.digests)
    record = replace(record, **changed)
    records.place(job.folder, record, {name: result["model"][name] for name in record.files})
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
    record = records.of(
        job.config,
        job=job.id,
        name=job.name,
        overrides=job.overrides,
        status="FAILED",
        started=now,
        ended=now,
        error=problem,
    )
    records.write(job.folder, record)
    return Outcome(job, "FAILED", {}, 0, 0, 0.0, problem=problem)


def _training(config: Config) -> Training:
    return open_training(config.data, config.split, dtype_of(config))
