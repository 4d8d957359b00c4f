"""Errors of means over rows and seeds, which are crossed: all seeds are judged on the same rows.

A candidate is a configuration trained once for each of its seeds. What counts is the metric to be expected
of it on new rows and with new seeds. So its mean over rows and seeds is off for two reasons that are crossed:
every seed is judged on the same rows, and every row by the same seeds. Per run and row

    contribution = mean + row + seed + interaction,

and with G units of rows and S seeds the variance of the mean is estimated as V_rows + V_seeds - V_both
(Cameron, Gelbach & Miller, Journal of Business & Economic Statistics 29, 2011): the interaction is in both of
the first two and must count once. It is unbiased here and costs a pass, where a two-way bootstrap counts the
interaction about three times (Owen, Annals of Applied Statistics 1, 2007). V_seeds - V_both is put to 0
where it comes out below: the variance is never less than that of the rows.

V_rows leaves out each unit once (the jackknife, which MacKinnon, Nielsen & Webb, Journal of Econometrics 232,
2023, recommend for few and unequal units); with a row a unit it is the usual sd² / N. With a single seed
nothing can be known of seeds: errors are then of the rows alone, given that trained network. Quantiles are
Student's, since S is small.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.floating[Any]]

ROUNDING = 1e-12  # relative: what is smaller is no difference, but how it was summed


def settled(value: float) -> float:
    """A mean without its last digits, which say no more than how it was summed."""
    return float(f"{value:.11e}")


class Summary(NamedTuple):
    """What is known of C candidates: all (C,) unless said.

    Attributes:
        rows: (C, C), the covariance of the means over units of rows.
        seeds: V_seeds, the variance of the mean from one choice of seeds to another; 0 for a single seed.
        own: V_seeds - V_both, at least 0: what the seeds add to the rows.
        compared: the same, where candidates are compared.
        free: the number of seeds less one.
        df_rows: degrees of freedom of `rows`, a number.
    """

    mean: NDArray[np.float64]
    rows: NDArray[np.float64]
    seeds: NDArray[np.float64]
    own: NDArray[np.float64]
    compared: NDArray[np.float64]
    free: NDArray[np.int64]
    df_rows: float

    def errors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard errors, and half the widths of 95 % intervals, (C,) each.

        The quantile is Student's, with the degrees of freedom of Satterthwaite (1946).
        """
        rows = np.diag(self.rows)
        total = rows + self.own
        spread = rows**2 / (self.df_rows) + self.seeds**2 / np.maximum(self.free, 1)
        df = np.divide(total**2, spread, out=np.full_like(total, self.df_rows), where=spread > 0)
        quantile: NDArray[np.float64] = np.asarray(
            stdtrit(np.clip(df, 1, self.df_rows), 0.975), dtype=np.float64
        )
        error: NDArray[np.float64] = np.sqrt(total)
        return error, quantile * error

    def variance_of_differences(self, one: int) -> NDArray[np.float64]:
        """Of each mean and that of `one`, (C,): exactly 0 where the runs do not differ."""
        alone = np.diag(self.rows)
        rows = alone + alone[one] - 2 * self.rows[one]
        rows[rows <= ROUNDING * (alone + alone[one])] = 0.0
        variance: NDArray[np.float64] = rows + self.compared + self.compared[one]
        variance[one] = 0.0
        return variance


def summary(runs_of: Sequence[Array], units: NDArray[np.int64]) -> Summary:
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order, starts = np.argsort(unit, kind="stable"), np.cumsum(sizes) - sizes
    n, n_units = len(units), len(sizes)
    # One less than Kish's effective number of units, which is their number where they are equal.
    df_rows = max(n**2 / float(np.sum(sizes.astype(np.float64) ** 2)) - 1, 1.0)
    # A mean without a unit's rows differs from the mean by the unit's excess over the number of rows left.
    left = np.sqrt((n_units - 1) / n_units) / (n - sizes)
    mean, excess = np.empty(len(runs_of)), np.empty((len(runs_of), n_units))
    free = np.array([len(runs) - 1 for runs in runs_of])
    seeds, both = np.zeros(len(runs_of)), np.zeros(len(runs_of))
    for c, x in enumerate(runs_of):
        sums = np.add.reduceat(x[:, order], starts, axis=1, dtype=np.float64)
        runs = sums.sum(axis=1) / n
        mean[c] = sums.sum() / sums.shape[0] / n
        scaled = (sums - runs[:, None] * sizes) * left
        excess[c] = scaled.mean(axis=0)
        if free[c]:
            pairs = free[c] * (free[c] + 1)
            seeds[c] = np.sum((runs - mean[c]) ** 2) / pairs
            both[c] = np.sum((scaled - excess[c]) ** 2) / pairs
    added = seeds - both
    pooled = max(float(np.sum(added * (free + 1) * free)) / max(int(free.sum()), 1), 0.0)
    own = np.maximum(added, 0.0)
    return Summary(mean, excess @ excess.T, seeds, own, np.maximum(own, pooled / (free + 1)), free, df_rows)
