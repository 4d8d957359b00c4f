"""Telling how far things are: a live line on a terminal, plain lines elsewhere; always on standard error."""

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape

from sweepgrad.fit import Fit

_QUIET_SECONDS = 2.0  # between plain lines about the same job


class Progress:
    """Progress over `total` jobs; use it as a context manager.

    Arguments:
        total: how many jobs there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status = self._console.status("")
        self._started = self._last = time.monotonic()
        self._done = 0
        self._best: float | None = None

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)

    def epoch(self, number: int, name: str, fit: Fit, epochs: int) -> None:
        """A job has trained another epoch."""
        now = time.monotonic()
        latest = fit.history[-1]
        text = (
            f"[{number + 1}/{self.total}] {name}  epoch {len(fit.history)}/{epochs}"
            f"  val nll {_short(latest.val_nll)}  accuracy {latest.val_accuracy:.3f}"
        )
        if self._console.is_terminal:
            share = (self._done + len(fit.history) / epochs) / self.total
            left = (now - self._started) * (1 - share) / share
            best = f", best so far {self._best:.3f}" if self._best is not None else ""
            self._status.update(f"{escape(text)}  ({left:.0f} s left{best})")
        elif now - self._last > _QUIET_SECONDS and len(fit.history) < epochs:
            self._last = now
            self.say(text)

    def finished(self, number: int, name: str, fit: Fit, epochs: int, seconds: float) -> None:
        """A job has ended well."""
        self._done += 1
        self._last = time.monotonic()
        self._best = max(self._best or 0.0, fit.best.val_accuracy)
        self.say(
            f"[{number + 1}/{self.total}] {name}  val accuracy {fit.best.val_accuracy:.3f}"
            f"  nll {_short(fit.best.val_nll)}  best epoch {fit.best_epoch}/{epochs}  {seconds:.1f} s"
        )

    def failed(self, number: int, name: str, problem: str) -> None:
        """A job has ended badly."""
        self._done += 1
        self.say(f"[{number + 1}/{self.total}] {name}  FAILED: {problem}")


def _short(nll: float) -> str:
    return f"{nll:.4f}" if nll < 1e4 else f"{nll:.3g}"
