"""Gradient clipping by example and by batch, and its effect on outliers and on Lipschitz constants."""

import numpy as np

from sweepgrad.autograd.functional import margins
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples


def clipped(vectors: Array, largest: float) -> Array:
    """Return each vector (N, P) clipped to the norm `largest`: its projection onto a ball."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    shortened: Array = vectors * np.minimum(1, largest / np.maximum(lengths, np.finfo(np.float64).tiny))
    return shortened


def example_gradients(network: Network, flat: Array, rows: Examples) -> Array:
    """Return the gradient of each row's loss at weights (n_parameters,); (N, n_parameters)."""
    w, found = Value(flat), []
    for n in range(len(rows.y)):
        scores = network.scores(network.divide(w), Value(rows.X[n : n + 1]))
        loss = margins(rows.y[n : n + 1], scores, network.scale).softplus().mean()
        found.append(gradient(loss, [w])[0].data)
    return np.stack(found)


def opposed(theta: Array, largest: float) -> tuple[Array, Array]:
    """Return the mean of the gradients 100θ and -99θ at points (N,), plain and of the clipped ones; (N,) each.

    The mean gradient θ/2 has the Lipschitz constant ½. Where only the first one is clipped, that of the mean of
    the clipped ones is 99/2.
    """
    both = np.stack([100 * theta, -99 * theta])
    short = np.stack([clipped(each[:, None], largest)[:, 0] for each in both])
    return both.mean(axis=0), short.mean(axis=0)


def steepest(theta: Array, values: Array) -> float:
    """Return the largest change of values (N,) between neighbouring points (N,), per unit of distance."""
    return float(np.abs(np.diff(values) / np.diff(theta)).max())


def with_outliers(rows: Examples, count: int, factor: float) -> Examples:
    """Return the rows with the features of the first `count` multiplied and their labels flipped."""
    X, y = rows.X.copy(), rows.y.copy()
    X[:count] *= factor
    y[:count] = 1 - y[:count]
    return Examples(X, y)
