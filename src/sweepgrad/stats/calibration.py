"""Calibration: how far probabilities are off, and the one number that corrects them.

Temperature scaling is one number on a trained model's log-odds, so that probabilities mean what they say.
It is the `scale` of the output sigmoid at work, after training and not during it: with p = sigmoid(scale z)
a scale below 1 (a temperature 1 / scale above 1) draws probabilities towards one half, a scale above 1 away
from it. The order of rows and the side of one half on which each lies stay as they are, so neither the
accuracy at 0.5 nor the area under the curve changes (Guo, Pleiss, Sun & Weinberger, "On calibration of modern
neural networks", ICML 2017, section 4.2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.stats.metrics import Array

_MOST = 2.0**40  # a scale beyond it, on log-odds of size 1, tells nothing apart


def greatest_likelihood(y: Array, log_odds: Array) -> float | None:
    """The scale with the smallest mean negative log-likelihood of labels y (N,); None where there is none.

    The loss, mean(softplus((1 - 2y) scale z)), is convex in the scale, so where its slope,
    mean((sigmoid(scale z) - y) z), is 0 lies the one minimum. There is none at a finite positive scale where

    - every row lies on its right side, or all but rows whose log-odds are next to nothing beside the largest:
      the larger, the better (the classes are separable);
    - the log-odds go with the labels no better than turned round: the smaller, the better.

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
    """Return the reliability of probabilities (DeGroot & Fienberg, The Statistician 32, 1983)."""
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
    """Return the calibration error that true probabilities p (N,) stay below in 95 of 100 samples of labels.

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
    """Return the number of the bin of equal width in which each probability (N,) lies."""
    return np.minimum((p * bins).astype(np.int64), bins - 1)
