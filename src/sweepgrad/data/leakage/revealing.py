"""Columns that give the target away: they hardly measured it, they were made from it."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import comb

from sweepgrad.data.leakage.check import Feature, Labels, Numbers
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.binary import BINARY

# A column that says the target on this share of the rows hardly measured it, it was made from it.
REVEALING = 0.995
# How often chance alone may make a column look like that, before we speak of it.
CHANCE = 1e-4


def revealing(feature: Feature) -> str | None:
    """Object to a column that alone predicts the target."""
    if feature.numbers is None:
        how = _separates_by_level(feature.column, feature.y)
    else:
        how = _separates_by_value(feature.numbers, feature.y)
    return how and f"{feature.name} alone predicts {feature.target} ({how})"


def _separates_by_value(values: Numbers, y: Labels) -> str | None:
    absent = np.isnan(values)
    some = bool(absent.any())
    # That a value is missing may itself be the sign, so the second time missing counts as below all others.
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
    # In hindsight a level with a row or two is always right; a third as many levels as rows leaves enough.
    if _by_chance(y) >= CHANCE or len(levels) > y.size / 3:
        return None
    positives = np.bincount(codes, weights=y)
    negatives = np.bincount(codes, weights=1 - y)
    right_positive = positives[positives > negatives].sum() / positives.sum()
    right_negative = negatives[negatives > positives].sum() / negatives.sum()
    # Both classes: where 99.9 % of rows are negative, every column is right on 99.9 % of them.
    if min(right_positive, right_negative) < REVEALING:
        return None
    return (
        f"its levels sort {right_positive:.1%} of positive and {right_negative:.1%} of negative rows rightly"
    )


def _by_chance(y: Labels) -> float:
    """The probability that a column which has nothing to do with the labels y (N,) sorts them perfectly."""
    return float(2 / comb(y.size, int(y.sum())))
