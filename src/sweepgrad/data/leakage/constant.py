"""Check for columns with the same value in every row, which carry no information."""

import numpy as np
import pandas as pd

from sweepgrad.data.leakage.check import Feature


def constant(feature: Feature) -> str | None:
    """Return the problem if a column has one value or none."""
    column, numbers = feature.column, feature.numbers
    if numbers is None:
        same = column.nunique(dropna=False) == 1
    else:  # with a missing value, min is NaN, which equals nothing
        same = bool(numbers.min() == numbers.max() or np.isnan(numbers).all())
    if not same:
        return None
    value = column.iloc[0]
    shown = "missing" if pd.isna(value) else repr(value) if isinstance(value, str) else value
    return f"{feature.name} is {shown} in every training row"
