"""One job of a sweep: trained step by step, and left in its folder when it ends."""

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
    """What is to be run.

    Attributes:
        number: its place in the sweep, from 0.
        name: for people.
        overrides: those that tell it from the other jobs.
        folder: where it is left.
        id: what MLflow knows it by, the same for every attempt at it.
        earlier: a folder in which its result was left before, whole.
        start: what to go on from, instead of from the beginning.
        continued: the id of the job that this is from.
        until: the epoch to end after, if that is not the configuration's last.
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
    """How far a job is, with the figures of the validation rows by the names of the metrics."""

    job: Job
    epoch: int
    val: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        summary: metrics of the best epoch; empty when there is none.
        epochs: how many were trained.
        seconds: how long it took.
        problem: in a line, why it failed; empty when it did not.
        stopped: whether halving ended it early.
        reused: whether it had been trained before.
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
    """The outcome of a job that was trained before, its result copied to where it belongs.

    Raises:
        OSError: it cannot be written.
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
    """The sweep is to end, and nobody waits for this job any more."""


class Trial:
    """A job that is being run. It can pause after any epoch and be ended there.

    If it was trained before, it follows its history, and trains only where that was too short.

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
        self._last: dict[str, float] = {}  # the summary it ended with

    def prepare(self) -> int:
        """Read what it needs, the first time; about how many bytes it will take besides the rows."""
        if self._experiment is None and not self.ended:
            try:
                self._experiment = prepare(self.job.config)
                self._fits = self._experiment.fits(self._stoppable, self.job.start)
            except Exception as error:  # noqa: BLE001 - one job's failure is not the end of the others
                self.fail(error)
        return self._experiment.n_bytes if self._experiment else 0

    def advance(self) -> None:
        """Train one more epoch, unless it has ended.

        Raises:
            Cancelled: the sweep is to end.
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
        clock = time.perf_counter()
        try:
            while self.fit is None or len(self.fit.history) <= self.epochs:
                self.fit = next(self._fits)
            self.epochs = len(self.fit.history)
            self.ended = self.epochs == self._last_epoch
        except StopIteration:  # patience was at its end
            self.ended = True
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - one job's failure is not the end of the others
            self.fail(error)
        self._seconds += time.perf_counter() - clock

    def fail(self, error: Exception) -> None:
        """End it so, whatever it was doing."""
        self.ended, self.failed, self.error = True, True, error
        self._traceback = "".join(traceback.format_exception(error))

    @property
    def summary(self) -> dict[str, float]:
        """Of the best epoch so far; without metrics that no epoch has where only the history is known."""
        if self._known is not None:
            if self._known.best_epoch <= self.epochs:
                return self._known.summary
            best = min(self._known.history[: self.epochs], key=lambda epoch: epoch.val_loss)
            return {f"{BEST}{name}": value for name, value in best.val.items()}
        return self._experiment.summary(self.fit) if self._experiment and self.fit else self._last

    def close(self, status: records.Status | None = None, *, stopped: bool = False) -> Outcome:
        """Leave it in its folder as it stands.

        Arguments:
            status: FINISHED or FAILED if None, as it went.
            stopped: whether halving ends it here.

        Raises:
            OSError: it cannot be written.
        """
        if self._known is not None and status is None:
            self.closed = True
            return reused(self.job)
        try:
            return self._leave(status, stopped=stopped)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - judging a model takes memory too
            self.fail(error)
            self._experiment = self.fit = None
            return self._leave("FAILED", stopped=False)

    def _leave(self, status: records.Status | None, *, stopped: bool) -> Outcome:
        status = status or ("FAILED" if self.error else "FINISHED")
        record = capture.of(
            self.job.config,
            job=self.job.id,
            name=self.job.name,
            overrides=self.job.overrides,
            status=status,
            started=self._started,
            ended=int(time.time() * 1000),
            error=self._traceback or None,
            experiment=self._experiment,
            fit=self.fit if self._experiment else None,  # what it was to go on from is not yet its own
            stopped=stopped,
            continued=self.job.continued,
        )
        record = folders.write(self.job.folder, record, self._experiment, self.fit)
        self.closed, self._last = True, record.summary
        problem = "" if self.error is None else (str(self.error) or type(self.error).__name__)
        # A sweep may have many that have ended, and a traceback holds all that there was.
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
