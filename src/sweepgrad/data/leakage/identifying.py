"""Check for columns that identify rows, which are useless for new rows."""

from typing import Any

import numpy as np
import pandas as pd

from sweepgrad.data.leakage.check import Feature, Numbers

_CHUNK = 1 << 16  # rows


def identifying(feature: Feature) -> str | None:
    """Return the problem if a column looks like an identifier."""
    numbers = feature.numbers
    how = _too_many_levels(feature.column) if numbers is None else _distinct_integers(numbers)
    return how and f"{feature.name} identifies rows ({how})"


def _too_many_levels(column: "pd.Series[Any]") -> str | None:
    """Return the reason if categorical values (N,) have too many levels to recur in new rows, else None."""
    present = column.dropna()
    n, levels = len(present), present.nunique()
    if levels > max(n / 3, 50) or levels == n >= 20:
        return f"{levels} levels in {n} training rows"
    return None


def _distinct_integers(values: Numbers) -> str | None:
    """Return the reason if values (N,) look like an identifier, else None.

    Identifiers are distinct integers in a narrow range or in order. Of n random integers in a range of size
    s, about n² / 2 s pairs are equal: n / 6 if s is 3 n, so no equal pair is conclusive from about 30 rows
    on; and 14 if s is n² / 28, so no equal pair has probability exp(-14).
    """
    absent = np.isnan(values)
    n = values.size - int(np.count_nonzero(absent))
    if n < 30 or _has_fractions(values):
        return None
    present = values if n == values.size else values[~absent]
    if np.all(present[1:] > present[:-1]) or np.all(present[1:] < present[:-1]):
        return "distinct integers in the order of the rows"
    ordered = np.sort(present)
    if np.all(ordered[1:] > ordered[:-1]) and ordered[-1] - ordered[0] + 1 <= max(3 * n, n * n / 28):
        return "distinct integers in a narrow range"
    return None


def _has_fractions(values: Numbers) -> bool:
    """Return whether any value (N,) is a fraction; the first chunks usually decide."""
    chunks = (values[start : start + _CHUNK] for start in range(0, values.size, _CHUNK))
    return any(bool(np.any(chunk != np.floor(chunk), where=~np.isnan(chunk))) for chunk in chunks)
