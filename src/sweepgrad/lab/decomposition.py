"""Squared error parted into noise, squared bias and variance, from predictions of many training sets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweepgrad.autograd.value import Array


@dataclass(frozen=True)
class Parts:
    """Means over points; their sum with the noise is the expected squared error of a prediction of a label."""

    bias2: float
    variance: float

    @property
    def error(self) -> float:
        """What a better model could save: squared bias and variance."""
        return self.bias2 + self.variance

    @staticmethod
    def of(predictions: Array, truth: Array) -> "Parts":
        """Both without bias themselves.

        The squared distance of a mean of R predictions from the truth is too large by variance / R, for the
        mean varies too.

        Arguments:
            predictions: of R training sets for X points, (R, X).
            truth: the probability at each point, (X,).
        """
        variance = predictions.var(axis=0, ddof=1)
        off = (predictions.mean(axis=0) - truth) ** 2
        return Parts(float((off - variance / len(predictions)).mean()), float(variance.mean()))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, and the standard error behind it."""

    value: float
    low: float
    high: float
    error: float

    def agrees(self, expected: float) -> bool:
        """Whether it is what is expected, up to four standard errors."""
        return abs(self.value - expected) <= 4 * self.error

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def jackknife(statistic: Callable[[NDArray[np.int64]], float], replicates: int) -> Estimate:
    """A statistic with an interval by leaving out one replicate at a time (Tukey, 1958; Efron & Stein, 1981).

    Arguments:
        statistic: takes the numbers of the replicates to use.
        replicates: R; Student's t has R - 1 degrees of freedom.
    """
    everyone = np.arange(replicates)
    whole = statistic(everyone)
    left = np.array([statistic(np.delete(everyone, r)) for r in range(replicates)])
    error = np.sqrt((replicates - 1) / replicates * ((left - left.mean()) ** 2).sum())
    half = float(stdtrit(replicates - 1, 0.975)) * float(error)
    return Estimate(whole, whole - half, whole + half, float(error))


def difference(way: Array, base: Array, truth: Array, part: Callable[[Parts], float]) -> Estimate:
    """By how much a part is larger for one way than for another, of the same training sets (R, X) each."""

    def statistic(chosen: NDArray[np.int64]) -> float:
        return part(Parts.of(way[chosen], truth)) - part(Parts.of(base[chosen], truth))

    return jackknife(statistic, len(base))


def seed_share(predictions: Array) -> tuple[float, float]:
    """The variance by training set and by seed: the law of total variance.

    Arguments:
        predictions: (R, M, X), of M seeds on each of R training sets.

    Returns:
        What is left when seeds are averaged away, and the mean over training sets of the variance over seeds.
    """
    n_seeds = predictions.shape[1]
    by_seed = float(predictions.var(axis=1, ddof=1).mean())
    of_means = float(predictions.mean(axis=1).var(axis=0, ddof=1).mean())
    return of_means - by_seed / n_seeds, by_seed
