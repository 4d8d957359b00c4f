"""Find columns that are the target with a few errors; they are reported, but not refused by training."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from sweepgrad.data.schema.column_types import as_numbers

# A copy with 1 % of errors in the table may have 2 % in the training rows.
WRONG = 0.02
_FEW = 12  # values: numeric columns with no more are treated as levels
_CHANCE = 1e-6


def near_copy(column: "pd.Series[Any]", y: NDArray[np.int8], *, numeric: bool) -> float | None:
    """Return the share of training rows whose target a column predicts; None if it is not a near-copy.

    The rule predicts the majority class of each level, or one class above a threshold and the other below. It
    may be wrong on at most 2 % of the rows (or one row) and on at most 40 % of the rows of the rarer class,
    and must be better than chance explains.

    Arguments:
        column: (N,), of the training rows; missing numbers count as below all others.
        y: their labels.
        numeric: whether its role is numeric; otherwise it is categorical.
    """
    n, rarer = y.size, int(min(y.sum(), y.size - y.sum()))
    values = as_numbers(column) if numeric else None
    if values is not None:  # NaN values are not equal to each other
        values = np.where(np.isnan(values), -np.inf, values)
    codes, levels = pd.factorize(column if values is None else values, use_na_sentinel=False)
    if len(levels) <= _FEW or (values is None and len(levels) <= n / 10):
        positives = np.bincount(codes, weights=y)
        wrong = int(np.minimum(positives, np.bincount(codes) - positives).sum())
        rules = 2.0 ** min(len(levels), 1000)
    elif values is not None:
        wrong, rules = _wrong_by_threshold(values, y), 2.0 * n
    else:
        return None
    if wrong > min(max(WRONG * n, 1), 0.4 * rarer) or rules * _by_chance(n, rarer, wrong) > _CHANCE:
        return None
    return 1 - wrong / n


def _wrong_by_threshold(values: NDArray[np.float64], y: NDArray[np.int8]) -> int:
    """Return the number of rows that the best threshold of values (N,), none of them NaN, misclassifies."""
    order = np.argsort(values, kind="stable")
    ordered, label = values[order], y[order].astype(np.int64)
    below = np.cumsum(label)  # positive rows up to each row
    ends = np.append(ordered[1:] != ordered[:-1], True)  # a threshold does not separate equal values
    n_below = np.arange(1, y.size + 1)
    wrong = (below + (y.size - n_below) - (below[-1] - below))[
        ends
    ]  # if the rows above are predicted positive
    least: int = int(np.minimum(wrong, y.size - wrong).min())
    return least


def _by_chance(n: int, rarer: int, wrong: int) -> float:
    """Return about how likely a given rule is wrong on at most `wrong` of n rows with random labels."""
    if wrong > 100:  # then n is at least 5,000, and the rarer class at least 250
        return 0.0
    ways = sum(float(comb(rarer, k)) * float(comb(n - rarer, wrong - k)) for k in range(wrong + 1))
    return float(ways / comb(n, rarer)) if np.isfinite(ways) else 0.0
