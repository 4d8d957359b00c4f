"""Columns with the same value in every row: they do no harm, and teach nothing."""

import numpy as np
import pandas as pd

from sweepgrad.data.leakage.check import Feature


def constant(feature: Feature) -> str | None:
    """Object to a column that has one value, or none at all."""
    column, numbers = feature.column, feature.numbers
    if numbers is None:
        same = column.nunique(dropna=False) == 1
    else:  # where a value is missing, the least one is NaN, and no number equals that
        same = bool(numbers.min() == numbers.max() or np.isnan(numbers).all())
    if not same:
        return None
    value = column.iloc[0]
    return f"{feature.name} {'is missing' if pd.isna(value) else f'is {value}'} in every training row"
