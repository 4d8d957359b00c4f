"""Measure how good predictions are: the registry of metrics, and plain functions beside it.

Functions take labels y and probabilities p, both of shape (N,). A registered `Metric` takes labels and
scores, as the network gives them: of a binary target the log-odds, since probabilities round to 0 and 1, and
then neither rank nor count rows rightly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtrit, xlogy

Array = NDArray[np.floating[Any]]

_CHUNK = 1 << 18  # rows at a time, where more would only take memory


@dataclass(frozen=True, eq=False)
class Metric:
    """A figure that models are judged and compared by.

    Attributes:
        name: as `select.metric` and records have it.
        title: what it is called in a sentence.
        heading: what it is called above a column of the leaderboard.
        abbreviation: what it is called above a column of the card.
        sign: 1 where more is better, -1 where less is.
        value: the metric from labels (N,), scores (N,) and the threshold on the probability; most need no
            threshold.
        contributions: what each row adds, (N,), from labels and scores: their mean is `sign` times the
            metric, at the threshold ½ where it has one. Candidates are compared row by row by them.
        percent: whether it is a share that people read in percent.
        digits: behind the point in a table, where it is not in percent.
        tasks: the names of the tasks that have it.
    """

    name: str
    title: str
    heading: str
    abbreviation: str
    sign: Literal[1, -1]
    value: Callable[[NDArray[Any], Array, float], float]
    contributions: Callable[[Array, Array], Array]
    percent: bool = False
    digits: int = 4
    tasks: tuple[str, ...] = ("binary",)

    @property
    def key(self) -> str:
        """The name under which a run records it, of the best epoch on validation rows."""
        return f"{BEST}{self.name}"

    def figure(self, value: float) -> str:
        """Return a value for a sentence."""
        return f"{value:.1%}" if self.percent else f"{value:.4f}"

    def cell(self, value: float) -> str:
        """Return a value for a table."""
        return f"{value:.1%}" if self.percent else f"{value:.{self.digits}f}"

    def progress(self, value: float) -> str:
        """Return a value for a line of progress; it may be huge."""
        if self.percent:
            return f"{value:.3f}"
        return f"{value:.4f}" if value < 1e4 else f"{value:.3g}"

    def gap(self, value: float) -> str:
        """Return a difference of two values, with its unit."""
        return f"{100 * value:.1f} points" if self.percent else f"{value:.4f}"

    def signed_gap(self, value: float) -> str:
        """Return a difference of two values, with its sign and without its unit."""
        return f"{100 * value:+.1f}" if self.percent else f"{value:+.4f}"


BEST = "best/val/"
METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> None:
    """Add a metric to those that a run reports and `select.metric` may name (see `tasks.add_metric`).

    Raises:
        ValueError: its name is taken.
    """
    if metric.name in METRICS:
        raise ValueError(f"a metric {metric.name!r} is registered already")
    METRICS[metric.name] = metric


def accuracy(y: Array, p: Array, threshold: float = 0.5) -> float:
    """The share of rows where p ≥ threshold agrees with y."""
    return float(np.mean((p >= threshold) == (y == 1)))


def nll(y: Array, p: Array) -> float:
    """The mean negative log-likelihood, in nats; infinite where something held impossible happened."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)))


def roc_auc(y: NDArray[Any], p: Array) -> float:
    """The probability that a positive row is scored above a negative one, ties counting half.

    The statistic of Mann & Whitney (1947), counted in whole numbers. NaN when a class is absent.
    """
    positive, negative = np.sort(p[y == 1]), np.sort(p[y != 1])
    if positive.size * negative.size == 0:
        return float("nan")
    twice = 0
    for start in range(0, positive.size, _CHUNK):
        some = positive[start : start + _CHUNK]
        twice += int(np.searchsorted(negative, some, "left").sum())
        twice += int(np.searchsorted(negative, some, "right").sum())
    return twice / (2 * positive.size * negative.size)


def _accuracy_contributions(y: Array, scores: Array) -> Array:
    return np.asarray((expit(scores) >= 0.5) == (y == 1), dtype=np.float64)


def _nll_of_scores(y: Array, scores: Array, _: float) -> float:
    """Return the mean negative log-likelihood, exact where probabilities round to 0 or 1."""
    return float(np.mean(np.logaddexp((1 - 2 * y.astype(scores.dtype)) * scores, 0)))


def _nll_contributions(y: Array, scores: Array) -> Array:
    return np.asarray(-np.logaddexp(0.0, (1 - 2 * y) * scores), dtype=np.float64)


def _roc_auc_contributions(y: Array, scores: Array) -> Array:
    """Return the Hájek projection of the area under the curve, centred on it.

    A positive row counts by the share of negative rows below it, a negative row by the share of positive ones
    above (DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988). NaN when a class is absent.
    """
    area, is_positive = roc_auc(y, scores), y == 1
    placed = np.empty(len(y))
    for these in (is_positive, ~is_positive):
        others, mine = np.sort(scores[~these]), scores[these]
        below = np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")
        share = below / max(2 * others.size, 1)
        own = share if these is is_positive else 1 - share
        placed[these] = area + (own - area) * len(y) / max(own.size, 1)
    return placed


