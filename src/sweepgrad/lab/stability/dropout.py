"""Dropout of the inputs of a linear model with squared loss: exactly, as a mean over all masks."""

from collections.abc import Iterator

import numpy as np

from sweepgrad.autograd.value import Array


def masks(n_features: int, probability: float) -> Iterator[tuple[float, Array]]:
    """Yield each mask (D,) and its probability.

    A mask drops each feature with the given probability and multiplies the others by 1 / (1 - probability).
    """
    for number in range(2**n_features):
        kept = (number >> np.arange(n_features)) & 1
        yield float(np.prod(np.where(kept, 1 - probability, probability))), kept / (1 - probability)


def expected_loss_with_dropout(x: Array, y: float, w: Array, probability: float) -> float:
    """Return the mean of ½ (Σ mⱼ xⱼ wⱼ - y)² over all masks m of the features of one row x (D,)."""
    return sum(chance * 0.5 * (float((mask * x) @ w) - y) ** 2 for chance, mask in masks(len(x), probability))


def penalized_loss(x: Array, y: float, w: Array, probability: float) -> float:
    """Return ½ (xᵀw - y)² + ½ p / (1 - p) Σ xⱼ² wⱼ², which equals `expected_loss_with_dropout`."""
    share = probability / (1 - probability)
    return float(0.5 * (x @ w - y) ** 2 + 0.5 * share * (x**2 * w**2).sum())


def hessian(X: Array) -> Array:
    """Return the Hessian of the mean of ½ (xᵀw - y)² over rows X (N, D): XᵀX / N."""
    product: Array = X.T @ X / len(X)
    return product


def hessian_with_dropout(X: Array, probability: float) -> Array:
    """Return the mean of the Hessian over all masks of the features, (D, D), without using its formula.

    The formula is H + p / (1 - p) diag(H).
    """
    total = np.zeros((X.shape[1], X.shape[1]))
    for chance, mask in masks(X.shape[1], probability):
        total += chance * hessian(X * mask)
    return total


def condition_number(matrix: Array) -> float:
    """Return the largest eigenvalue of a symmetric positive definite matrix divided by the smallest."""
    values = np.linalg.eigvalsh(matrix)
    return float(values[-1] / values[0])
