"""A job of a sweep: trained epoch by epoch, and written into its folder when it ends."""

import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from sweepgrad.config.schema import Config
from sweepgrad.engine import Replay
from sweepgrad.runs import capture, folders
from sweepgrad.runs import record as records
from sweepgrad.stats.metrics import BEST
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Fit


@dataclass(frozen=True)
class Job:
    """A training run to be done.

    Attributes:
        number: its index in the sweep, from 0.
        name: a readable name.
        overrides: the overrides in which it differs from other jobs.
        folder: the folder for its result.
        id: its identifier in MLflow, the same for each attempt.
        earlier: a folder with an intact earlier result of the same job.
        start: the state to continue from; None starts from scratch.
        continued: the id of the job that it continues.
        until: the epoch to stop after, if it is not the last one of the configuration.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    folder: Path
    id: str
    earlier: Path | None = None
    start: Fit | None = None
    continued: str | None = None
    until: int | None = None


@dataclass(frozen=True)
class Running:
    """The progress of a job, with the latest validation metrics by name."""

    job: Job
    epoch: int
    val: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    Attributes:
        summary: metrics of the best epoch; empty without one.
        epochs: the number of epochs trained.
        seconds: the training time.
        problem: the reason of a failure, in one line; empty otherwise.
        stopped: whether halving stopped it early.
        reused: whether an earlier result was reused.
    """

    job: Job
    status: records.Status
    summary: dict[str, float]
    best_epoch: int
    epochs: int
    seconds: float
    problem: str = ""
    stopped: bool = False
    reused: bool = False


def reused(job: Job) -> Outcome:
    """Return the outcome of a job that was trained before, after copying its result into its folder.

    Raises:
        OSError: the folder cannot be written.
    """
    assert job.earlier is not None
    record = records.read(job.earlier)
    if job.earlier != job.folder:
        record = replace(
            record,
            job=job.id,
            name=job.name,
            overrides=job.overrides,
            config=job.config.model_dump(mode="json"),
            reused=record.reused or record.job,
        )
        folders.copy(job.earlier, job.folder, record)
    return Outcome(
        job,
        record.status,
        record.summary,
        record.best_epoch,
        epochs=len(record.history),
        seconds=(record.ended - record.started) / 1000,
        stopped=record.stopped,
        reused=True,
    )


class Cancelled(Exception):
    """The sweep is ending, and the result of this job is not needed any more."""


class Trial:
    """A running job. It can pause after any epoch, and be stopped there.

    If it was trained before, it replays its history, and trains only the epochs that the history lacks.

    Arguments:
        cancelled: when it is set, training stops within tenths of a second.
    """

    def __init__(self, job: Job, cancelled: Event) -> None:
        self.job, self._cancelled = job, cancelled
        self._started, self._seconds = int(time.time() * 1000), 0.0
        self._experiment: Experiment | None = None
        self._fits: Iterator[Fit] | None = None
        self.fit = job.start
        self._known = records.read(job.earlier) if job.earlier else None
        self.epochs = len(job.start.history) if job.start else 0
        self._last_epoch = job.until or job.config.train.epochs
        self.ended = self.closed = self.failed = False
        self.error: Exception | None = None
        self._traceback = ""
        self._last: dict[str, float] = {}  # the final summary

    def prepare(self) -> int:
        """Prepare the experiment at the first call; return the bytes that it will need besides the rows."""
        if self._experiment is None and not self.ended:
            try:
                self._experiment = prepare(self.job.config)
                self._fits = self._experiment.fits(self._stoppable, self.job.start)
            except Exception as error:  # noqa: BLE001 - the failure of a job must not stop the others
                self.fail(error)
        return self._experiment.n_bytes if self._experiment else 0

    def advance(self) -> None:
        """Train one more epoch, unless the job has ended.

        Raises:
            Cancelled: the sweep is ending.
        """
        if self.ended:
            return
        if self._known is not None:
            if self.epochs < len(self._known.history):
                self.epochs += 1
                self.ended = self.epochs == len(self._known.history) and not self._known.stopped
                return
            self._known = None
        assert self._fits is not None
        start = time.perf_counter()
        try:
            while self.fit is None or len(self.fit.history) <= self.epochs:
                self.fit = next(self._fits)
            self.epochs = len(self.fit.history)
            self.ended = self.epochs == self._last_epoch
        except StopIteration:  # early stopping
            self.ended = True
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - the failure of a job must not stop the others
            self.fail(error)
        self._seconds += time.perf_counter() - start

    def fail(self, error: Exception) -> None:
        """End the job as failed."""
        self.ended, self.failed, self.error = True, True, error
        self._traceback = "".join(traceback.format_exception(error))

    @property
    def summary(self) -> dict[str, float]:
        """Metrics of the best epoch so far; if only the history is known, those of epochs alone."""
        if self._known is not None:
            if self._known.best_epoch <= self.epochs:
                return self._known.summary
            best = min(self._known.history[: self.epochs], key=lambda epoch: epoch.val_loss)
            return {f"{BEST}{name}": value for name, value in best.val.items()}
        return self._experiment.summary(self.fit) if self._experiment and self.fit else self._last

    def close(self, status: records.Status | None = None, *, stopped: bool = False) -> Outcome:
        """Write the job into its folder in its present state.

        Arguments:
            status: None is FINISHED, or FAILED after an error.
            stopped: whether halving stops it here.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._known is not None and status is None:
            self.closed = True
            return reused(self.job)
        try:
            return self._write(status, stopped=stopped)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - evaluating a model needs memory too
            self.fail(error)
            self._experiment = self.fit = None
            return self._write("FAILED", stopped=False)

    def _write(self, status: records.Status | None, *, stopped: bool) -> Outcome:
        status = status or ("FAILED" if self.error else "FINISHED")
        experiment = self._experiment
        fit = self.fit if experiment else None  # else `fit` is still the state to continue from
        scores = experiment.val_scores(fit) if experiment and fit else None
        record = capture.of(
            self.job.config,
            job=self.job.id,
            name=self.job.name,
            overrides=self.job.overrides,
            status=status,
            started=self._started,
            ended=int(time.time() * 1000),
            error=self._traceback or None,
            experiment=experiment,
            fit=fit,
            stopped=stopped,
            continued=self.job.continued,
            scores=scores,
        )
        record = folders.write(self.job.folder, record, experiment, fit, scores)
        self.closed, self._last = True, record.summary
        problem = "" if self.error is None else (str(self.error) or type(self.error).__name__)
        # Release the memory: a sweep may have many ended trials, and a traceback keeps local variables.
        self._fits = self._experiment = self.fit = self.error = None
        return Outcome(
            self.job,
            status,
            record.summary,
            record.best_epoch,
            len(record.history),
            self._seconds,
            problem=problem,
            stopped=stopped,
        )

    def _stoppable(self, replay: Replay) -> Replay:
        def checked(*arguments: object) -> object:
            if self._cancelled.is_set():
                raise Cancelled
            return replay(*arguments)  # type: ignore[arg-type]

        return checked  # type: ignore[return-value]
