"""How good predictions are: plain functions of labels y and probabilities p, both of shape (N,)."""

from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit, xlogy

from sweepgrad import rng

Array = NDArray[np.floating[Any]]

BETTER = {"accuracy": 1, "nll": -1, "roc_auc": 1}  # 1 where more is better, -1 where less is

_CHUNK = 1 << 18  # rows at a time, where more would only take memory


def accuracy(y: Array, p: Array, threshold: float = 0.5) -> float:
    """The share of rows where p ≥ threshold agrees with y."""
    return float(np.mean((p >= threshold) == (y == 1)))


def nll(y: Array, p: Array) -> float:
    """The mean negative log-likelihood, in nats; infinite where something held impossible happened."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)))


def roc_auc(y: NDArray[Any], p: Array) -> float:
    """The probability that a positive row is scored above a negative one, ties counting half.

    The statistic of Mann & Whitney (1947), counted in whole numbers. NaN when a class is absent.
    """
    positive, negative = np.sort(p[y == 1]), np.sort(p[y != 1])
    if positive.size * negative.size == 0:
        return float("nan")
    twice = 0
    for start in range(0, positive.size, _CHUNK):
        some = positive[start : start + _CHUNK]
        twice += int(np.searchsorted(negative, some, "left").sum())
        twice += int(np.searchsorted(negative, some, "right").sum())
    return twice / (2 * positive.size * negative.size)


def accuracy_interval(
    y: Array,
    p: Array,
    confidence: float = 0.95,
    *,
    units: NDArray[np.int64] | None = None,
    threshold: float = 0.5,
) -> tuple[float, float]:
    """An interval for the accuracy on rows like these: Wilson's (1927), with the effective number of rows.

    Rows of the same unit tend to be right or wrong together, so they count for less than independent ones:
    their number is divided by the design effect (Kish, "Survey Sampling", 1965), the variance of the accuracy
    between units over that of independent rows, where that is above 1. The former is the jackknife's, and the
    quantile then Student's, with one degree of freedom less than Kish's effective number of units: few and
    unequal units need both.

    Arguments:
        units: (N,), the unit of each row, numbered from 0; None when every row is a unit of its own.
        threshold: the probability from which on a row is taken for positive.
    """
    right = ((p >= threshold) == (y == 1)).astype(np.float64)
    share, n = float(right.mean()), float(len(y))
    z = float(ndtri((1 + confidence) / 2))
    if units is not None and 0 < share < 1:
        sizes = np.bincount(units)
        n_units = int(np.count_nonzero(sizes))
        if n_units > 1:
            off = np.bincount(units, weights=right - share) / (n - sizes)  # by so much without the unit
            between = (n_units - 1) / n_units * float(np.sum(off**2))
            effect = between / (share * (1 - share) / n)
            if effect > 1:
                alike = n**2 / float(
                    np.sum(sizes.astype(np.float64) ** 2)
                )  # as many equal units, n_units at most
                z = float(stdtrit(max(alike - 1, 1.0), (1 + confidence) / 2))
                n /= effect
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def p_value_of_difference(
    y: Array, p: Array, q: Array, units: NDArray[np.int64] | None = None, *, threshold: float = 0.5
) -> float:
    """How likely accuracies of p and q as different as these are if neither is better; two-sided.

    McNemar's test (1947) without correction; with units, its form for clustered pairs, which sums the
    differences within each unit first (after Obuchowski, Statistics in Medicine 17, 1998).

    Arguments:
        units: as for `accuracy_interval`.
        threshold: of p; that of q is 0.5.
    """
    right_p, right_q = (p >= threshold) == (y == 1), (q >= 0.5) == (y == 1)
    return p_value_of_sum(right_p.astype(np.float64) - right_q, units)


def p_value_of_sum(difference: Array, units: NDArray[np.int64] | None = None) -> float:
    """How likely differences (N,) add up to so much if each is as likely the other way round; two-sided.

    Of rows right against wrong this is McNemar's test; of costs, its like.
    """
    if units is not None:
        difference = np.asarray(np.bincount(units, weights=difference), dtype=np.float64)
    spread = sqrt(float(np.sum(difference**2)))
    return erfc(abs(float(difference.sum())) / spread / sqrt(2)) if spread > 0 else 1.0


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
    which = _bins(p, bins)
    count = np.bincount(which, minlength=bins)
    filled = count > 0
    predicted = np.bincount(which, weights=p, minlength=bins)[filled] / count[filled]
    observed = np.bincount(which, weights=y, minlength=bins)[filled] / count[filled]
    error = float(np.sum(count[filled] * np.abs(predicted - observed)) / len(y))
    return Calibration(
        tuple(predicted.tolist()), tuple(observed.tolist()), tuple(count[filled].tolist()), error
    )


def calibration_error_by_chance(p: Array, key: int, draws: int = 1000) -> float:
    """The calibration error that true probabilities p (N,) stay below in 95 of 100 samples of labels.

    Bins hold finitely many rows, so the error of perfect probabilities is not 0 (Broecker & Smith, Weather
    and Forecasting 22, 2007, resample likewise).

    Arguments:
        key: the randomness, from `sweepgrad.rng.key`.
    """
    n = len(p)
    which = _bins(p, bins := 10)
    predicted = np.bincount(which, weights=p, minlength=bins)
    errors = []
    for draw in range(draws):  # one at a time: all together would take gigabytes
        positive = rng.uniform(key, (n,), first=draw * n) < p
        observed = np.bincount(which[positive], minlength=bins)
        errors.append(float(np.sum(np.abs(predicted - observed))) / n)
    return float(np.quantile(errors, 0.95))


def _bins(p: Array, bins: int) -> NDArray[np.int64]:
    """The number of the bin of equal width in which each probability (N,) lies."""
    return np.minimum((p * bins).astype(np.int64), bins - 1)


def confusion(y: Array, p: Array, threshold: float = 0.5) -> dict[str, int]:
    """Rows by what they are and what they are taken for, which is positive at p ≥ threshold."""
    taken, is_positive = p >= threshold, y == 1
    return {
        "true_positive": int(np.sum(taken & is_positive)),
        "false_positive": int(np.sum(taken & ~is_positive)),
        "true_negative": int(np.sum(~taken & ~is_positive)),
        "false_negative": int(np.sum(~taken & is_positive)),
    }


def f1(counted: dict[str, int]) -> float:
    """The harmonic mean of precision and recall of what `confusion` counted; 0 without a true positive."""
    twice = 2 * counted["true_positive"]
    return twice / max(twice + counted["false_positive"] + counted["false_negative"], 1)


def costs(y: Array, taken: NDArray[np.bool_], false_positive: float, false_negative: float) -> Array:
    """What each row's answer costs, (N,): nothing where it is right."""
    return np.where(taken, (1 - y) * false_positive, y * false_negative)
