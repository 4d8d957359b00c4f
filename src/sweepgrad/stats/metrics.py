"""The registry of metrics, and functions for single metrics, intervals and tests.

Functions take labels y and probabilities p, both of shape (N,). A registered `Metric` takes labels and the
network's scores, which are log-odds for a binary target: probabilities may round to 0 or 1, which would
change ranks and losses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtrit, xlogy

Array = NDArray[np.floating[Any]]

_CHUNK = 1 << 18  # rows at a time, to save memory


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric by which models are evaluated and compared.

    Attributes:
        name: its name in `select.metric` and in records.
        title: its name in a sentence.
        heading: its column heading in the leaderboard.
        abbreviation: its column heading on the card.
        sign: 1 if higher is better, -1 if lower is better.
        value: computes it from labels (N,), scores (N,) and the threshold on the probability; most metrics
            ignore the threshold.
        contributions: computes the contribution of each row, (N,), from labels and scores. Their mean is
            `sign` times the metric, at the threshold ½ if it has one. Candidates are compared by them row by
            row.
        percent: whether it is a share that is shown in percent.
        digits: decimals in a table, if it is not in percent.
        tasks: the names of the tasks that it applies to.
        bounds: its lowest and highest value.
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
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def key(self) -> str:
        """Its name in a run's records, for validation rows at the best epoch."""
        return f"{BEST}{self.name}"

    def figure(self, value: float) -> str:
        """Format a value for a sentence."""
        return f"{value:.1%}" if self.percent else f"{value:.4f}"

    def cell(self, value: float) -> str:
        """Format a value for a table."""
        return f"{value:.1%}" if self.percent else f"{value:.{self.digits}f}"

    def progress(self, value: float) -> str:
        """Format a value for a progress line; it may be very large."""
        if self.percent:
            return f"{value:.3f}"
        return f"{value:.4f}" if value < 1e4 else f"{value:.3g}"

    def gap(self, value: float) -> str:
        """Format a difference of two values, with its unit."""
        return f"{100 * value:.1f} points" if self.percent else f"{value:.4f}"

    def signed_gap(self, value: float) -> str:
        """Format a difference of two values, with its sign but without its unit."""
        return f"{100 * value:+.1f}" if self.percent else f"{value:+.4f}"


BEST = "best/val/"
METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> None:
    """Add a metric to the registry; use `tasks.add_metric` to make it known to `select.metric` too.

    Raises:
        ValueError: if its name is taken.
    """
    if metric.name in METRICS:
        raise ValueError(f"a metric {metric.name!r} is registered already")
    METRICS[metric.name] = metric


def accuracy(y: Array, p: Array, threshold: float = 0.5) -> float:
    """Return the share of rows where p ≥ threshold agrees with y."""
    return float(np.mean((p >= threshold) == (y == 1)))


def nll(y: Array, p: Array) -> float:
    """Return the mean negative log-likelihood in nats; infinite if a label has probability 0."""
    with np.errstate(divide="ignore"):
        return float(-np.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)))


