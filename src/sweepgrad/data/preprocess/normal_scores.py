"""Normal scores: numbers by their rank among those that were learned from, as a normal sample would lie.

It then no longer matters whether a logarithm was taken of a column, and outliers come close to the others.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = 256
"""So many values are remembered at most. Where none are equal, any other is within a step of its own score,
1/255 of the way from the lowest to the highest: 0.04 for ten million rows."""


@dataclass(frozen=True)
class NormalScores:
    """A line through (knots, scores), both ascending; level before the first and after the last.

    The score of a knot is Φ⁻¹(p), where p is the share of training values below it plus half the share of its
    equals: (rank - 1/2) / n, Hazen's plotting position, with the mean rank of equals.
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]

    @staticmethod
    def fit(values: Floats) -> "NormalScores":
        """Learn from values (N,), none of them missing. Of no values at all, everything scores 0."""
        n = values.size
        if n == 0:
            return NormalScores((0.0,), (0.0,))
        ordered, normal = np.sort(values), NormalDist()
        rows = np.arange(n)
        if n > KNOTS:
            # Even steps of the score, not of the rank: in the tails, too, no step is a long one.
            highest = normal.inv_cdf(1 - 0.5 / n)
            grid = np.array([normal.cdf(score) for score in np.linspace(-highest, highest, KNOTS)])
            rows = np.clip(np.rint(grid * n - 0.5), 0, n - 1).astype(np.int64)
        knots = np.unique(ordered[rows])
        if _far(knots):  # then some of the smallest numbers are one in `_segment`
            knots = knots[np.append(True, np.diff(knots / 4) > 0)]
        below = np.searchsorted(ordered, knots, side="left")
        upto = np.searchsorted(ordered, knots, side="right")
        shares = ((below + upto) / (2 * n)).tolist()
        return NormalScores(tuple(knots.tolist()), tuple(normal.inv_cdf(share) for share in shares))

    def of(self, values: Floats) -> Floats:
        """The scores (N,) of values (N,): a larger value never scores less. NaN stays NaN."""
        scores = np.array(self.scores)
        if scores.size == 1:
            return np.where(np.isnan(values), np.nan, scores[0])
        i, t = _segment(values, np.array(self.knots))
        found: Floats = np.minimum(scores[i] + t * (scores[i + 1] - scores[i]), scores[i + 1])
        return found

    def inverse(self, scores: Floats) -> Floats:
        """The values (N,) that have these scores (N,), to rounding; the nearest knot beyond them all."""
        knots = np.array(self.knots)
        if knots.size == 1:
            return np.where(np.isnan(scores), np.nan, knots[0])
        i, t = _segment(scores, np.array(self.scores))
        values: Floats = (1 - t) * knots[i] + t * knots[i + 1]
        return values


def _far(ends: Floats) -> bool:
    """Whether ascending ends (K,) may be so far apart that their difference overflows."""
    return bool(max(abs(ends[0]), abs(ends[-1])) > 1e300)


def _segment(x: Floats, ends: Floats) -> tuple[NDArray[np.int64], Floats]:
    """After which of the ascending ends (K,) each x (N,) lies, and how far on the way to the next, in [0, 1].

    (`np.interp` divides before it multiplies: its slopes overflow where two ends are very near.)
    """
    if _far(ends):
        x, ends = x / 4, ends / 4
    x = np.clip(x, ends[0], ends[-1])
    i = np.clip(np.searchsorted(ends, x, side="right") - 1, 0, len(ends) - 2)
    return i, (x - ends[i]) / (ends[i + 1] - ends[i])
