"""Keeping jobs that run side by side within the memory that there is."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import psutil

_SHARE = 0.9  # of what is free: the rest is for what is not counted
_CGROUP = Path("/sys/fs/cgroup")


class Room:
    """Memory that jobs take and give back.

    Arguments:
        n_bytes: how much there is; None is what is free now.
    """

    def __init__(self, n_bytes: int | None = None) -> None:
        self._free = int(_SHARE * (free() if n_bytes is None else n_bytes))
        self._taken = self._running = 0
        self._changed = Condition()

    @contextmanager
    def take(self, n_bytes: int) -> Iterator[None]:
        """Within it a job may use so much; it waits while other jobs are within and leave too little.

        Raises:
            MemoryError: there is not so much, whoever ends.
        """
        with self._changed:
            while self._taken + n_bytes > self._free and self._running:
                self._changed.wait()
            if self._taken + n_bytes > self._free:
                left = self._free - self._taken
                raise MemoryError(
                    f"it takes about {n_bytes / 1e9:.1f} GB, and {left / 1e9:.1f} GB are free for it:"
                    " a smaller model.hidden or train.batch_size, or engine.dtype=float32, takes less"
                )
            self._taken += n_bytes
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= n_bytes
                self._running -= 1
                self._changed.notify_all()


def free() -> int:
    """Bytes that this process can still get: of the machine's, of its control group's, of its own limit."""
    process = psutil.Process()
    found = [int(psutil.virtual_memory().available)]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        found.append(limit - process.memory_info().vms)
    try:  # the second version of control groups; containers have theirs at the root
        limit_text = (_CGROUP / "memory.max").read_text().strip()
        if limit_text != "max":
            found.append(int(limit_text) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(found))
