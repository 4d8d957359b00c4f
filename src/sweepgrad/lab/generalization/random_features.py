"""Random ReLU features with a linear layer on top, fitted by least squares with and without a penalty."""

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array


def features(X: Array, width: int, key: int) -> Array:
    """Return ReLU features of random directions and offsets, (N, width), divided by the root of the width."""
    directions = rng.normal(rng.fold(key, 0), (X.shape[1], width))
    offsets = rng.normal(rng.fold(key, 1), (width,))
    scaled: Array = np.maximum(X @ directions + offsets, 0) / np.sqrt(width)
    return scaled


def prediction_matrix(inputs: Array, points: Array, penalty: float = 0.0) -> Array:
    """Return the matrix that maps the labels of the rows to the predictions at points, (X, N).

    The weights minimise the mean squared error of the rows plus penalty times their squared norm. Without a
    penalty they are those of least norm among the least-squares fits, which gradient descent from 0 finds.

    Arguments:
        inputs: features of the rows, (N, width).
        points: features of the points, (X, width).
    """
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    kept = values > values[0] * max(inputs.shape) * np.finfo(np.float64).eps
    left, values, right = left[:, kept], values[kept], right[kept]
    inverse = values / (values**2 + len(inputs) * penalty)
    mapped: Array = (points @ right.T * inverse) @ left.T
    return mapped


def noise_variance(mapped: Array, label_variances: Array) -> float:
    """Return the variance of the predictions over the noise of the labels, averaged over points.

    Predictions are A y with y = p + η, so that at the point i it is Σⱼ Aᵢⱼ² Var(ηⱼ).

    Arguments:
        mapped: A, from `prediction_matrix`, (X, N).
        label_variances: of η, (N,).
    """
    return float((mapped**2 @ label_variances).mean())
