"""Telling how far things are on standard error: one live line on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from sweepgrad.messages import shown
from sweepgrad.stats.metrics import METRICS
from sweepgrad.sweep.job import Outcome, Running
from sweepgrad.tasks.registry import task_of

log = logging.getLogger(__name__)

_LINE_SECONDS = 2.0  # between plain lines about jobs that have not ended
_FEW = 100  # of so many jobs each gets a line of its own


class Progress:
    """Progress over jobs; use it as a context manager.

    Arguments:
        quiet: say nothing but what went wrong.
        metric: which one the best so far is told by, on validation rows.
    """

    def __init__(self, *, quiet: bool = False, metric: str = "accuracy") -> None:
        self.quiet = quiet
        self.metric = METRICS[metric]
        self.total = self.done = self.failed = 0
        self.best: Outcome | None = None
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        if self._console.is_terminal and not quiet:
            self._status = self._console.status("getting ready")
        self._shown = ExitStack()
        self._shares: dict[int, float] = {}  # of the jobs under way
        self._trained = 0
        self._started = self._last = time.monotonic()

    def __enter__(self) -> "Progress":
        self._shown.enter_context(shown(logging.WARNING if self.quiet else logging.INFO))
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()
        self._shown.close()

    def start(self, total: int) -> None:
        """Training begins, of so many jobs."""
        self.total = total
        self._started = self._last = time.monotonic()

    def running(self, running: Running) -> None:
        """A job has come further."""
        job = running.job
        self._shares[job.number] = running.epoch / job.config.train.epochs
        text = (
            f"[{job.number + 1}/{self.total}] {job.name}  epoch {running.epoch}/{job.config.train.epochs}"
            f"  val {_figures(running.val)}"
        )
        self._tell(text if self.total == 1 else "", text)

    def ended(self, outcome: Outcome) -> None:
        """A job has ended, or had ended before."""
        job = outcome.job
        self._shares.pop(job.number, None)
        self.done += 1
        self._trained += not outcome.reused
        where = f"[{job.number + 1}/{self.total}] {job.name}"
        if outcome.status == "FAILED":
            self.failed += 1
            log.warning(f"{where}  FAILED: {outcome.problem}")
            return
        if self.best is None or self._score(outcome) > self._score(self.best):
            self.best = outcome
        if self.total > _FEW or outcome.reused:
            self._tell("", "")
            return
        self._last = time.monotonic()
        ending = f"stopped after epoch {outcome.epochs}" if outcome.stopped else f"{outcome.seconds:.1f} s"
        names = reversed(task_of(job.config.data).by_epoch)  # the loss last
        figures = _figures({name: outcome.summary[METRICS[name].key] for name in names})
        log.info(
            f"{where}  val {figures}  best epoch {outcome.best_epoch}/{job.config.train.epochs}  {ending}"
        )
        self._tell("", "")

    def sending(self, left: int) -> None:
        """All is trained, and so much is still to be written to MLflow."""
        if self._status:
            self._status.update(f"writing to MLflow: {left} left")
        elif time.monotonic() - self._last > _LINE_SECONDS:
            self._last = time.monotonic()
            log.info(f"writing to MLflow: {left} left")

    def _score(self, outcome: Outcome) -> float:
        return self.metric.sign * outcome.summary[self.metric.key]

    def _tell(self, live: str, line: str) -> None:
        """Show how far the sweep is: on a terminal at once, elsewhere a line at times."""
        if self._status:
            self._status.update(escape(f"{live}  {self._overall()}" if live else self._overall()))
        elif not self.quiet and time.monotonic() - self._last > _LINE_SECONDS:
            self._last = time.monotonic()
            log.info(line if line and self.total <= _FEW else self._overall())

    def _overall(self) -> str:
        seconds = time.monotonic() - self._started
        trained = self._trained + sum(self._shares.values())
        words = [f"{self.done} of {self.total} done"]
        if self.failed:
            words.append(f"{self.failed} failed")
        if trained:
            rate = trained / max(seconds, 1e-9)
            words.append(f"{rate:.1f} a second" if rate > 1 else f"{1 / rate:.1f} s each")
            words.append(f"{readable((self.total - self.done - sum(self._shares.values())) / rate)} left")
        if self.best is not None:
            value = self.best.summary[self.metric.key]
            words.append(f"best val {self.metric.name} {value:.3f} ({self.best.job.name})")
        return ", ".join(words)


def readable(seconds: float) -> str:
    """A duration, as people say it."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figures(of: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {METRICS[name].progress(value)}" for name, value in of.items())
