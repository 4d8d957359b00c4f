"""The tape engine: a step of `Value`s is recorded once, and replayed by compiled code or NumPy."""

import logging
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sweepgrad.engine.tape import Array, DType, Tape

log = logging.getLogger(__name__)

Name = Literal["native", "numpy"]


class Replay(Protocol):
    """A function that replays tapes; see `native.replay`."""

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


_warned: list[str] = []


def load(name: Name, dtype: DType = np.float64) -> Replay:
    """Return an engine that is ready to replay tapes of this dtype.

    Without Numba, "native" returns the NumPy engine, with one warning. Loading either limits BLAS to one
    thread for the rest of the process.
    """
    if name == "native":
        try:
            from sweepgrad.engine import native
        except ImportError as error:
            if not _warned:
                _warned.append(f"Numba cannot be imported ({error}): training uses NumPy, many times slower")
                log.warning(_warned[0])
        else:
            native.load(dtype)
            return native.replay
    from sweepgrad.engine import reference
    from sweepgrad.engine.blas import keep_to_one_thread

    keep_to_one_thread()
    return reference.replay