register(
    Metric(
        "accuracy",
        title="accuracy",
        heading="accuracy",
        abbreviation="accuracy",
        sign=1,
        value=lambda y, scores, threshold: accuracy(y, expit(scores), threshold),
        contributions=_accuracy_contributions,
        percent=True,
    )
)
register(
    Metric(
        "nll",
        title="negative log-likelihood",
        heading="nll",
        abbreviation="NLL",
        sign=-1,
        value=_nll_of_scores,
        contributions=_nll_contributions,
    )
)
register(
    Metric(
        "roc_auc",
        title="ROC AUC",
        heading="ROC AUC",
        abbreviation="ROC AUC",
        sign=1,
        value=lambda y, scores, _: roc_auc(y, scores),
        contributions=_roc_auc_contributions,
        digits=3,
    )
)


def accuracy_interval(
    y: Array,
    p: Array,
    confidence: float = 0.95,
    *,
    units: NDArray[np.int64] | None = None,
    threshold: float = 0.5,
) -> tuple[float, float]:
    """An interval for the accuracy on rows like these: Wilson's (1927), with the effective number of rows.

    Rows of the same unit tend to be right or wrong together, so they count for less than independent ones:
    their number is divided by the design effect (Kish, "Survey Sampling", 1965), the variance of the accuracy
    between units over that of independent rows, where that is above 1. The former is the jackknife's, and the
    quantile then Student's, with one degree of freedom less than Kish's effective number of units: few and
    unequal units need both.

    Arguments:
        units: (N,), the unit of each row, numbered from 0; None when every row is a unit of its own.
        threshold: the probability from which on a row is taken for positive.
    """
    right = ((p >= threshold) == (y == 1)).astype(np.float64)
    share, n = float(right.mean()), float(len(y))
    z = float(ndtri((1 + confidence) / 2))
    if units is not None and 0 < share < 1:
        sizes = np.bincount(units)
        n_units = int(np.count_nonzero(sizes))
        if n_units > 1:
            off = np.bincount(units, weights=right - share) / (n - sizes)  # by so much without the unit
            between = (n_units - 1) / n_units * float(np.sum(off**2))
            effect = between / (share * (1 - share) / n)
            if effect > 1:
                alike = n**2 / float(
                    np.sum(sizes.astype(np.float64) ** 2)
                )  # as many equal units, n_units at most
                z = float(stdtrit(max(alike - 1, 1.0), (1 + confidence) / 2))
                n /= effect
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def p_value_of_difference(
    y: Array, p: Array, q: Array, units: NDArray[np.int64] | None = None, *, threshold: float = 0.5
) -> float:
    """How likely accuracies of p and q as different as these are if neither is better; two-sided.

    McNemar's test (1947) without correction; with units, its form for clustered pairs, which sums the
    differences within each unit first (after Obuchowski, Statistics in Medicine 17, 1998).

    Arguments:
        units: as for `accuracy_interval`.
        threshold: of p; that of q is 0.5.
    """
    right_p, right_q = (p >= threshold) == (y == 1), (q >= 0.5) == (y == 1)
    return p_value_of_sum(right_p.astype(np.float64) - right_q, units)


def p_value_of_sum(difference: Array, units: NDArray[np.int64] | None = None) -> float:
    """How likely differences (N,) add up to so much if each is as likely the other way round; two-sided.

    Of rows right against wrong this is McNemar's test; of costs, its like.
    """
    if units is not None:
        difference = np.asarray(np.bincount(units, weights=difference), dtype=np.float64)
    spread = sqrt(float(np.sum(difference**2)))
    return erfc(abs(float(difference.sum())) / spread / sqrt(2)) if spread > 0 else 1.0


def confusion(y: Array, p: Array, threshold: float = 0.5) -> dict[str, int]:
    """Rows by what they are and what they are taken for, which is positive at p ≥ threshold."""
    taken, is_positive = p >= threshold, y == 1
    return {
        "true_positive": int(np.sum(taken & is_positive)),
        "false_positive": int(np.sum(taken & ~is_positive)),
        "true_negative": int(np.sum(~taken & ~is_positive)),
        "false_negative": int(np.sum(~taken & is_positive)),
    }


def f1(counted: dict[str, int]) -> float:
    """The harmonic mean of precision and recall of what `confusion` counted; 0 without a true positive."""
    twice = 2 * counted["true_positive"]
    return twice / max(twice + counted["false_positive"] + counted["false_negative"], 1)


def costs(y: Array, taken: NDArray[np.bool_], false_positive: float, false_negative: float) -> Array:
    """What each row's answer costs, (N,): nothing where it is right."""
    return np.where(taken, (1 - y) * false_positive, y * false_negative)
