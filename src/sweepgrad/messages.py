"""Messages to people: they go through `logging`, and a command line writes them to standard error.

A module has a logger of its own, below `sweepgrad`. INFO says what happens, WARNING what went wrong. A
program that uses the package sees nothing until it sets a handler and a level, as with any library.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS = 1.0


class _ToStandardError(logging.Handler):
    """Writes each message as a plain line; on a terminal in red what went wrong."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING and sys.stderr.isatty() and "NO_COLOR" not in os.environ:
            text = f"\x1b[31m{text}\x1b[0m"
        print(text, file=sys.stderr, flush=True)  # whatever that is now: a live line takes its place


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Have messages from this level up written to standard error within."""
    logger = logging.getLogger("sweepgrad")
    before = logger.level, logger.propagate
    handler = None
    if not any(isinstance(there, _ToStandardError) for there in logger.handlers):
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


class ProgressLog:
    """Tells how far a piece of work is, but no more than once a second, and nothing in the first.

    Arguments:
        log: where it is told.
        name: what the work is about.
    """

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log, self._name = log, name
        self._last = time.monotonic()

    def tell(self, text: str) -> None:
        """Tell something if enough time has passed."""
        if time.monotonic() - self._last >= _SECONDS:
            self.say(text)

    def say(self, text: str) -> None:
        """Tell something now."""
        self._last = time.monotonic()
        self._log.info("%s: %s", self._name, text)
