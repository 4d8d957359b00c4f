"""Run jobs on the workers of a Dask cluster, and write the results on this machine, like local ones."""

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
from sweepgrad.sweeps.dask.batches import Batches
from sweepgrad.sweeps.dask.cluster import Cluster, InFlight
from sweepgrad.sweeps.dask.worker import Answer, GivenJob, Result
from sweepgrad.sweeps.job import Job, Outcome
from sweepgrad.training.experiment import dtype_of

_REFRESH_SECONDS = 1.0  # between two updates of the list of workers
_TRIES = 3  # of a batch whose results or table are lost in transfer
_AHEAD = 2  # batches per core: one that is trained and one that waits


@dataclass(frozen=True)
class _Batch:
    """Jobs that are trained one after another.

    Attributes:
        alone: whether the batch is submitted only while nothing else runs.
        losses: how often their results or table were lost in transfer.
    """

    jobs: Sequence[Job]
    alone: bool = False
    losses: int = 0


def run(jobs: Sequence[Job], cluster: Cluster, cancelled: Event) -> Iterator[Outcome]:
    """Run jobs on a cluster; yield an `Outcome` for each, in the order in which they end.

    When the iterator is closed, or its consumer raises an exception, running jobs are cancelled, and the
    workers stop them within tenths of a second.

    If workers die during a batch, its jobs are tried again one by one. If workers die during a single job,
    it is tried once more with nothing running in parallel; if they die again, the job is FAILED.

    Arguments:
        cancelled: once it is set, no further jobs are started.

    Raises:
        OSError: a folder cannot be written. No further job is started.
        UserError: the scheduler is lost, no worker can run a job, or its results never arrive.
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
        self._in_flight: dict[Key, tuple[_Batch, InFlight]] = {}
        self._arriving: dict[Key, concurrent.futures.Future[Answer]] = {}
        self._ended: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._refreshed = time.monotonic()
        self._sources = {
            training.digests.table: training.source for training in map(_training, (j.config for j in jobs))
        }

    def begin(self) -> bool:
        """Submit as much as the cluster can run; return whether anything is running or left."""
        while len(self._in_flight) < _AHEAD * self._cluster.cores:
            if self._again:
                self._submit(self._again.popleft())
            elif jobs := self._batches.take(self._cluster.cores):
                self._submit(_Batch(jobs))
            else:
                break
        if self._suspects and not (self._in_flight or self._again or self._batches):
            self._submit(self._suspects.popleft())
        return bool(self._in_flight or self._suspects or self._again or self._batches)

    def wait(self) -> Iterator[Outcome]:
        """Yield the outcomes of the next batch that ends, if one does within about a second."""
        if time.monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._refresh()
        try:
            future = self._ended.get(timeout=_REFRESH_SECONDS)
        except Empty:
            return
        if future.key not in self._in_flight:  # it was cancelled
            return
        if future.status == "finished" and future.key not in self._arriving:
            self._fetch(future)
            return
        batch, flight = self._in_flight.pop(future.key)
        arriving = self._arriving.pop(future.key, None)
        if future.status == "error":
            yield from self._failed(batch, flight, future)
        elif arriving is None or arriving.cancelled():  # for example after a short loss of the scheduler
            self._lost(batch, f"its status is {future.status}")
        elif (error := arriving.exception()) is not None:
            self._lost(batch, repr(error))
        else:
            yield from self._answered(batch, flight, arriving.result())

    def drop(self) -> None:
        """Cancel all running batches."""
        self._cancel([*self._in_flight])

    def _submit(self, batch: _Batch) -> None:
        flight = self._cluster.submit([_given(job) for job in batch.jobs])
        self._in_flight[flight.future.key] = batch, flight
        flight.future.add_done_callback(self._ended.put)

    def _fetch(self, future: "Future[Answer]") -> None:
        arriving = self._arriving[future.key] = self._cluster.fetch(future)
        arriving.add_done_callback(lambda _: self._ended.put(future))

    def _cancel(self, keys: Sequence[Key]) -> None:
        flights = [self._in_flight.pop(key)[1] for key in keys]
        for arriving in [self._arriving.pop(key) for key in keys if key in self._arriving]:
            arriving.cancel()
        self._cluster.cancel([flight.future for flight in flights])

    def _retry(self, batch: _Batch) -> None:
        (self._suspects if batch.alone else self._again).append(batch)

    def _lost(self, batch: _Batch, why: str) -> None:
        """Try a batch again after its results were lost, up to a limited number of times.

        Raises:
            UserError: the limit is reached, or the scheduler is lost.
        """
        self._cluster.refresh()
        batch = replace(batch, losses=batch.losses + 1)
        if batch.losses == _TRIES:
            names = ", ".join(str(job.number) for job in batch.jobs[:5]) + ", …" * (len(batch.jobs) > 5)
            raise UserError(
                f"job {names}: results from Dask workers were lost in transfer {_TRIES} times ({why})."
                " Finished jobs are kept; see the logs of the workers and of the scheduler, then run the same"
                " command to train the rest"
            )
        self._retry(batch)

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        self._cluster.refresh()
        for key, (batch, flight) in [*self._in_flight.items()]:
            if self._cluster.stranded(flight):
                self._cancel([key])
                self._retry(batch)

    def _failed(self, batch: _Batch, flight: InFlight, future: "Future[Answer]") -> Iterator[Outcome]:
        error = future.exception()
        if isinstance(error, KilledWorker):
            if batch.alone:
                yield from map(_killed, batch.jobs)
            elif len(batch.jobs) == 1:
                self._suspects.append(replace(batch, alone=True))
            else:
                self._again.extend(replace(batch, jobs=[job]) for job in batch.jobs)
        elif self._cluster.exclude(flight):
            self._retry(batch)
        else:
            raise UserError(f"a Dask worker cannot run a job: {error!r}")

    def _answered(self, batch: _Batch, flight: InFlight, answer: Answer) -> Iterator[Outcome]:
        left = {job.number for job in batch.jobs}
        for result in answer["results"]:
            job = self._jobs[result["number"]]
            left.discard(job.number)
            outcome = _written(job, result)
            self._batches.learn(job, outcome.seconds)
            yield outcome
        if "refused" in answer and not self._cluster.exclude(flight):
            raise UserError(f"worker {answer['address']}: {answer['refused']}")
        uploaded = self._cluster.upload(answer, flight, self._sources)
        if left:
            rest = replace(batch, jobs=[job for job in batch.jobs if job.number in left])
            if uploaded:
                self._retry(rest)
            else:
                self._lost(rest, f"the table could not be sent to worker {answer['address']}")


def _given(job: Job) -> GivenJob:
    training = _training(job.config)
    path = getattr(job.config.data, "path", None)
    if path is not None and not path.startswith("bundled:"):
        path = training.source  # a relative path would point elsewhere on the worker
    return {
        "number": job.number,
        "id": job.id,
        "name": job.name,
        "overrides": [*job.overrides],
        "config": job.config.model_dump(mode="json"),
        "path": path,
        "digests": asdict(training.digests),
    }


def _written(job: Job, result: Result) -> Outcome:
    """Write the result of a job into its folder, as if it had been trained here."""
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
    """Record the failure of a job that ends the process of each worker that runs it."""
    now = int(time.time() * 1000)
    problem = (
        "each worker that ran this job died, even with no other job in parallel; see the worker's log. If the"
        " job needs more memory than the worker may use, use a smaller model.hidden or train.batch_size"
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
