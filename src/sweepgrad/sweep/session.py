"""All that one command line trains, whichever of Hydra's launchers calls for it."""

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
from sweepgrad.sweep import reuse
from sweepgrad.sweep.job import Job, Outcome, Running, reused
from sweepgrad.sweep.progress import Progress
from sweepgrad.sweep.resume import Sweep
from sweepgrad.tasks.registry import task_of
from sweepgrad.tracking.outbox import Outbox
from sweepgrad.training.experiment import dtype_of

log = logging.getLogger(__name__)


Execute = Callable[[Sequence[Job], Event], Generator[Running | Outcome, None, None]]


class Ended(BaseException):
    """Nothing more is to be run; the message says why. (Hydra would take an Exception for a job's own.)"""


class Session:
    """The jobs of a command line: what is still to be trained of them, and what became of them.

    Arguments:
        sweep: None for a run on its own.
        runs: the folder below which earlier results are looked for.
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
        self._shelf: reuse.Index | None = None  # made once: a sweeper may ask for jobs one by one
        self._began = int(time.time() * 1000)
        self.outcomes: list[Outcome] = []
        self.under_way: list[Job] = []
        self.resources = ExitStack()  # what launchers keep open until the last job has ended

    def job(self, number: int, name: str, overrides: Sequence[str], config: Config, folder: Path) -> Job:
        """A job of this command line."""
        if self.sweep is None:
            return Job(number, name, tuple(overrides), config, folder, id=uuid.uuid4().hex)
        sweep_id = self.sweep.record.id
        config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": sweep_id})})
        return Job(number, name, tuple(overrides), config, folder, id=f"{sweep_id}/{number}")

    def run(self, jobs: Sequence[Job], execute: Execute) -> list[Outcome]:
        """Train what is not trained yet, and hand all over to MLflow; an outcome for each job, in order.

        Raises:
            Ended: a job failed and the sweep was to end then, or a folder cannot be written.
        """
        ended: dict[int, Outcome] = {}
        if self._resume and not any(_judged_by_weights(job.config) for job in jobs):
            jobs = self._found(jobs)
        for job in jobs:
            if job.earlier is not None and job.config.sweep.halving is None:
                ended[job.number] = reused(job)
                self._take(ended[job.number])
        self.under_way = [job for job in jobs if job.number not in ended]
        cancelled = Event()
        events = execute(self.under_way, cancelled)
        try:
            for event in events:
                if isinstance(event, Running):
                    self.progress.running(event)
                    continue
                ended[event.job.number] = event
                self._take(event)
                if event.status == "FAILED" and self._fail_fast:
                    raise Ended("ended at the first failure, as sweep.fail_fast asks")
        except OSError as error:
            raise Ended(f"{unwritten(error)}; nothing more is run") from None
        finally:
            cancelled.set()
            events.close()
            self._take_unheard()
        self.under_way = []
        return [ended[job.number] for job in jobs]

    def _take(self, outcome: Outcome) -> None:
        self.outbox.send(outcome.job.folder)  # first: Ctrl-C may come at any line
        self.outcomes.append(outcome)
        self.progress.ended(outcome)
        to_its_end = outcome.status == "FINISHED" and not (outcome.reused or outcome.stopped)
        task = task_of(outcome.job.config.data)
        if to_its_end and (hint := task.loss_hint(outcome.summary[METRICS[task.loss].key])):
            log.info(f"{outcome.job.name}: {hint}")

    def _take_unheard(self) -> None:
        """Hand over what ended in the moment in which an exception kept it from being heard of."""
        if self.sweep is None:  # a run on its own is kept, and sent, as far as it came
            for job in self.under_way:
                if not self.outcomes and (job.folder / records.RECORD).exists():
                    self.outbox.send(job.folder)
            return
        heard = {outcome.job.number for outcome in self.outcomes}
        for job in self.under_way:
            if job.number in heard:
                continue
            try:
                record = records.read(job.folder)
            except (OSError, ValueError):  # there is none, or it is an older one that was damaged
                continue
            if record.job == job.id and record.ended >= self._began:
                problem = (record.error or "").strip().rpartition("\n")[2]
                outcome = reused(replace(job, earlier=job.folder))
                self._take(replace(outcome, reused=False, problem=problem))

    def _found(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs, each with where its result was left before: in this sweep, or in another."""
        earlier: dict[int, Path] = {}
        missing: dict[str, int] = {}
        for job in jobs:
            digest = digest_of(job.config)
            record = None
            if self.sweep is not None and self.sweep.earlier is not None:
                stopped_too = job.config.sweep.halving is not None  # by the same rule: it is part of the key
                record = reuse.whole(job.folder, stopped_too=stopped_too)
            if record is not None and record.digest == digest:
                earlier[job.number] = job.folder
            else:
                missing[digest] = job.number
        if not any(job.config.sweep.halving for job in jobs):  # whose outcomes are to be of this sweep alone
            if self._shelf is None:
                self._shelf = reuse.index(self._runs)
            for digest, folder in reuse.find(missing.keys(), self._shelf).items():
                earlier[missing[digest]] = folder
        return [replace(job, earlier=earlier.get(job.number)) for job in jobs]

    @property
    def last_folder(self) -> Path:
        """Where the last job was left, or is to be."""
        jobs = [outcome.job for outcome in self.outcomes] or self.under_way
        return jobs[-1].folder if jobs else self._runs

    @property
    def saved_by_halving(self) -> str:
        """What stopping jobs early has saved, in words; empty if none was."""
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
        return [outcome for outcome in self.outcomes if outcome.status == "FAILED"]

    def rerun(self, job: Job) -> str:
        """The command that runs a job alone, without what is about the sweep."""
        own = [line for line in job.overrides if not line.lstrip("+~").startswith("sweep.")]
        return shlex.join(["sweepgrad", "train", *own])


def _judged_by_weights(config: Config) -> bool:
    """Whether halving goes by what a history does not hold, so that it cannot follow one."""
    return config.sweep.halving is not None and config.select.metric not in task_of(config.data).by_epoch


def unwritten(error: OSError) -> str:
    """What could not be written, in words."""
    place = f" {os.path.relpath(error.filename)}" if error.filename else ""
    return f"cannot write{place}: {error.strerror}"


def value(outcome: Outcome) -> float:
    """What a sweeper is told of a job: the metric of `select.metric`; not a number if it failed."""
    return outcome.summary.get(METRICS[outcome.job.config.select.metric].key, nan)


def digest_of(config: Config) -> str:
    """See `capture.identity`; the table is read if it was not yet.

    Raises:
        UserError: as `open_training`.
    """
    training = open_training(config.data, config.split, dtype_of(config))
    return capture.identity(config, asdict(training.digests))
