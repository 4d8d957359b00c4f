"""Gradient clipping by example and by batch, and dropout as a penalty."""

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


def with_outliers(rows: Examples, count: int, factor: float) -> Examples:
    """Return the rows with the features of the first `count` multiplied and their labels flipped."""
    X, y = rows.X.copy(), rows.y.copy()
    X[:count] *= factor
    y[:count] = 1 - y[:count]
    return Examples(X, y)


def expected_loss_with_dropout(x: Array, y: float, w: Array, probability: float) -> float:
    """Return the mean of ½ (Σ mⱼ xⱼ wⱼ - y)² over all masks m of the features of one row x (D,).

    A mask drops each feature with the given probability and multiplies the others by 1 / (1 - probability).
    """
    total = 0.0
    for number in range(2 ** len(x)):
        kept = (number >> np.arange(len(x))) & 1
        chance = float(np.prod(np.where(kept, 1 - probability, probability)))
        total += chance * 0.5 * (float((kept * x * w).sum()) / (1 - probability) - y) ** 2
    return total


def penalized_loss(x: Array, y: float, w: Array, probability: float) -> float:
    """Return ½ (xᵀw - y)² + ½ p / (1 - p) Σ xⱼ² wⱼ², which equals `expected_loss_with_dropout`."""
    share = probability / (1 - probability)
    return float(0.5 * (x @ w - y) ** 2 + 0.5 * share * (x**2 * w**2).sum())
