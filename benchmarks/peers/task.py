"""The benchmark task, and functions that time it.

3,840 rows of 14 standard normal features, labels from a plane with noise; an MLP with ReLU and dropout 0.5
after each hidden layer, the mean negative log-likelihood, plain SGD with learning rate 0.01; seeds fixed.
"""

import os
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

ROWS, FEATURES = 3840, 14
LEARNING_RATE, DROPOUT = 0.01, 0.5
SECONDS = float(os.environ.get("SWEEPGRAD_BENCH_SECONDS", "1"))  # how long one measurement lasts
EPOCH_SECONDS = 0.15  # how long the stretch of steps lasts that is timed at once, where a peer can choose


def data(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (ROWS, FEATURES) and labels (ROWS,), zeros and ones, both of `dtype`."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES))
    y = X @ rng.standard_normal(FEATURES) + rng.standard_normal(ROWS) > 0
    return X.astype(dtype), y.astype(dtype)


def order(batch: int) -> np.ndarray:
    """Return the rows of an epoch in random order, full batches only: (steps, batch)."""
    steps = ROWS // batch
    return np.random.default_rng(1).permutation(ROWS)[: steps * batch].reshape(steps, batch)


def initial(hidden: tuple[int, ...], dtype: str, seed: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a weight matrix (inputs, outputs) and a bias (outputs,) per layer, after He et al. (2015)."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)).astype(dtype),
            np.zeros(outputs, dtype),
        )
        for inputs, outputs in pairwise((FEATURES, *hidden, 1))
    ]


def parameters(hidden: tuple[int, ...]) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise((FEATURES, *hidden, 1)))


def fastest(run: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several calls, after one to warm up.

    The fastest, since whatever else the machine does can only add to a time.
    """
    run()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def fastest_step(step: Callable[[int], object], batch: int) -> float:
    """Seconds per step of a peer that is called once for each step, with the number of the step in its epoch.

    As many steps are timed at once as make up EPOCH_SECONDS: whole epochs of the slow ones take minutes.
    """
    step(0)
    step(0)
    start = time.perf_counter()
    step(0)
    once = time.perf_counter() - start
    steps = max(1, min(ROWS // batch, int(EPOCH_SECONDS / once)))

    def stretch() -> None:
        for t in range(steps):
            step(t)

    return fastest(stretch) / steps


def first_steps(make: Callable[[tuple[int, ...]], Callable[[], object]]) -> float:
    """Return the median seconds from naming an architecture to its first step, over several new ones.

    The library is loaded and has trained another architecture before.

    Arguments:
        make: takes the hidden widths, returns what does one step.
    """
    make((8, 4))()
    times = []
    for hidden in FIRST_SEEN:
        start = time.perf_counter()
        make(hidden)()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


FIRST_SEEN = ((40, 24), (24, 12, 6), (72, 20), (33,), (18, 18, 18))
