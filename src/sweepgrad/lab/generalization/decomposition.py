"""The decomposition of squared error into noise, bias² and variance, from models of many training sets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweepgrad.autograd.value import Array

PARTS = {"bias2": "bias²", "variance": "variance", "error": "sum"}
"""The attributes of `Parts`, and how they are called in tables and pictures."""


@dataclass(frozen=True)
class Parts:
    """Bias² and variance, averaged over points; with the noise they add up to the expected squared error."""

    bias2: float
    variance: float

    @property
    def error(self) -> float:
        """The reducible error: the sum of bias² and variance."""
        return self.bias2 + self.variance

    @staticmethod
    def of(predictions: Array, truth: Array) -> "Parts":
        """Return unbiased estimates.

        The mean of R predictions varies too, so its squared distance from the truth is too large by
        variance / R.

        Arguments:
            predictions: of R training sets at X points, (R, X).
            truth: the probability at each point, (X,).
        """
        variance = predictions.var(axis=0, ddof=1)
        squared = (predictions.mean(axis=0) - truth) ** 2
        return Parts(float((squared - variance / len(predictions)).mean()), float(variance.mean()))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and its standard error."""

    value: float
    low: float
    high: float
    error: float

    def agrees(self, expected: float) -> bool:
        """Return whether it is within four standard errors of the expected number."""
        return abs(self.value - expected) <= 4 * self.error

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def jackknife(statistic: Callable[[NDArray[np.int64]], float], replicates: int) -> Estimate:
    """Estimate a statistic and its interval with the jackknife (Tukey, 1958; Efron & Stein, 1981).

    Arguments:
        statistic: takes the indices of the replicates to use.
        replicates: R; Student's t has R - 1 degrees of freedom.
    """
    indices = np.arange(replicates)
    whole = statistic(indices)
    without_one = np.array([statistic(np.delete(indices, r)) for r in range(replicates)])
    error = np.sqrt((replicates - 1) / replicates * ((without_one - without_one.mean()) ** 2).sum())
    half = float(stdtrit(replicates - 1, 0.975)) * float(error)
    return Estimate(whole, whole - half, whole + half, float(error))


def interval(predictions: Array, truth: Array, part: str) -> Estimate:
    """Return a part of the error of predictions (R, X) with its interval over training sets."""
    return jackknife(
        lambda chosen: float(getattr(Parts.of(predictions[chosen], truth), part)), len(predictions)
    )


def difference(method: Array, base: Array, truth: Array, part: Callable[[Parts], float]) -> Estimate:
    """Return the difference of a part between a method and `base`, on the same training sets, (R, X) each."""

    def statistic(chosen: NDArray[np.int64]) -> float:
        return part(Parts.of(method[chosen], truth)) - part(Parts.of(base[chosen], truth))

    return jackknife(statistic, len(base))


def seed_share(predictions: Array) -> tuple[float, float]:
    """Split the variance into parts by training set and by seed, by the law of total variance.

    Arguments:
        predictions: (R, M, X), of M seeds on each of R training sets.

    Returns:
        The variance over training sets of the mean over seeds, and the mean of the variance over seeds.
    """
    n_seeds = predictions.shape[1]
    by_seed = float(predictions.var(axis=1, ddof=1).mean())
    of_means = float(predictions.mean(axis=1).var(axis=0, ddof=1).mean())
    return of_means - by_seed / n_seeds, by_seed
