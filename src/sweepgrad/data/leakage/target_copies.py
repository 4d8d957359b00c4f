"""Columns that are the target with a few slips: no single one is refused for it, and all are named."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from sweepgrad.data.schema.column_types import as_numbers

# A copy in which one row of a hundred is wrong may have two wrong in a hundred of the training rows.
WRONG = 0.02
_FEW = 12  # values: fewer make a number column one of levels
_CHANCE = 1e-6


def near_copy(column: "pd.Series[Any]", y: NDArray[np.int8], *, numeric: bool) -> float | None:
    """The share of the training rows on which the column alone tells the target, if that is nearly all.

    A rule that takes each level for its commoner class, or a number for one class above a threshold and for
    the other below, may err on 2 % of the rows, of a few on one, and by two fifths of the rarer class, and
    must be better than chance could make any.

    Arguments:
        column: (N,), of the training rows; missing numbers count as below all others.
        y: their labels.
        numeric: its role, else it is categorical.
    """
    n, rarer = y.size, int(min(y.sum(), y.size - y.sum()))
    values = as_numbers(column) if numeric else None
    if values is not None:  # no NaN equals another, so each would end a run of equal ones
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
    """How many rows the best threshold of values (N,), none of them NaN, puts on the wrong side."""
    order = np.argsort(values, kind="stable")
    ordered, label = values[order], y[order].astype(np.int64)
    below = np.cumsum(label)  # positive rows up to each row
    ends = np.append(ordered[1:] != ordered[:-1], True)  # a threshold parts no equal values
    taken = np.arange(1, y.size + 1)
    wrong = (below + (y.size - taken) - (below[-1] - below))[ends]  # if the rows above are taken for positive
    least: int = int(np.minimum(wrong, y.size - wrong).min())
    return least


def _by_chance(n: int, rarer: int, wrong: int) -> float:
    """About how likely labels in random order are off from a given rule in no more than `wrong` of n rows."""
    if wrong > 100:  # of 5,000 rows at least, and no more than two fifths of the rarer class
        return 0.0
    ways = sum(float(comb(rarer, k)) * float(comb(n - rarer, wrong - k)) for k in range(wrong + 1))
    return float(ways / comb(n, rarer)) if np.isfinite(ways) else 0.0
