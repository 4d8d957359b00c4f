"""Standard errors of means over rows and seeds, which are crossed: all seeds use the same validation rows.

A candidate is a configuration that is trained once for each of its seeds. The quantity of interest is its
expected metric on new rows with new seeds. Its mean has two crossed sources of error, rows and seeds: for
each run and row,

    contribution = mean + row + seed + interaction,

and with G units of rows and S seeds, the variance of the mean is estimated as V_rows + V_seeds - V_both
(Cameron, Gelbach & Miller, Journal of Business & Economic Statistics 29, 2011), since the first two both
contain the interaction. This is unbiased and needs one pass; a two-way bootstrap counts the interaction about
three times (Owen, Annals of Applied Statistics 1, 2007). A negative V_seeds - V_both is set to 0, so the
variance is never less than that of the rows.

V_rows is the jackknife over units, which MacKinnon, Nielsen & Webb, Journal of Econometrics 232, 2023,
recommend for few and unequal units; if every row is a unit, it equals sd² / N. With a single seed, errors are
over rows only, for that trained network. Quantiles are Student's, since S is small.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.floating[Any]]

ROUNDING = 1e-12  # relative: smaller differences are rounding errors of sums


def settled(value: float) -> float:
    """Return a mean without its last digits, which depend on the order of summation."""
    return float(f"{value:.11e}")


class Summary(NamedTuple):
    """Means of C candidates and their variances; (C,) unless another shape is given.

    Attributes:
        rows: (C, C), the covariance of the means over units of rows.
        seeds: V_seeds, the variance of the mean over choices of seeds; 0 for a single seed.
        own: V_seeds - V_both, at least 0: the variance that seeds add to that of the rows.
        compared: the same for comparisons, at least the pooled variance.
        free: the number of seeds minus one.
        df_rows: the degrees of freedom of `rows`, a number.
    """

    mean: NDArray[np.float64]
    rows: NDArray[np.float64]
    seeds: NDArray[np.float64]
    own: NDArray[np.float64]
    compared: NDArray[np.float64]
    free: NDArray[np.int64]
    df_rows: float

    def errors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return standard errors and half the widths of 95 % intervals, (C,) each.

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
        """Return the variance of the difference of each mean from that of `one`, (C,); 0 for equal runs."""
        single = np.diag(self.rows)
        rows = single + single[one] - 2 * self.rows[one]
        rows[rows <= ROUNDING * (single + single[one])] = 0.0
        variance: NDArray[np.float64] = rows + self.compared + self.compared[one]
        variance[one] = 0.0
        return variance


def summary(runs_of: Sequence[Array], units: NDArray[np.int64]) -> Summary:
    """Return the means and variances of candidates.

    Arguments:
        runs_of: for each candidate the contributions (S, N) of its runs.
        units: (N,), the unit of each row.
    """
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order, starts = np.argsort(unit, kind="stable"), np.cumsum(sizes) - sizes
    n, n_units = len(units), len(sizes)
    # Kish's effective number of units minus one; it equals the number of units if these have equal sizes.
    df_rows = max(n**2 / float(np.sum(sizes.astype(np.float64) ** 2)) - 1, 1.0)
    # Leaving out a unit changes the mean by the unit's excess divided by the number of remaining rows.
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
