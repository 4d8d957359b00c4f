"""Keep jobs that run in parallel within the available memory."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import psutil

_SHARE = 0.9  # of the free memory: the rest is for what is not counted
_CGROUP = Path("/sys/fs/cgroup")


class Room:
    """Memory that jobs reserve and release.

    Arguments:
        n_bytes: the memory to distribute; None is the memory that is free now.
    """

    def __init__(self, n_bytes: int | None = None) -> None:
        self._free = int(_SHARE * (free() if n_bytes is None else n_bytes))
        self._reserved = 0
        self._changed = Condition()

    @contextmanager
    def take(self, n_bytes: int) -> Iterator[None]:
        """Reserve memory for a job within the context; wait while other jobs leave too little.

        Raises:
            MemoryError: the job needs more than all memory.
        """
        with self._changed:
            if n_bytes > self._free:
                raise MemoryError(
                    f"the job needs about {n_bytes / 1e9:.1f} GB of memory, and {self._free / 1e9:.1f} GB are"
                    " free: use a smaller model.hidden or train.batch_size, or engine.dtype=float32"
                )
            while self._reserved + n_bytes > self._free:
                self._changed.wait()
            self._reserved += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= n_bytes
                self._changed.notify_all()


def free() -> int:
    """Return the bytes that this process can still get, under the limits of machine, cgroup and process."""
    process = psutil.Process()
    found = [int(psutil.virtual_memory().available)]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        found.append(limit - process.memory_info().vms)
    try:  # cgroups version 2; a container has its own at the root
        limit_text = (_CGROUP / "memory.max").read_text().strip()
        if limit_text != "max":
            stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
            cache = int(stat["inactive_file"])  # of files that were read: the kernel frees it on demand
            found.append(int(limit_text) - int((_CGROUP / "memory.current").read_text()) + cache)
    except (OSError, ValueError, KeyError):
        pass
    return max(0, min(found))