def roc_auc(y: NDArray[Any], p: Array) -> float:
    """Return the probability that a positive row scores above a negative one, with ties counting half.

    It is the Mann-Whitney statistic (1947), computed with integers. NaN if a class is absent.
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
    """Return the mean negative log-likelihood, accurate even where probabilities round to 0 or 1."""
    return float(np.mean(np.logaddexp((1 - 2 * y.astype(scores.dtype)) * scores, 0)))


def _nll_contributions(y: Array, scores: Array) -> Array:
    return np.asarray(-np.logaddexp(0.0, (1 - 2 * y) * scores), dtype=np.float64)


def _roc_auc_contributions(y: Array, scores: Array) -> Array:
    """Return the Hájek projection of ROC AUC, centred on it.

    A positive row contributes the share of negative rows below it, a negative row the share of positive rows
    above it (DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988). NaN if a class is absent.
    """
    area, is_positive = roc_auc(y, scores), y == 1
    contributions = np.empty(len(y))
    for mask in (is_positive, ~is_positive):
        others, own = np.sort(scores[~mask]), scores[mask]
        below = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
        share = below / max(2 * others.size, 1)
        right = share if mask is is_positive else 1 - share
        contributions[mask] = area + (right - area) * len(y) / max(right.size, 1)
    return contributions


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
        bounds=(0, 1),
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
        bounds=(0, math.inf),
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
        bounds=(0, 1),
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
    """Return Wilson's interval (1927) for the accuracy, with the effective number of rows.

    Rows of the same unit tend to be right or wrong together, so their number is divided by the design effect
    (Kish, "Survey Sampling", 1965) if that is above 1: the variance of the accuracy over units, divided by
    that of independent rows. For few and unequal units, the former is the jackknife's, and the quantile is
    Student's with Kish's effective number of units minus 1 degrees of freedom.

    Arguments:
        units: (N,), the unit of each row, numbered from 0; None if every row is its own unit.
        threshold: rows with p ≥ threshold are predicted positive.
    """
    right = ((p >= threshold) == (y == 1)).astype(np.float64)
    share, n = float(right.mean()), float(len(y))
    z = float(ndtri((1 + confidence) / 2))
    if units is not None and 0 < share < 1:
        sizes = np.bincount(units)
        n_units = int(np.count_nonzero(sizes))
        if n_units > 1:
            # the change of the share without the unit
            off = np.bincount(units, weights=right - share) / (n - sizes)
            between = (n_units - 1) / n_units * float(np.sum(off**2))
            effect = between / (share * (1 - share) / n)
            if effect > 1:
                effective_units = n**2 / float(np.sum(sizes.astype(np.float64) ** 2))
                z = float(stdtrit(max(effective_units - 1, 1.0), (1 + confidence) / 2))
                n /= effect
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def p_value_of_difference(
    y: Array, p: Array, q: Array, units: NDArray[np.int64] | None = None, *, threshold: float = 0.5
) -> float:
    """Return the two-sided p-value of the difference in accuracy of p and q.

    This is McNemar's test (1947) without continuity correction; with units, its form for clustered pairs,
    which first sums the differences within each unit (after Obuchowski, Statistics in Medicine 17, 1998).

    Arguments:
        units: see `accuracy_interval`.
        threshold: for p; that for q is 0.5.
    """
    right_p, right_q = (p >= threshold) == (y == 1), (q >= 0.5) == (y == 1)
    return p_value_of_sum(right_p.astype(np.float64) - right_q, units)


def p_value_of_sum(difference: Array, units: NDArray[np.int64] | None = None) -> float:
    """Return the two-sided p-value of the sum of differences (N,), each of which is symmetric about 0.

    For differences of correct predictions this is McNemar's test; for costs it is its analogue.
    """
    if units is not None:
        difference = np.asarray(np.bincount(units, weights=difference), dtype=np.float64)
    spread = sqrt(float(np.sum(difference**2)))
    return erfc(abs(float(difference.sum())) / spread / sqrt(2)) if spread > 0 else 1.0


def confusion(y: Array, p: Array, threshold: float = 0.5) -> dict[str, int]:
    """Return the confusion matrix; rows with p ≥ threshold are predicted positive."""
    predicted, is_positive = p >= threshold, y == 1
    return {
        "true_positive": int(np.sum(predicted & is_positive)),
        "false_positive": int(np.sum(predicted & ~is_positive)),
        "true_negative": int(np.sum(~predicted & ~is_positive)),
        "false_negative": int(np.sum(~predicted & is_positive)),
    }


def f1(counts: dict[str, int]) -> float:
    """Return the harmonic mean of precision and recall of a confusion matrix; 0 without a true positive."""
    twice = 2 * counts["true_positive"]
    return twice / max(twice + counts["false_positive"] + counts["false_negative"], 1)


def costs(y: Array, predicted: NDArray[np.bool_], false_positive: float, false_negative: float) -> Array:
    """Return the cost of each row's prediction, (N,); 0 where it is right."""
    return np.where(predicted, (1 - y) * false_positive, y * false_negative)
