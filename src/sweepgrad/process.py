"""Identifiers of processes, by which another process can check whether one is still running."""

import os

import psutil

_CLOCK_SECONDS = 10  # tolerance for clock changes; process ids are not reused so soon


def this() -> str:
    """Return the id and start time of this process, since ids are reused."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}"


def lives(process: str) -> bool:
    """Return whether a process of this machine, as identified by `this`, is running."""
    number, _, started = process.partition("@")
    try:
        found = psutil.Process(int(number))
        same = abs(found.create_time() - float(started)) < _CLOCK_SECONDS
        return found.status() != psutil.STATUS_ZOMBIE and same
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:  # a process of another user, so it is running
        return True
