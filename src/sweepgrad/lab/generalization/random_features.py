"""Random ReLU features with a linear layer on top, fitted with the least norm."""

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.training.loop import Examples


def features(X: Array, width: int, key: int) -> Array:
    """Return ReLU features of random directions and offsets, (N, width), divided by the root of the width."""
    directions = rng.normal(rng.fold(key, 0), (X.shape[1], width))
    offsets = rng.normal(rng.fold(key, 1), (width,))
    scaled: Array = np.maximum(X @ directions + offsets, 0) / np.sqrt(width)
    return scaled


def predictions(rows: Examples, points: Array, width: int, key: int) -> Array:
    """Return the predictions at points (X, 2) of the least-squares fit of the labels with the least norm, (X,).

    With more features than rows many fits interpolate; gradient descent from zero finds that with the least norm.
    """
    inputs = features(rows.X, width, key)
    weights, *_ = np.linalg.lstsq(inputs, rows.y - 0.5, rcond=None)
    predicted: Array = features(points, width, key) @ weights + 0.5
    return predicted


def smallest_singular_value(rows: Examples, width: int, key: int) -> float:
    """Return the smallest singular value of the training features that is not 0 in exact arithmetic."""
    return float(np.linalg.svd(features(rows.X, width, key), compute_uv=False)[-1])
