"""Random ReLU features with a linear layer on top that interpolates with the least norm."""

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.training.loop import Examples


def features(X: Array, width: int, key: int) -> Array:
    """(N, width): ReLU of random directions and offsets, scaled to a length that does not grow with the width."""
    directions = rng.normal(rng.fold(key, 0), (X.shape[1], width))
    offsets = rng.normal(rng.fold(key, 1), (width,))
    scaled: Array = np.maximum(X @ directions + offsets, 0) / np.sqrt(width)
    return scaled


def predictions(rows: Examples, points: Array, width: int, key: int) -> Array:
    """At points (X, 2), of the least-squares fit of the labels to the features, of least norm; (X,).

    Fewer features than rows leave one fit; more leave many that interpolate, and the least norm chooses
    (gradient descent from zero comes to it).
    """
    inputs = features(rows.X, width, key)
    weights, *_ = np.linalg.lstsq(inputs, rows.y - 0.5, rcond=None)
    predicted: Array = features(points, width, key) @ weights + 0.5
    return predicted


def smallest_singular_value(rows: Examples, width: int, key: int) -> float:
    """Of the training rows' features, of those that are not 0 in exact arithmetic."""
    return float(np.linalg.svd(features(rows.X, width, key), compute_uv=False)[-1])
