"""How good predictions are: plain functions of labels y and probabilities p, both of shape (N,)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import binomtest, rankdata

Array = NDArray[np.floating[Any]]


def accuracy(y: Array, p: Array) -> float:
    """The share of rows where p ≥ 0.5 agrees with y."""
    return float(np.mean((p >= 0.5) == (y == 1)))


def nll(y: Array, p: Array) -> float:
    """The mean negative log-likelihood, in nats; infinite where something held impossible happened."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)))


def roc_auc(y: Array, p: Array) -> float:
    """The probability that a positive row is scored above a negative one, ties counting half.

    The statistic of Mann & Whitney (1947) from midranks. NaN when a class is absent.
    """
    positives = int(np.sum(y == 1))
    pairs = positives * (len(y) - positives)
    if pairs == 0:
        return float("nan")
    return float((rankdata(p)[y == 1].sum() - positives * (positives + 1) / 2) / pairs)


def accuracy_interval(y: Array, p: Array, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of Wilson (1927) for the accuracy on rows like these, taken as independent."""
    correct = int(np.sum((p >= 0.5) == (y == 1)))
    interval = binomtest(correct, len(y)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Calibration:
    """Predicted against observed, in equal-width bins of the probability; empty bins are left out.

    Attributes:
        predicted: the mean probability in each bin.
        observed: the share of positive rows in each bin.
        count: the rows in each bin.
        error: the expected calibration error, the count-weighted mean of |predicted - observed|
            (Naeini, Cooper & Hauskrecht, AAAI 2015).
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    count: tuple[int, ...]
    error: float


def calibration(y: Array, p: Array, bins: int = 10) -> Calibration:
    """The reliability of probabilities (DeGroot & Fienberg, The Statistician 32, 1983)."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = count > 0
    predicted = np.bincount(which, weights=p, minlength=bins)[filled] / count[filled]
    observed = np.bincount(which, weights=y, minlength=bins)[filled] / count[filled]
    error = float(np.sum(count[filled] * np.abs(predicted - observed)) / len(y))
    return Calibration(
        tuple(predicted.tolist()), tuple(observed.tolist()), tuple(count[filled].tolist()), error
    )


def confusion(y: Array, p: Array) -> dict[str, int]:
    """Rows by what they are and what they are taken for, at p ≥ 0.5."""
    taken, is_positive = p >= 0.5, y == 1
    return {
        "true_positive": int(np.sum(taken & is_positive)),
        "false_positive": int(np.sum(taken & ~is_positive)),
        "true_negative": int(np.sum(~taken & ~is_positive)),
        "false_negative": int(np.sum(~taken & is_positive)),
    }
