"""The tape engine: steps of `Value`s recorded once, replayed natively."""

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


def load(name: Name, dtype: DType = np.float64, say: Callable[[str], None] = lambda text: None) -> Replay:
    """The engine of this name, ready to replay tapes of this dtype.

    Without Numba, "native" gives what "numpy" does.

    Arguments:
        say: is told what takes long, and what is not as asked for.
    """
    if name == "native" and find_spec("numba") is None:
        say("Numba is not installed, so training runs on NumPy, some fifty times slower: pip install numba")
        name = "numpy"
    if name == "native":
        from sweepgrad.engine import machine

        machine.load(dtype, say)
        return machine.replay
    from sweepgrad.engine import reference

    return reference.replay
