"""Check for columns that reveal the target because they were derived from it."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import comb

from sweepgrad.data.leakage.check import Feature, Labels, Numbers
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.binary import BINARY

# A column that predicts the target on this share of rows was most likely derived from it.
REVEALING = 0.995
# The largest probability that a random column does so, for a column to be reported.
CHANCE = 1e-4


def revealing(feature: Feature) -> str | None:
    """Return the problem if a column alone predicts the target."""
    if feature.numbers is None:
        how = _separates_by_level(feature.column, feature.y)
    else:
        how = _separates_by_value(feature.numbers, feature.y)
    return how and f"{feature.name} alone predicts {feature.target} ({how})"


def _separates_by_value(values: Numbers, y: Labels) -> str | None:
    absent = np.isnan(values)
    some = bool(absent.any())
    # A missing value may itself reveal the target, so the second try ranks it below all others.
    tries = [(values[~absent], y[~absent]), (np.where(absent, -np.inf, values), y)] if some else [(values, y)]
    for score, label in tries:
        if _by_chance(label) < CHANCE:
            ranking = METRICS[BINARY.ranking]
            area = ranking.value(label, score, 0.5)
            if max(area, 1 - area) >= REVEALING:
                return f"{ranking.title} {ranking.cell(area)}"
    return None


def _separates_by_level(column: "pd.Series[Any]", y: Labels) -> str | None:
    codes, levels = pd.factorize(column, use_na_sentinel=False)
    # A level with one or two rows always predicts them, so there must be at least three rows per level.
    if _by_chance(y) >= CHANCE or len(levels) > y.size / 3:
        return None
    positives = np.bincount(codes, weights=y)
    negatives = np.bincount(codes, weights=1 - y)
    right_positive = positives[positives > negatives].sum() / positives.sum()
    right_negative = negatives[negatives > positives].sum() / negatives.sum()
    # Both classes count: where 99.9 % of rows are negative, every column has 99.9 % accuracy.
    if min(right_positive, right_negative) < REVEALING:
        return None
    return f"its levels predict {right_positive:.1%} of positive and {right_negative:.1%} of negative rows"


def _by_chance(y: Labels) -> float:
    """Return the probability that a column independent of the labels y (N,) separates them perfectly."""
    return float(2 / comb(y.size, int(y.sum())))
