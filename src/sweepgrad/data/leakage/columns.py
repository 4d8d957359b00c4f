"""Columns that a model should not learn from, found on the training rows alone."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from sweepgrad.data.schema.column_types import as_numbers
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.binary import BINARY

# A column that says the target on this share of the rows hardly measured it, it was made from it.
REVEALING = 0.995
# How often chance alone may make a column look like that, before we speak of it.
CHANCE = 1e-4

Numbers = NDArray[np.float64]

_CHUNK = 1 << 16  # rows


@dataclass(frozen=True)
class Objection:
    """What is wrong with a column: the same value everywhere, an identifier, or the target in disguise."""

    column: str
    kind: Literal["constant", "identifying", "revealing"]
    reason: str


def examine(column: "pd.Series[Any]", y: NDArray[np.int8], *, numeric: bool, target: str) -> Objection | None:
    """Object to a feature column (N,) of the training rows with labels y (N,), or do not.

    Arguments:
        numeric: its role, else it is categorical.
        target: the name of what the labels are of.
    """
    name = str(column.name)
    values = as_numbers(column) if numeric else None
    if _is_constant(column, values):
        value = column.iloc[0]
        what = "is missing" if pd.isna(value) else f"is {value}"
        return Objection(name, "constant", f"{name} {what} in every training row")
    how = _separates_by_level(column, y) if values is None else _separates_by_value(values, y)
    if how is not None:
        return Objection(name, "revealing", f"{name} alone predicts {target} ({how})")
    how = _names_the_rows(column) if values is None else _numbers_the_rows(values)
    if how is not None:
        return Objection(name, "identifying", f"{name} identifies rows ({how})")
    return None


def _is_constant(column: "pd.Series[Any]", values: Numbers | None) -> bool:
    if values is None:
        return column.nunique(dropna=False) == 1
    # Where a value is missing, the least one is NaN, and no number equals that.
    return bool(values.min() == values.max() or np.isnan(values).all())


def _separates_by_value(values: Numbers, y: NDArray[np.int8]) -> str | None:
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


def _separates_by_level(column: "pd.Series[Any]", y: NDArray[np.int8]) -> str | None:
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


def _by_chance(y: NDArray[np.int8]) -> float:
    """The probability that a column which has nothing to do with the labels y (N,) sorts them perfectly."""
    return float(2 / comb(y.size, int(y.sum())))


def _names_the_rows(column: "pd.Series[Any]") -> str | None:
    """Whether categorical values (N,) look like names: too many levels for them to recur in new rows."""
    present = column.dropna()
    n, levels = len(present), present.nunique()
    if levels > max(n / 3, 50) or levels == n >= 20:
        return f"{levels} levels in {n} training rows"
    return None


def _numbers_the_rows(values: Numbers) -> str | None:
    """Whether (N,) values look like an identifier: whole numbers, no two alike, and dense or in order.

    Of n numbers measured at random within a span of s about n² / 2 s pairs are alike: n / 6 if s is 3 n, so
    none at all is telling from some 30 rows on; and 14 if s is n² / 28: none has a chance of exp(-14).
    Fractions are never identifiers.
    """
    absent = np.isnan(values)
    n = values.size - int(np.count_nonzero(absent))
    if n < 30 or _has_fractions(values):
        return None
    present = values if n == values.size else values[~absent]
    if np.all(present[1:] > present[:-1]) or np.all(present[1:] < present[:-1]):
        return "whole numbers in the order of the rows"
    lined_up = np.sort(present)
    if np.all(lined_up[1:] > lined_up[:-1]) and lined_up[-1] - lined_up[0] + 1 <= max(3 * n, n * n / 28):
        return "whole numbers so dense that some would be alike, and none are"
    return None


def _has_fractions(values: Numbers) -> bool:
    """Most columns that have any have one early, so the rest is not looked at."""
    chunks = (values[start : start + _CHUNK] for start in range(0, values.size, _CHUNK))
    return any(bool(np.any(chunk != np.floor(chunk), where=~np.isnan(chunk))) for chunk in chunks)
