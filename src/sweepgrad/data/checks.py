"""Columns that a model should not learn from, found on the training rows alone."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from sweepgrad.data.columns import as_numbers
from sweepgrad.data.table import Table
from sweepgrad.metrics import roc_auc

# A column that says the target on this share of the rows hardly measured it, it was made from it.
REVEALING = 0.995
# How often chance alone may make a column look like that, before we speak of it.
CHANCE = 1e-4


@dataclass(frozen=True)
class Objection:
    """What is wrong with a column: the same value everywhere, an identifier, or the target in disguise."""

    column: str
    kind: Literal["constant", "identifying", "revealing"]
    reason: str


def examine(train: Table, keep: Collection[str] = ()) -> tuple[Objection, ...]:
    """Object to feature columns of the training rows, at most once to each, never to those in `keep`."""
    found = []
    for name in train.roles.features:
        if name not in keep:
            column = train.frame[name]
            numeric = name in train.roles.numeric
            objection = (
                _constant(column) or _revealing(column, train, numeric) or _identifying(column, numeric)
            )
            if objection:
                found.append(objection)
    return tuple(found)


def _constant(column: "pd.Series[Any]") -> Objection | None:
    if column.nunique(dropna=False) > 1:
        return None
    value = column.iloc[0]
    what = "is missing" if pd.isna(value) else f"is {value}"
    return Objection(str(column.name), "constant", f"{column.name} {what} in every training row")


def _revealing(column: "pd.Series[Any]", train: Table, numeric: bool) -> Objection | None:
    how = _separates_by_value(column, train.y) if numeric else _separates_by_level(column, train.y)
    if how is None:
        return None
    return Objection(
        str(column.name), "revealing", f"{column.name} alone predicts {train.roles.target} ({how})"
    )


def _separates_by_value(column: "pd.Series[Any]", y: NDArray[np.float64]) -> str | None:
    values = as_numbers(column)
    present = ~np.isnan(values)
    # That a value is missing may itself be the sign, so the second time missing counts as below all others.
    for score, label in ((values[present], y[present]), (np.where(present, values, -np.inf), y)):
        if _by_chance(label) < CHANCE:
            auc = roc_auc(label, score)
            if max(auc, 1 - auc) >= REVEALING:
                return f"ROC AUC {auc:.3f}"
    return None


def _separates_by_level(column: "pd.Series[Any]", y: NDArray[np.float64]) -> str | None:
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


def _by_chance(y: NDArray[np.float64]) -> float:
    """The probability that a column which has nothing to do with the labels y (N,) sorts them perfectly."""
    return float(2 / comb(y.size, int(y.sum())))


def _identifying(column: "pd.Series[Any]", numeric: bool) -> Objection | None:
    present = column.dropna()
    n, levels = len(present), present.nunique()
    if numeric:
        how = _numbers_the_rows(as_numbers(present))
    elif levels > max(n / 3, 50) or levels == n >= 20:
        how = f"{levels} levels in {n} training rows"
    else:
        how = None
    if how is None:
        return None
    return Objection(str(column.name), "identifying", f"{column.name} identifies rows ({how})")


def _numbers_the_rows(values: NDArray[np.float64]) -> str | None:
    """Whether (N,) values look like an identifier: whole numbers, no two alike, and dense or in order.

    Of n numbers measured at random within a span of 3 n about n / 6 pairs are alike, so none at all is
    telling from some 30 rows on. Fractions are never identifiers.
    """
    n = values.size
    if n < 30 or np.any(values != np.floor(values)) or np.unique(values).size < n:
        return None
    if np.all(np.diff(values) > 0) or np.all(np.diff(values) < 0):
        return "whole numbers in the order of the rows"
    if values.max() - values.min() + 1 <= 3 * n:
        return "whole numbers without gaps to speak of, no two alike"
    return None
