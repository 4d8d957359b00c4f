"""The tape engine: steps of `Value`s recorded once, replayed natively."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sweepgrad.engine.tape import Array, DType, Tape

Name = Literal["native", "numpy"]


class Replay(Protocol):
    """See `machine.replay`."""

    def __call__(
        self,
        tape: Tape,
        buffer: Array,
        features: Array,
        targets: Array,
        order: NDArray[np.int64],
        scalars: Array,
        key: int,
        first: int,
    ) -> tuple[int, Array]: ...


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_told: set[str] = set()


def load(name: Name, dtype: DType = np.float64, say: Callable[[str], None] = _to_stderr) -> Replay:
    """The engine of this name, ready to replay tapes of this dtype.

    Without Numba, "native" gives what "numpy" does.

    Arguments:
        say: is told what takes long, and once what is not as asked for.
    """
    if name == "native" and find_spec("numba") is None:
        if not _told:
            say("Numba is not installed, so training runs on NumPy, many times slower: pip install numba")
            _told.add("numba")
        name = "numpy"
    if name == "native":
        from sweepgrad.engine import machine

        machine.load(dtype, say)
        return machine.replay
    from sweepgrad.engine import reference

    return reference.replay
