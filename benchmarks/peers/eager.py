"""Our own `Value`s, evaluated one operation at a time: what a tape is recorded from."""

import numpy as np
from benchmarks.peers import task

from sweepgrad.autograd.functional import dropout, negative_loglikelihood_of_scores
from sweepgrad.autograd.value import Value, gradient


def step_seconds(hidden: tuple[int, ...], batch: int, dtype: str) -> float:
    """Seconds per training step."""
    X, y = task.data(dtype)
    order = task.order(batch)
    weights = [array for layer in task.initial(hidden, dtype) for array in layer]
    key = 0

    def step(t: int) -> None:
        nonlocal key
        rows = order[t]
        leaves = [Value(w) for w in weights]
        h = Value(X[rows])
        for layer in range(len(hidden)):
            key += 1
            h = dropout((h @ leaves[2 * layer] + leaves[2 * layer + 1]).relu(), task.DROPOUT, key)
        scores = (h @ leaves[-2] + leaves[-1]).reshape(batch)
        loss = negative_loglikelihood_of_scores(y[rows], scores)
        for w, g in zip(weights, gradient(loss, leaves), strict=True):
            np.subtract(w, task.LEARNING_RATE * g.data, out=w)

    return task.fastest_step(step, batch)
