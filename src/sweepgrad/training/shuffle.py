"""Shuffle the rows of an epoch."""

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng

# Up to this many rows, the order is a permutation of all rows. For larger tables memory access would be the
# slowest part of training: reading a row at random costs as much as computing with it.
AT_ONCE = 1 << 17
RUN = 64  # neighbouring rows that are read together: a few kilobytes
WINDOW = 1 << 14  # rows that are shuffled within a window: about as many as fit in a level-2 cache


def shuffled(key: int, n: int) -> NDArray[np.int64]:
    """Return a permutation of 0 to n-1, shape (n,), int64.

    For a large table, runs of neighbouring rows are shuffled first, then rows within windows of 256 runs. So
    a batch draws from 256 places of the table, new ones in every epoch, even if the table is sorted.
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
