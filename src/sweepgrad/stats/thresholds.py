"""Decision thresholds: the best threshold on validation rows, and its optimism.

With calibrated probabilities, costs alone determine the threshold, without any rows:
p = false_positive / (false_positive + false_negative) (Elkan, "The foundations of cost-sensitive learning",
IJCAI 2001, section 2), which is one half for equal costs. Other rules try every threshold between two
probabilities of the rows.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.stats.metrics import Array

Rule = Literal["accuracy", "f1", "prevalence"]

_DRAWN = 20_000_000  # rows of all bootstrap samples together


@dataclass(frozen=True)
class Threshold:
    """A threshold that was found on rows.

    Attributes:
        threshold: rows with p ≥ threshold are predicted positive.
        value: the rule's quantity on these rows: accuracy, F1, or the share of rows that are predicted
            positive.
        optimism: the expected excess of `value` over that on other rows; 0 for the share, which does not
            depend on labels.
    """

    threshold: float
    value: float
    optimism: float


def of_costs(false_positive: float, false_negative: float) -> float:
    """Return the threshold at which both kinds of error have the same expected cost."""
    return false_positive / (false_positive + false_negative)


def best_threshold(
    rule: Rule, y: Array, p: Array, units: NDArray[np.int64], prevalence: float, key: int, draws: int = 200
) -> Threshold:
    """Return the threshold that a rule chooses.

    "accuracy" and "f1" maximize these; "prevalence" brings the share of rows that are predicted positive as
    close to `prevalence` as possible. Usually many neighbouring thresholds are equally good: the result is
    the middle of such a plateau, since its edges are next to worse ones. A threshold that predicts a single
    class is chosen only if it is better than all that predict both. Among several plateaus the widest is
    chosen, then the lowest.

    The optimism is Efron's ("Estimating the error rate of a prediction rule", Journal of the American
    Statistical Association 78, 1983): the average excess of a bootstrap sample's threshold on that sample
    over the same threshold on the original rows. Units are drawn whole. It is approximate and rather too low:
    about three quarters of the true value if the features carry almost no information.

    Arguments:
        y: (N,), 0 or 1; both occur.
        p: (N,), probabilities.
        units: (N,), the unit of each row.
        prevalence: the share of positive rows in training.
        key: the random key, from `sweepgrad.rng.key`.
        draws: the number of samples; fewer are drawn for many rows, where the optimism is negligible.
    """
    cuts = _Thresholds(y, p)
    once = np.ones(len(y))
    goal = cuts.goal(rule, once, prevalence)
    threshold = cuts.middle(goal)
    if rule == "prevalence":
        return Threshold(threshold, float(np.mean(p >= threshold)), 0.0)
    optimism = []
    _, unit = np.unique(units, return_inverse=True)
    n_units = int(unit.max()) + 1
    for draw in range(max(min(draws, _DRAWN // len(y)), 10)):
        drawn = (rng.uniform(rng.fold(key, draw), (n_units,)) * n_units).astype(np.int64)
        weights = np.bincount(drawn, minlength=n_units)[unit].astype(np.float64)
        if not 0 < np.sum(weights * y) < np.sum(weights):
            continue  # a class is absent, so no threshold is better than another
        resampled = cuts.goal(rule, weights, prevalence)
        at = cuts.number(cuts.middle(resampled))
        optimism.append(resampled[at] - goal[at])
    mean = max(float(np.mean(optimism)), 0.0) if optimism else 0.0
    return Threshold(threshold, float(goal[cuts.number(threshold)]), mean)


class _Thresholds:
    """All thresholds with different predictions: number k predicts positive for all but the k lowest values.

    With K distinct values, k = 0 … K. Number k is any threshold in (ends[k], ends[k + 1]]; number 0 includes
    0.
    """

    def __init__(self, y: Array, p: Array) -> None:
        values, self._value_of_row = np.unique(p, return_inverse=True)
        self._y = y
        self._ends = np.concatenate([[0.0], values, [1.0]])
        # No threshold is above a value of 1, and only 0 itself is at or below a value of 0.
        self._possible = np.diff(self._ends) > 0
        self._possible[0] = True

    def goal(self, rule: Rule, weights: Array, prevalence: float) -> NDArray[np.float64]:
        """Return the quantity that the rule maximizes, at each threshold, with row weights (N,)."""
        n_values = len(self._ends) - 2
        positive = _above(np.bincount(self._value_of_row, weights=weights * self._y, minlength=n_values))
        negative = _above(
            np.bincount(self._value_of_row, weights=weights * (1 - self._y), minlength=n_values)
        )
        if rule == "accuracy":
            found = (positive + negative[0] - negative) / (positive[0] + negative[0])
        elif rule == "f1":
            found = 2 * positive / (positive[0] + positive + negative)
        else:
            found = -np.abs((positive + negative) / (positive[0] + negative[0]) - prevalence)
        return np.where(self._possible, found, -np.inf)

    def middle(self, goal: NDArray[np.float64]) -> float:
        """Return the middle of the best plateau."""
        best = goal >= goal.max() - 1e-12
        if best[1:-1].any():
            best[[0, -1]] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], best, [False]]).astype(np.int8)))

        def preference(plateau: tuple[int, int]) -> tuple[float, float]:
            begin, end = plateau
            return self._ends[end] - self._ends[begin], -self._ends[begin]

        begin, end = max(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True), key=preference)
        low, high = float(self._ends[begin]), float(self._ends[end])
        middle = (low + high) / 2
        return middle if low < middle else high  # no number lies between neighbouring floats

    def number(self, threshold: float) -> int:
        """Return the number of a threshold."""
        return int(np.searchsorted(self._ends[1:-1], threshold, side="left"))


def _above(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Turn counts by value (K,) into counts (K + 1,) of that value or above."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]]).astype(np.float64)
