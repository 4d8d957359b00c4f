"""The jobs of one launch: run what is missing, reuse what is there, hand results to MLflow."""

import logging
import os
import shlex
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from math import nan
from pathlib import Path
from threading import Event

from sweepgrad.config.schema import Config
from sweepgrad.data.access import open_training
from sweepgrad.runs import capture
from sweepgrad.runs import record as records
from sweepgrad.stats.metrics import METRICS
from sweepgrad.sweeps import reuse
from sweepgrad.sweeps.job import Job, Outcome, Running, reused
from sweepgrad.sweeps.progress import Progress
from sweepgrad.sweeps.resume import Sweep
from sweepgrad.tasks.registry import task_of
from sweepgrad.tracking.outbox import Outbox
from sweepgrad.training.experiment import dtype_of

log = logging.getLogger(__name__)


Execute = Callable[[Sequence[Job], Event], Generator[Running | Outcome, None, None]]


class Ended(BaseException):
    """Raised to end a sweep early; the message says why. (Hydra takes an Exception for the job's own.)"""


class Session:
    """The jobs of one launch and their outcomes.

    Arguments:
        sweep: None for a run on its own.
        resume: reuse results of earlier sweeps.
        fail_fast: end the sweep at the first failure.
        runs: the folder below which earlier results are looked for.

    Attributes:
        outcomes: of the jobs that ended, in the order in which they did.
        under_way: jobs that have not ended.
        resources: what launchers keep open until the last job has ended.
    """

    def __init__(
        self,
        sweep: Sweep | None,
        outbox: Outbox,
        progress: Progress,
        *,
        resume: bool,
        fail_fast: bool,
        runs: Path,
    ) -> None:
        self.sweep, self.outbox, self.progress = sweep, outbox, progress
        self._resume, self._fail_fast, self._runs = resume and sweep is not None, fail_fast, runs
        self._index: reuse.Index | None = None  # made once: a sweeper may launch jobs one by one
        self._began = int(time.time() * 1000)
        self.outcomes: list[Outcome] = []
        self.under_way: list[Job] = []
        self.resources = ExitStack()

    def job(self, number: int, name: str, overrides: Sequence[str], config: Config, folder: Path) -> Job:
        """Make a job of this launch."""
        if self.sweep is None:
            return Job(number, name, tuple(overrides), config, folder, id=uuid.uuid4().hex)
        sweep_id = self.sweep.record.id
        config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": sweep_id})})
        return Job(number, name, tuple(overrides), config, folder, id=f"{sweep_id}/{number}")

    def run(self, jobs: Sequence[Job], execute: Execute) -> list[Outcome]:
        """Train what was not trained before, send everything to MLflow, and return outcomes in order.

        Raises:
            Ended: a job failed and `fail_fast` is set, or a folder cannot be written.
        """
        ended: dict[int, Outcome] = {}
        if self._resume and not any(_halves_by_weights(job.config) for job in jobs):
            jobs = self._with_earlier(jobs)
        for job in jobs:
            if job.earlier is not None and job.config.sweep.halving is None:
                ended[job.number] = reused(job)
                self._keep(ended[job.number])
        self.under_way = [job for job in jobs if job.number not in ended]
        cancelled = Event()
        events = execute(self.under_way, cancelled)
        try:
            for event in events:
                if isinstance(event, Running):
                    self.progress.running(event)
                    continue
                ended[event.job.number] = event
                self._keep(event)
                if event.status == "FAILED" and self._fail_fast:
                    raise Ended("sweep.fail_fast: ended at the first failure")
        except OSError as error:
            raise Ended(f"{unwritten(error)}; the sweep ends here") from None
        finally:
            cancelled.set()
            events.close()
            self._keep_unreported()
        self.under_way = []
        return [ended[job.number] for job in jobs]

    def _keep(self, outcome: Outcome) -> None:
        self.outbox.send(outcome.job.folder)  # first: Ctrl-C may come at any line
        self.outcomes.append(outcome)
        self.progress.ended(outcome)
        completed = outcome.status == "FINISHED" and not (outcome.reused or outcome.stopped)
        task = task_of(outcome.job.config.data)
        if completed and (hint := task.loss_hint(outcome.summary[METRICS[task.loss].key])):
            log.info(f"{outcome.job.name}: {hint}")

    def _keep_unreported(self) -> None:
        """Keep the results of jobs that ended just when an exception was raised."""
        if self.sweep is None:  # a run on its own is kept and sent up to its last epoch
            for job in self.under_way:
                if not self.outcomes and (job.folder / records.RECORD).exists():
                    self.outbox.send(job.folder)
            return
        reported = {outcome.job.number for outcome in self.outcomes}
        for job in self.under_way:
            if job.number in reported:
                continue
            try:
                record = records.read(job.folder)
            except (OSError, ValueError):  # it has none, or a damaged one of an earlier run
                continue
            if record.job == job.id and record.ended >= self._began:
                problem = (record.error or "").strip().rpartition("\n")[2]
                outcome = reused(replace(job, earlier=job.folder))
                self._keep(replace(outcome, reused=False, problem=problem))

    def _with_earlier(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, each with the folder of its earlier result, of this sweep or of another."""
        earlier: dict[int, Path] = {}
        missing: dict[str, int] = {}
        for job in jobs:
            digest = digest_of(job.config)
            record = None
            if self.sweep is not None and self.sweep.earlier is not None:
                stopped_too = (
                    job.config.sweep.halving is not None
                )  # halving is part of the key, so it stopped them by the same rule
                record = reuse.whole(job.folder, stopped_too=stopped_too)
            if record is not None and record.digest == digest:
                earlier[job.number] = job.folder
            else:
                missing[digest] = job.number
        if not any(job.config.sweep.halving for job in jobs):  # which compares outcomes of this sweep only
            if self._index is None:
                self._index = reuse.index(self._runs)
            for digest, folder in reuse.find(missing.keys(), self._index).items():
                earlier[missing[digest]] = folder
        return [replace(job, earlier=earlier.get(job.number)) for job in jobs]

    @property
    def last_folder(self) -> Path:
        """The folder of the last job."""
        jobs = [outcome.job for outcome in self.outcomes] or self.under_way
        return jobs[-1].folder if jobs else self._runs

    @property
    def saved_by_halving(self) -> str:
        """A sentence on the epochs that halving saved; empty without halving."""
        stopped = [outcome for outcome in self.outcomes if outcome.stopped]
        if not stopped:
            return ""
        trained = sum(outcome.epochs for outcome in self.outcomes)
        saved = sum(outcome.job.config.train.epochs - outcome.epochs for outcome in stopped)
        return (
            f"halving stopped {len(stopped)} of {len(self.outcomes)} runs early, which saved"
            f" {saved / (saved + trained):.0%} of all epochs ({saved} of {saved + trained})"
        )

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of the jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "FAILED"]

    def rerun_command(self, job: Job) -> str:
        """Return the command that runs a job alone, without settings of the sweep."""
        own = [line for line in job.overrides if not line.lstrip("+~").startswith("sweep.")]
        return shlex.join(["sweepgrad", "train", *own])


def _halves_by_weights(config: Config) -> bool:
    """Return whether halving compares by a metric that a run's history does not hold."""
    return config.sweep.halving is not None and config.select.metric not in task_of(config.data).by_epoch


def unwritten(error: OSError) -> str:
    """Describe what could not be written."""
    place = f" {os.path.relpath(error.filename)}" if error.filename else ""
    return f"cannot write{place}: {error.strerror}"


def value(outcome: Outcome) -> float:
    """Return the value of `select.metric` for a sweeper; NaN if the job failed."""
    return outcome.summary.get(METRICS[outcome.job.config.select.metric].key, nan)


def digest_of(config: Config) -> str:
    """Return `capture.identity` of a configuration; read its table if that was not done before.

    Raises:
        UserError: as `open_training`.
    """
    training = open_training(config.data, config.split, dtype_of(config))
    return capture.identity(config, asdict(training.digests))
