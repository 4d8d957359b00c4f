"""From probabilities to decisions: the threshold that does best on validation rows, and its optimism.

What costs alone decide needs no rows. With right probabilities it is best to say "positive" from
p = false_positive / (false_positive + false_negative) on (Elkan, "The foundations of cost-sensitive
learning", IJCAI 2001, section 2), of which one half is the case of equal costs. What depends on how the rows
lie is found by trying every cut between two of their probabilities.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.stats.metrics import Array

Rule = Literal["accuracy", "f1", "prevalence"]

_DRAWN = 20_000_000  # rows, over all samples


@dataclass(frozen=True)
class Threshold:
    """A threshold that was found on rows.

    Attributes:
        threshold: rows with p ≥ threshold are taken for positive.
        value: what the rule counts, on the rows that it was found on: accuracy, F1, or the share of rows that
            are taken for positive.
        optimism: by how much `value` is higher than on other rows, on average; 0 for a share, which no label
            has a say in.
    """

    threshold: float
    value: float
    optimism: float


def of_costs(false_positive: float, false_negative: float) -> float:
    """The threshold at which both mistakes are expected to cost the same."""
    return false_positive / (false_positive + false_negative)


def best_threshold(
    rule: Rule, y: Array, p: Array, units: NDArray[np.int64], prevalence: float, key: int, draws: int = 200
) -> Threshold:
    """The threshold that a rule takes.

    "accuracy" and "f1" take the highest, "prevalence" the share of rows taken for positive that is nearest to
    `prevalence`. As a rule many neighbouring cuts are equally good: the threshold is the middle of such a
    plateau, for its edge is as close to worse as it can be. A cut that gives a single answer is taken where
    it is better than all that give both, and not where it is as good. Of several plateaus the widest goes
    first, then the lowest.

    The optimism is that of Efron ("Estimating the error rate of a prediction rule", Journal of the
    American Statistical Association 78, 1983): how much better a threshold found on a bootstrap sample does
    on that sample than on the rows themselves, on average. Whole units are drawn. It tells the size, and says
    too little rather than too much: about three quarters where the rows say next to nothing.

    Arguments:
        y: (N,), 0 or 1; both occur.
        p: (N,), probabilities.
        units: (N,), the unit of each row.
        prevalence: the share of positive rows in training.
        key: the randomness, from `sweepgrad.rng.key`.
        draws: how many samples; fewer where rows are so many that the optimism is next to nothing.
    """
    cuts = _Thresholds(y, p)
    once = np.ones(len(y))
    goal = cuts.goal(rule, once, prevalence)
    threshold = cuts.middle(goal)
    taken = p >= threshold
    if rule == "prevalence":
        return Threshold(threshold, float(np.mean(taken)), 0.0)
    optimism = []
    _, unit = np.unique(units, return_inverse=True)
    n_units = int(unit.max()) + 1
    for draw in range(max(min(draws, _DRAWN // len(y)), 10)):
        drawn = (rng.uniform(rng.fold(key, draw), (n_units,)) * n_units).astype(np.int64)
        weights = np.bincount(drawn, minlength=n_units)[unit].astype(np.float64)
        if not 0 < np.sum(weights * y) < np.sum(weights):
            continue  # a class is absent: there is nothing to find
        there = cuts.goal(rule, weights, prevalence)
        at = cuts.number(cuts.middle(there))
        optimism.append(there[at] - goal[at])
    mean = max(float(np.mean(optimism)), 0.0) if optimism else 0.0
    return Threshold(threshold, float(goal[cuts.number(threshold)]), mean)


class _Thresholds:
    """All thresholds that decide differently: the k-th takes all but the k lowest values for positive.

    It lies in (ends[k], ends[k + 1]], of K distinct values that is k = 0 … K; 0 is among those of k = 0.
    """

    def __init__(self, y: Array, p: Array) -> None:
        values, self._which = np.unique(p, return_inverse=True)
        self._y = y
        self._ends = np.concatenate([[0.0], values, [1.0]])
        # Nothing lies above a value of 1, or below one of 0: there is no room for such a cut but at 0 itself.
        self._possible = np.diff(self._ends) > 0
        self._possible[0] = True

    def goal(self, rule: Rule, weights: Array, prevalence: float) -> NDArray[np.float64]:
        """What the rule makes highest, at each cut, with rows counted `weights` (N,) times."""
        n_values = len(self._ends) - 2
        positive = _above(np.bincount(self._which, weights=weights * self._y, minlength=n_values))
        negative = _above(np.bincount(self._which, weights=weights * (1 - self._y), minlength=n_values))
        if rule == "accuracy":
            found = (positive + negative[0] - negative) / (positive[0] + negative[0])
        elif rule == "f1":
            found = 2 * positive / (positive[0] + positive + negative)
        else:
            found = -np.abs((positive + negative) / (positive[0] + negative[0]) - prevalence)
        return np.where(self._possible, found, -np.inf)

    def middle(self, goal: NDArray[np.float64]) -> float:
        """The middle of the best plateau."""
        best = goal >= goal.max() - 1e-12
        if best[1:-1].any():
            best[[0, -1]] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], best, [False]]).astype(np.int8)))

        def worth(plateau: tuple[int, int]) -> tuple[float, float]:
            begin, end = plateau
            return self._ends[end] - self._ends[begin], -self._ends[begin]

        begin, end = max(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True), key=worth)
        low, high = float(self._ends[begin]), float(self._ends[end])
        middle = (low + high) / 2
        return middle if low < middle else high  # neighbouring numbers have none between them

    def number(self, threshold: float) -> int:
        """The cut that a threshold makes."""
        return int(np.searchsorted(self._ends[1:-1], threshold, side="left"))


def _above(counts: NDArray[Any]) -> NDArray[np.float64]:
    """(K,) counts by value to (K + 1,): how many lie at that value or above."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]]).astype(np.float64)
