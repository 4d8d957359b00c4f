"""Telling how far a piece of work is, where it takes long."""

import time
from collections.abc import Callable

_SECONDS = 1.0


class Pace:
    """Passes on what it is told, but no more than once a second, and nothing in the first.

    Arguments:
        say: what it is passed on to.
        name: what the work is about.
    """

    def __init__(self, say: Callable[[str], None], name: str) -> None:
        self._say, self._name = say, name
        self._last = time.monotonic()

    def tell(self, text: str) -> None:
        """Something to be told, if enough time has passed."""
        if time.monotonic() - self._last >= _SECONDS:
            self.say(text)

    def say(self, text: str) -> None:
        """Something to be told now."""
        self._last = time.monotonic()
        self._say(f"{self._name}: {text}")


def silent(text: str) -> None:
    """For those who do not want to be told."""
