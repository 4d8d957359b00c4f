"""Columns that identify rows: what is learned from them is of no use for new ones."""

from typing import Any

import numpy as np
import pandas as pd

from sweepgrad.data.leakage.check import Feature, Numbers

_CHUNK = 1 << 16  # rows


def identifying(feature: Feature) -> str | None:
    """Object to a column that looks like an identifier."""
    numbers = feature.numbers
    how = _names_the_rows(feature.column) if numbers is None else _numbers_the_rows(numbers)
    return how and f"{feature.name} identifies rows ({how})"


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
