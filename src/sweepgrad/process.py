"""Which process it is, so that another one can tell whether it still lives."""

import os

import psutil

_CLOCK_SECONDS = 10  # by which a clock may be set while a process runs; so soon no number is given out again


def this() -> str:
    """The number of this process and when it started: numbers alone are given out again."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def lives(process: str) -> bool:
    """Whether a process of this machine, as `this` names it, still runs."""
    number, _, started = process.partition("@")
    try:
        found = psutil.Process(int(number))
        same = abs(found.create_time() - float(started)) < _CLOCK_SECONDS
        return found.status() != psutil.STATUS_ZOMBIE and same
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:  # somebody else's, so it lives
        return True
