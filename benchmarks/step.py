"""Time per training step, ours beside scikit-learn's: `make bench`.

Both train 3,840 rows of 14 features for one epoch on one thread, seeds fixed, plain SGD; the fastest of five
epochs counts. Dropout is ours alone: scikit-learn has none. Absolute times say little about another machine,
ratios more.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import time
from collections.abc import Callable

import numpy as np
from sklearn.neural_network import MLPClassifier

from sweepgrad.fit import Examples, fit
from sweepgrad.nn import Network
from sweepgrad.optim import SGD

ROWS, FEATURES, REPEATS = 3840, 14, 5


def fastest(epoch: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        epoch()
        times.append(time.perf_counter() - start)
    return min(times)


def ours(X: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], batch: int, dropout: float) -> float:
    network = Network(FEATURES, hidden, "relu", dropout)
    val = Examples(X[:32], y[:32])  # small: the step is measured, not the evaluation after the epoch
    return fastest(
        lambda: list(fit(network, SGD(0.01), Examples(X, y), val, epochs=1, batch_size=batch, seed=0))
    )


def sklearns(X: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], batch: int) -> float:
    model = MLPClassifier(hidden, solver="sgd", batch_size=batch, learning_rate_init=0.01, momentum=0.0)
    return fastest(lambda: model.partial_fit(X, y, classes=[0, 1]))


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES))
    y = (X @ rng.standard_normal(FEATURES) + rng.standard_normal(ROWS) > 0).astype(float)
    print("| network | batch | ours, dropout 0.5, µs/step | ours, no dropout | scikit-learn | ours / its |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for hidden in ((8, 4), (64, 64), (256, 256)):
        for batch in (1, 32, 256):
            steps = ROWS / batch / 1e6
            dropped, plain = (ours(X, y, hidden, batch, dropout) / steps for dropout in (0.5, 0.0))
            its = sklearns(X, y, hidden, batch) / steps
            name = "-".join(map(str, (FEATURES, *hidden, 1)))
            times = f"{dropped:.0f} | {plain:.0f} | {its:.0f} | {plain / its:.2f}"
            print(f"| {name} | {batch} | {times} |", flush=True)


if __name__ == "__main__":
    main()
