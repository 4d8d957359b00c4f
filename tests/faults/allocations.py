"""Let the n-th large allocation of our own code raise MemoryError, or limit the memory of a process.

A profile function sees each call of a function written in C before it is made, and what it raises is raised
at the call. So the real code runs, and the exception comes from where memory would be asked for: arrays,
their copies, the contents of files, texts. With a limit of the address space (`setrlimit(2)`), any allocation
of any library may be the one that fails.
"""

import contextlib
import ctypes
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ALLOCATES = frozenset(
    {
        *("empty", "zeros", "ones", "full", "array", "arange", "concatenate", "empty_like", "zeros_like"),
        *("copy", "astype", "tobytes", "reshape", "take", "repeat", "argsort", "frombuffer", "fromfile"),
        *("read", "readall", "encode", "decode", "join", "splitlines", "validate_json", "to_json"),
    }
)
_OURS = "sweepgrad"
_MOST_ARENAS = -8  # M_ARENA_MAX of `mallopt(3)` of the GNU C library
_BETWEEN = ("numpy", "pathlib", "json")  # a call by one of these for us is ours


class Allocations:
    """Counts the allocations of this process, and lets one fail.

    Arguments:
        n: the number of the allocation that fails, from 1; 0 for none.
    """

    def __init__(self, n: int) -> None:
        self.n, self.places = n, list[str]()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Watch this thread and all that are started from now on."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or getattr(function, "__name__", "") not in ALLOCATES:
            return
        if (place := _place(frame)) is None:
            return
        with self._lock:
            self.places.append(f"{function.__name__} in {place}")
            fails = len(self.places) == self.n
        if fails:
            raise MemoryError


def _place(frame: FrameType | None) -> str | None:
    """Return the function of ours that a call comes from; None if it is somebody else's."""
    for _ in range(3):
        if frame is None:
            return None
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS):
            return f"{module}.{frame.f_code.co_name}"
        if not module.startswith(_BETWEEN):
            return None
        frame = frame.f_back
    return None


@contextlib.contextmanager
def limited(megabytes: int) -> Iterator[None]:
    """Let this process take so much more memory than it has; 0 for no limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if megabytes:
        ctypes.CDLL(None).mallopt(_MOST_ARENAS, 1)  # a thread's own arena would reserve 64 MB
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
