"""The tape engine: steps of `Value`s recorded once, replayed natively."""

import logging
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sweepgrad.engine.tape import Array, DType, Tape

log = logging.getLogger(__name__)

Name = Literal["native", "numpy"]


class Replay(Protocol):
    """See `native.replay`."""

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


_told: list[str] = []


def load(name: Name, dtype: DType = np.float64) -> Replay:
    """The engine of this name, ready to replay tapes of this dtype.

    Without Numba, "native" gives what "numpy" does. Loading either keeps BLAS to one thread from then on, in
    all of the process.
    """
    if name == "native":
        try:
            from sweepgrad.engine import native
        except ImportError as error:
            if not _told:
                _told.append(f"Numba cannot be used ({error}), so training runs on NumPy, many times slower")
                log.warning(_told[0])
        else:
            native.load(dtype)
            return native.replay
    from sweepgrad.engine import reference
    from sweepgrad.engine.blas import keep_to_one_thread

    keep_to_one_thread()
    return reference.replay
