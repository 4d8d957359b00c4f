"""Choose the calls at which a fault is injected, without those that repeat an earlier one.

Some faults leave the same state as others, and are not tried again: a full disk fails the next call that
takes space, whichever call it is full from; a process that is killed before a call leaves what the last
change left.
"""

import collections
from collections.abc import Iterator, Sequence

from tests.faults.system_calls import FULL, INTERRUPTIBLE, LOCKS, SYNCS, WRITES, Kind

_STORE = ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm")
_PART = 3  # parts of a path that tell what a file is for: runs/sweeps/…, runs/cards/…


def points(calls: Sequence[tuple[str, str]], kind: Kind, every: int) -> list[int]:
    """Return the numbers of the calls at which to inject, from 1.

    Arguments:
        calls: of an undisturbed command.
        every: of the calls that do the same to files for the same purpose, inject at every so many. The first
            of them is always one.
    """
    seen = collections.Counter[tuple[str, ...]]()
    chosen = []
    for n, call in enumerate(calls, 1):
        if not _differs(calls, n, kind):
            continue
        group = _group(call)
        if seen[group] % every == 0:
            chosen.append(n)
        seen[group] += 1
    return chosen


def allocated(places: Sequence[str], every: int) -> list[int]:
    """Return the numbers of the first and the last allocation of each place, and of every so many between.

    The first of training is that of an estimate, which may fail.
    """
    by_place = collections.defaultdict[str, list[int]](list)
    for n, place in enumerate(places, 1):
        by_place[place].append(n)
    return sorted({n for found in by_place.values() for n in (*found[::every], found[-1])})


def _differs(calls: Sequence[tuple[str, str]], n: int, kind: Kind) -> bool:
    name = calls[n - 1][0]
    match kind:
        case "onward":
            return name in FULL
        case "short":
            return name in WRITES
        case "interrupted":
            return name in INTERRUPTIBLE
        case "kill":
            return n == 1 or calls[n - 2][0] not in LOCKS | SYNCS
    return True


def _group(call: tuple[str, str]) -> tuple[str, ...]:
    name, file = call
    parts = file.split("/")
    return name, *([parts[-1]] if parts[-1] in _STORE else parts[: _PART - 1])


def by_operation(calls: Iterator[str] | Sequence[str]) -> collections.Counter[str]:
    """Count calls by what they do."""
    return collections.Counter(_OPERATIONS.get(call.split(" ")[0], call.split(" ")[0]) for call in calls)


_OPERATIONS = dict.fromkeys(LOCKS, "lock") | dict.fromkeys(SYNCS, "fsync")
_OPERATIONS |= dict.fromkeys(("write", "pwrite64", "sendfile", "writev", "copy_file_range"), "write")
_OPERATIONS |= dict.fromkeys(("open", "openat", "creat"), "create")
_OPERATIONS |= dict.fromkeys(("rename", "renameat", "renameat2"), "rename")
_OPERATIONS |= dict.fromkeys(("unlink", "unlinkat", "rmdir"), "delete")
_OPERATIONS |= dict.fromkeys(("mkdir", "mkdirat"), "mkdir") | {"ftruncate": "truncate"}
