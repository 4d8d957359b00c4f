"""Calibration of probabilities: its error, and its correction by temperature scaling.

Temperature scaling multiplies a trained model's log-odds z by one number: p = sigmoid(scale z). A scale below
1 (a temperature 1 / scale above 1) moves probabilities towards one half, a scale above 1 away from it. It
changes neither the order of rows nor the side of one half, so accuracy at 0.5 and ROC AUC stay the same (Guo,
Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.stats.metrics import Array

_MOST = 2.0**40  # with log-odds of size 1, a larger scale makes no difference


def greatest_likelihood(y: Array, log_odds: Array) -> float | None:
    """Return the scale with the least mean negative log-likelihood of labels y (N,); None if there is none.

    The loss, mean(softplus((1 - 2y) scale z)), is convex in the scale, so it has one minimum, where its
    slope, mean((sigmoid(scale z) - y) z), is 0. There is no minimum at a finite positive scale if

    - the log-odds separate the classes, but for log-odds that are negligible relative to the largest: then a
      larger scale is always better;
    - the log-odds are not positively associated with the labels: then a smaller scale is always better.

    Arguments:
        y: (N,), 0 or 1.
        log_odds: (N,), finite.
    """
    largest = float(np.max(np.abs(log_odds), initial=0.0))
    if largest == 0:
        return None
    z = np.asarray(log_odds, dtype=np.float64) / largest

    def slope(scale: float) -> float:
        return float(np.mean((expit(scale * z) - y) * z))

    if slope(0.0) >= 0 or np.all((1 - 2 * y) * z <= 0):
        return None
    high = 1.0
    while slope(high) < 0:
        high *= 2
        if high > _MOST:
            return None
    return float(brentq(slope, 0.0, high, xtol=1e-14 * high, rtol=1e-13)) / largest


@dataclass(frozen=True)
class Calibration:
    """Predicted and observed shares in equal-width bins of the probability, without empty bins.

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
    """Return the reliability of probabilities (DeGroot & Fienberg, The Statistician 32, 1983)."""
    bin_of_row = _bins(p, bins)
    count = np.bincount(bin_of_row, minlength=bins)
    filled = count > 0
    predicted = np.bincount(bin_of_row, weights=p, minlength=bins)[filled] / count[filled]
    observed = np.bincount(bin_of_row, weights=y, minlength=bins)[filled] / count[filled]
    error = float(np.sum(count[filled] * np.abs(predicted - observed)) / len(y))
    return Calibration(
        tuple(predicted.tolist()), tuple(observed.tolist()), tuple(count[filled].tolist()), error
    )


def calibration_error_by_chance(p: Array, key: int, draws: int = 1000) -> float:
    """Return the 95 % quantile of the calibration error if the probabilities p (N,) are correct.

    It is not 0 since bins have finitely many rows. Labels are resampled from p, as by Broecker & Smith,
    Weather and Forecasting 22, 2007.

    Arguments:
        key: the random key, from `sweepgrad.rng.key`.
    """
    n = len(p)
    bin_of_row = _bins(p, bins := 10)
    predicted = np.bincount(bin_of_row, weights=p, minlength=bins)
    errors = []
    for draw in range(draws):  # one at a time, since all together would take gigabytes
        positive = rng.uniform(key, (n,), first=draw * n) < p
        observed = np.bincount(bin_of_row[positive], minlength=bins)
        errors.append(float(np.sum(np.abs(predicted - observed))) / n)
    return float(np.quantile(errors, 0.95))


def _bins(p: Array, bins: int) -> NDArray[np.int64]:
    """Return the number of the equal-width bin of each probability (N,)."""
    return np.minimum((p * bins).astype(np.int64), bins - 1)
