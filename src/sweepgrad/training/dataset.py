"""Examples: features and labels as arrays for a network."""

from dataclasses import dataclass

import numpy as np

from sweepgrad.autograd.value import Array, ShapeError
from sweepgrad.nn.network import Network
from sweepgrad.tasks.task import Task

CHECKED_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Examples:
    """Features X (N, D) in C order and targets y (N,), encoded by the task; of one dtype, see `check`."""

    X: Array
    y: Array


def check(examples: Examples, network: Network, task: Task) -> None:
    """Check that examples can be trained on.

    Raises:
        ShapeError: they do not fit the network.
        ValueError: no rows; a target that the task does not have; a feature is not finite; dtypes differ.
    """
    X, y = examples.X, examples.y
    if X.ndim != 2 or X.shape[1] != network.n_features:
        raise ShapeError(f"the network takes (N, {network.n_features}) features, not {X.shape}")
    if y.shape != (len(X),) or y.dtype != X.dtype:
        raise ShapeError(
            f"features are {X.dtype} {X.shape}, so labels must be {X.dtype} ({len(X)},), not {y.dtype}"
            f" {y.shape}"
        )
    if X.dtype not in (np.float64, np.float32) or not X.flags.c_contiguous:
        raise ValueError(f"features must be float64 or float32 and in C order, not {X.dtype} {X.strides}")
    if not len(X):
        raise ValueError("the training and the validation set must have rows")
    task.check(y)
    for start in range(0, len(X), CHECKED_AT_ONCE):  # a large table may be mapped from a file
        if not np.isfinite(X[start : start + CHECKED_AT_ONCE]).all():
            raise ValueError("a feature is infinite or NaN")
