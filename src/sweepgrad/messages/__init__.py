"""Messages to users, through `logging`; the command line writes them to standard error, escaped.

Each module has its own logger below `sweepgrad`. INFO is for progress, WARNING for problems. A program that
uses the package sees nothing until it sets a handler and a level, as with any library.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sweepgrad.messages import escape

_SECONDS = 1.0


class _ToStandardError(logging.Handler):
    """Writes each message as a plain line; problems are red on a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        text = escape.message(self.format(record))
        if record.levelno >= logging.WARNING and sys.stderr.isatty() and "NO_COLOR" not in os.environ:
            text = f"\x1b[31m{text}\x1b[0m"
        print(text, file=sys.stderr, flush=True)  # looked up now: a progress bar may replace it


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Write messages of this level or higher to standard error while the context lasts."""
    logger = logging.getLogger("sweepgrad")
    before = logger.level, logger.propagate
    handler = None
    if not any(isinstance(known, _ToStandardError) for known in logger.handlers):
        logger.addHandler(handler := _ToStandardError())
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        if handler is not None:
            logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def show(text: object = "", *, end: str = "\n", flush: bool = False) -> None:
    """Print results to standard output, with control characters escaped."""
    print(escape.terminal(str(text)), end=end, flush=flush)


def show_json(written: str, *, end: str = "\n") -> None:
    """Print JSON to standard output."""
    print(escape.json_text(written), end=end)


def refuse(problem: object) -> None:
    """Print an error of the command line to standard error, with control characters escaped."""
    print(f"sweepgrad: {escape.message(str(problem))}", file=sys.stderr)


class ProgressLog:
    """Logs the progress of a task, at most once a second, and not in the first second.

    Arguments:
        log: the logger.
        name: the subject of the task, which begins each message.
    """

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log, self._name = log, name
        self._last = time.monotonic()

    def tell(self, text: str) -> None:
        """Log a message if enough time has passed."""
        if time.monotonic() - self._last >= _SECONDS:
            self.say(text)

    def say(self, text: str) -> None:
        """Log a message now."""
        self._last = time.monotonic()
        self._log.info("%s: %s", self._name, text)
