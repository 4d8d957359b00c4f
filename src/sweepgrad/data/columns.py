"""What the values of one column mean: a number, or a level of a category."""

import math
from numbers import Number
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from sweepgrad.errors import UserError


def kind_of(column: "pd.Series[Any]") -> Literal["numeric", "categorical"] | None:
    """Which role a column's type speaks for; None for types that cannot be learned from."""
    dtype = column.dtype
    if types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
        return "categorical"
    if types.is_numeric_dtype(dtype):
        return None if types.is_complex_dtype(dtype) else "numeric"
    match types.infer_dtype(column, skipna=True):
        case "string":
            # Mostly numbers, but not all: a number column with a slip in it, most likely. `as_numbers` will
            # name its row. All numbers, but stored as text: codes, or a CSV would have read as numbers.
            readable = pd.to_numeric(column.dropna().astype(object), errors="coerce").notna()
            return "numeric" if 0.5 < readable.mean() < 1 else "categorical"
        case "boolean" | "empty":
            return "categorical"
        case "integer" | "floating" | "decimal" | "mixed-integer-float":
            return "numeric"
    return None


def as_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """The values as float64, shape (N,); missing ones are NaN, booleans 0 and 1.

    Raises:
        UserError: naming column, row (from 1) and value, for text or an infinite number. Digits stored as
            text are text too: whether they mean a number is for the user to say.
    """
    if types.is_bool_dtype(column.dtype) or (
        types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)
    ):
        plain = column
    else:
        plain = column.astype(object)
        strange = plain.notna() & ~plain.map(lambda value: isinstance(value, Number | np.bool_))
        if strange.any():
            position = _first_that_is_no_number(plain, strange)
            value = plain.iloc[position]
            raise UserError(f"column {str(column.name)!r}: row {position + 1} holds {value!r}, not a number")
        plain = plain.where(plain.notna(), np.nan)
    values = plain.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise UserError(f"column {str(column.name)!r}: row {infinite[0] + 1} holds an infinite value")
    return values


def as_level(value: object) -> str:
    """A categorical value as text: the same for 1, 1.0 and "1", since a reader of files may give any of them.

    (One missing value makes a column of whole numbers float; one word makes it text.)
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(value)


def level_order(level: str) -> tuple[bool, float, str]:
    """The sort key of levels: numbers by their value, before words by the alphabet."""
    try:
        number = float(level)
    except ValueError:
        number = math.nan
    # "nan" and "inf" are words here: nothing can be sorted by the former.
    return (False, number, level) if math.isfinite(number) else (True, 0.0, level)


def _first_that_is_no_number(column: "pd.Series[Any]", strange: "pd.Series[bool]") -> int:
    """The position of the first strange value, one that cannot be read as a number if there is one."""
    positions = np.flatnonzero(strange)
    readable = pd.to_numeric(column.iloc[positions].astype(str), errors="coerce").notna().to_numpy()
    return int(positions[np.argmin(readable)])
