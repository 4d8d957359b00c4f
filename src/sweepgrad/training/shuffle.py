"""In what order an epoch goes through the rows."""

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng

# Up to so many rows the order is a permutation of all of them. Above, memory would be the slowest part of
# training: a row of a large table that is read at random costs as much as what is computed from it.
AT_ONCE = 1 << 17
RUN = 64  # neighbouring rows, read together: a few kilobytes
WINDOW = 1 << 14  # rows that are shuffled among themselves: about as many as a processor's second cache holds


def shuffled(key: int, n: int) -> NDArray[np.int64]:
    """The numbers 0 to n-1, each once, shape (n,), int64.

    Of a large table, runs of neighbouring rows are put in random order first, and rows are shuffled within
    windows of 256 runs then. So a batch still draws from 256 places all over the table, others in every
    epoch, also where the table is sorted.
    """
    if n <= AT_ONCE:
        return rng.permutation(key, n)
    runs = rng.permutation(rng.fold(key, 0), -(-n // RUN))
    order = (runs[:, None] * RUN + np.arange(RUN)).reshape(-1)
    order = order[order < n]  # the last run may be shorter
    for i, start in enumerate(range(0, n, WINDOW)):
        window = order[start : start + WINDOW]
        window[:] = window[rng.permutation(rng.fold(key, 1, i), window.size)]
    return order
