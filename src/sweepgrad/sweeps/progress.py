"""Progress of training: log messages for what ended, and one live line on a terminal or in a notebook."""

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from rich.markup import escape
from rich.status import Status

from sweepgrad.messages import escape as escaped
from sweepgrad.messages import shown
from sweepgrad.messages.terminal import console as console_of
from sweepgrad.stats.metrics import METRICS
from sweepgrad.sweeps.job import Outcome, Running
from sweepgrad.tasks.registry import task_of

log = logging.getLogger(__name__)

_FRAME_SECONDS = 0.1  # between frames in a notebook, which limits how much is written
_LINE_SECONDS = 2.0  # between plain lines about jobs that have not ended
_FEW = 100  # jobs; up to this number each gets a line of its own


class _NotebookLine:
    """One line on standard error that is written over, for notebooks: they are no terminals."""

    def __init__(self) -> None:
        self._length, self._last = 0, 0.0

    def start(self) -> None:
        pass

    def update(self, text: str) -> None:
        if time.monotonic() - self._last > _FRAME_SECONDS:
            self._write(text)

    def _write(self, text: str) -> None:
        print(f"\r{text.ljust(self._length)}", end="", file=sys.stderr, flush=True)
        self._length, self._last = len(text), time.monotonic()

    def stop(self) -> None:
        if self._length:
            self._write("")
            print("\r", end="", file=sys.stderr, flush=True)


class Progress:
    """Progress over jobs; use it as a context manager.

    Arguments:
        quiet: print errors only.
        bar: None prints log messages to standard error, as the command line does, with a live line below them
            on a terminal. True shows the live line alone, also in a notebook; False shows nothing.
        metric: the metric of the best job so far, on validation rows.
    """

    def __init__(self, *, quiet: bool = False, bar: bool | None = None, metric: str = "accuracy") -> None:
        self.quiet, self._prints = quiet, bar is None
        self.metric = METRICS[metric]
        self.total = self.done = self.failed = 0
        self.best: Outcome | None = None
        console = console_of(stderr=True, highlight=False, soft_wrap=True, force_jupyter=False)
        self._line: Status | _NotebookLine | None = None
        if console.is_terminal and not quiet and bar is not False:
            self._line = console.status("preparing")
        elif bar:
            self._line = _NotebookLine()
        self._shown = ExitStack()
        self._shares: dict[int, float] = {}  # of the jobs under way, how much is done
        self._trained = 0
        self._started = self._last = time.monotonic()

    def __enter__(self) -> "Progress":
        if self._prints:
            self._shown.enter_context(shown(logging.WARNING if self.quiet else logging.INFO))
        if self._line:
            self._line.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line:
            self._line.stop()
        self._shown.close()

    def start(self, total: int) -> None:
        """Start training `total` jobs."""
        self.total = total
        self._started = self._last = time.monotonic()

    def running(self, running: Running) -> None:
        """Show how far a job is."""
        job = running.job
        self._shares[job.number] = running.epoch / job.config.train.epochs
        text = (
            f"[{job.number + 1}/{self.total}] {job.name}  epoch {running.epoch}/{job.config.train.epochs}"
            f"  val {_figures(running.val)}"
        )
        self._show(text if self.total == 1 else "", text)

    def ended(self, outcome: Outcome) -> None:
        """Show how a job ended."""
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
            self._show("", "")
            return
        self._last = time.monotonic()
        ending = f"stopped after epoch {outcome.epochs}" if outcome.stopped else f"{outcome.seconds:.1f} s"
        names = reversed(task_of(job.config.data).by_epoch)  # the loss last
        figures = _figures({name: outcome.summary[METRICS[name].key] for name in names})
        log.info(
            f"{where}  val {figures}  best epoch {outcome.best_epoch}/{job.config.train.epochs}  {ending}"
        )
        self._show("", "")

    def sending(self, left: int) -> None:
        """Show how many results are still to be written to MLflow."""
        if self._line:
            self._line.update(f"writing to MLflow: {left} left")
        elif time.monotonic() - self._last > _LINE_SECONDS:
            self._last = time.monotonic()
            log.info(f"writing to MLflow: {left} left")

    def _score(self, outcome: Outcome) -> float:
        return self.metric.sign * outcome.summary[self.metric.key]

    def _show(self, live: str, line: str) -> None:
        """Show how far the sweep is: in the live line at once, else as a log message every few seconds."""
        if self._line:
            self._line.update(self._escaped(f"{live}  {self._overall()}" if live else self._overall()))
        elif not self.quiet and time.monotonic() - self._last > _LINE_SECONDS:
            self._last = time.monotonic()
            log.info(line if line and self.total <= _FEW else self._overall())

    def _escaped(self, text: str) -> str:
        return escape(plain) if (plain := escaped.plain(text)) and isinstance(self._line, Status) else plain

    def _overall(self) -> str:
        seconds = time.monotonic() - self._started
        trained = self._trained + sum(self._shares.values())
        parts = [f"{self.done} of {self.total} done"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if trained:
            rate = trained / max(seconds, 1e-9)
            parts.append(f"{rate:.1f} a second" if rate > 1 else f"{1 / rate:.1f} s each")
            parts.append(f"{readable((self.total - self.done - sum(self._shares.values())) / rate)} left")
        if self.best is not None:
            value = self.best.summary[self.metric.key]
            parts.append(f"best val {self.metric.name} {value:.3f} ({self.best.job.name})")
        return ", ".join(parts)


def readable(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figures(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {METRICS[name].progress(value)}" for name, value in metrics.items())
