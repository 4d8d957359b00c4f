"""Let the n-th large allocation of our own code raise MemoryError.

A profile function sees each call of a function written in C before it is made, and what it raises is raised
at the call. So the real code runs, and the exception comes from where memory would be asked for: arrays,
their copies, the contents of files, texts.

A limit of the address space (`setrlimit(2)`) would let any allocation fail, but Python then waits for ever
for a thread that cannot start.
"""

import sys
import threading
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
