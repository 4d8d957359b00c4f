"""All that one command line trains, whichever of Hydra's launchers calls for it."""

import shlex
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from math import log, nan
from pathlib import Path
from threading import Event

from sweepgrad import record as records
from sweepgrad.config import Config
from sweepgrad.data.doors import open_training
from sweepgrad.experiment import dtype_of
from sweepgrad.outbox import Outbox
from sweepgrad.sweep import shelf
from sweepgrad.sweep.claim import Sweep
from sweepgrad.sweep.job import Job, Outcome, Running
from sweepgrad.sweep.progress import Progress

Execute = Callable[[Sequence[Job], Event], Iterator[Running | Outcome]]


class FailedFast(Exception):
    """A job failed, and the sweep was asked to end then."""


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
        self.outcomes: list[Outcome] = []
        self.under_way: list[Job] = []
        self.resources = ExitStack()  # what launchers keep open until the last job has ended

    def job(self, number: int, name: str, overrides: Sequence[str], config: Config, folder: Path) -> Job:
        """A job of this command line."""
        if self.sweep is None:
            return Job(number, name, tuple(overrides), config, folder, id=uuid.uuid4().hex)
        sweep_id = self.sweep.note.id
        config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": sweep_id})})
        return Job(number, name, tuple(overrides), config, folder, id=f"{sweep_id}/{number}")

    def run(self, jobs: Sequence[Job], execute: Execute) -> list[Outcome]:
        """Train what is not trained yet, and hand all over to MLflow; an outcome for each job, in order.

        Raises:
            FailedFast: as asked for.
            OSError: a folder cannot be written.
        """
        ended = self._reused(jobs) if self._resume else {}
        for outcome in ended.values():
            self._take(outcome)
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
                    raise FailedFast
        finally:
            cancelled.set()
            if hasattr(events, "close"):
                events.close()
        self.under_way = []
        return [ended[job.number] for job in jobs]

    def _take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.progress.ended(outcome)
        self.outbox.send(outcome.job.folder)
        if outcome.status == "FINISHED" and outcome.summary["best/val/nll"] > log(2):
            hint = "lower" if outcome.summary["best/val/nll"] > 2 else "higher, or more train.epochs,"
            coin = f"worse than a coin, whose nll is {log(2):.3f}"
            self.progress.say(f"{outcome.job.name}: {coin}; an optimizer.lr that is {hint} may help")

    def _reused(self, jobs: Sequence[Job]) -> dict[int, Outcome]:
        """What was trained before, by jobs' numbers: in this sweep, or in another and copied from there."""
        ended: dict[int, Outcome] = {}
        missing: dict[str, Job] = {}
        for job in jobs:
            digest = digest_of(job.config)
            record = (
                shelf.whole(job.folder, self.progress.warn) if self.sweep and self.sweep.earlier else None
            )
            if record is not None and record.digest == digest:
                ended[job.number] = _outcome(job, record)
            else:
                missing[digest] = job
        for digest, folder in shelf.find(missing.keys(), self._runs, self.progress.warn).items():
            job = missing[digest]
            record = records.read(folder)
            mine = replace(
                record,
                job=job.id,
                name=job.name,
                overrides=job.overrides,
                config=job.config.model_dump(mode="json"),
                reused=record.reused or record.job,
            )
            records.copy(folder, job.folder, mine)
            ended[job.number] = _outcome(job, mine)
        return ended

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
        """The command that runs a job alone."""
        return shlex.join(["sweepgrad", "train", *job.overrides])


def value(outcome: Outcome) -> float:
    """What a sweeper is told of a job: the metric of `sweep.metric`; not a number if it failed."""
    return outcome.summary.get(f"best/val/{outcome.job.config.sweep.metric}", nan)


def digest_of(config: Config) -> str:
    """See `record.identity`; the table is read if it was not yet.

    Raises:
        UserError: as `open_training`.
    """
    training = open_training(config.data, config.split, dtype_of(config))
    return records.identity(config, asdict(training.digests))


def _outcome(job: Job, record: records.Record) -> Outcome:
    seconds = (record.ended - record.started) / 1000
    epochs = len(record.history)
    return Outcome(
        job,
        record.status,
        record.summary,
        record.best_epoch,
        epochs,
        seconds,
        stopped=record.stopped,
        reused=True,
    )
