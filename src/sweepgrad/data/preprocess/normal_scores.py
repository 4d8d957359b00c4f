"""Normal scores: numbers replaced by normal quantiles of their rank among the training values.

Monotone transforms of a column, such as a logarithm, then make no difference, and outliers lose their weight.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = 256
"""The largest number of stored values. If all training values differ, a score is off by at most one step,
1/255 of the range of scores: 0.04 for ten million rows."""


@dataclass(frozen=True)
class NormalScores:
    """A piecewise linear function through (knots, scores), both ascending; constant outside the knots.

    The score of a knot is Φ⁻¹(p), where p is the share of training values below it plus half the share equal
    to it: (rank - 1/2) / n, Hazen's plotting position, with the mean rank of ties.
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]

    @staticmethod
    def fit(values: Floats) -> "NormalScores":
        """Fit to values (N,), none of them missing. Without any value, every score is 0."""
        n = values.size
        if n == 0:
            return NormalScores((0.0,), (0.0,))
        ordered, normal = np.sort(values), NormalDist()
        rows = np.arange(n)
        if n > KNOTS:
            # Equal steps of the score, not of the rank, so that steps in the tails are short too.
            highest = normal.inv_cdf(1 - 0.5 / n)
            grid = np.array([normal.cdf(score) for score in np.linspace(-highest, highest, KNOTS)])
            rows = np.clip(np.rint(grid * n - 0.5), 0, n - 1).astype(np.int64)
        knots = np.unique(ordered[rows])
        if _far(knots):  # `_segment` then divides by 4, which makes some of the smallest numbers equal
            knots = knots[np.append(True, np.diff(knots / 4) > 0)]
        below = np.searchsorted(ordered, knots, side="left")
        upto = np.searchsorted(ordered, knots, side="right")
        shares = ((below + upto) / (2 * n)).tolist()
        return NormalScores(tuple(knots.tolist()), tuple(normal.inv_cdf(share) for share in shares))

    def transform(self, values: Floats) -> Floats:
        """Return the scores (N,) of values (N,), which never decrease with the value. NaN stays NaN."""
        scores = np.array(self.scores)
        if scores.size == 1:
            return np.where(np.isnan(values), np.nan, scores[0])
        i, t = _segment(values, np.array(self.knots))
        found: Floats = np.minimum(scores[i] + t * (scores[i + 1] - scores[i]), scores[i + 1])
        return found

    def inverse(self, scores: Floats) -> Floats:
        """Return the values (N,) of scores (N,), up to rounding; the nearest knot outside the range."""
        knots = np.array(self.knots)
        if knots.size == 1:
            return np.where(np.isnan(scores), np.nan, knots[0])
        i, t = _segment(scores, np.array(self.scores))
        values: Floats = (1 - t) * knots[i] + t * knots[i + 1]
        return values


def is_ascending(ends: Floats) -> bool:
    """Return whether finite ends (K,) ascend by steps large enough for `transform`."""
    ends = ends / 4 if _far(ends) else ends
    return bool(np.all(np.diff(ends) > 0))


def _far(ends: Floats) -> bool:
    """Return whether ascending ends (K,) may be so far apart that their difference overflows."""
    return bool(max(abs(ends[0]), abs(ends[-1])) > 1e300)


def _segment(x: Floats, ends: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the segment of ascending ends (K,) that contains each x (N,), and its position there in [0, 1].

    (`np.interp` divides before it multiplies, so its slopes overflow where two ends are very close.)
    """
    if _far(ends):
        x, ends = x / 4, ends / 4
    x = np.clip(x, ends[0], ends[-1])
    i = np.clip(np.searchsorted(ends, x, side="right") - 1, 0, len(ends) - 2)
    return i, (x - ends[i]) / (ends[i + 1] - ends[i])
