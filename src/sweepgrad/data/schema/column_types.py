"""Column types: numbers, or the levels of a category."""

import math
from collections.abc import Iterable
from numbers import Number
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from sweepgrad.errors import UserError

Kind = Literal["numeric", "categorical"]


def kind_of(blocks: Iterable["pd.Series[Any]"]) -> Kind | None:
    """Return the role that fits the type of a column; None for types that are not supported.

    Arguments:
        blocks: the column, from its first row to its last; reading stops when the type is known.
    """
    found: Kind | None = None
    texts = readable = 0
    for block in blocks:
        dtype = block.dtype
        if types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
            return "categorical"
        if types.is_numeric_dtype(dtype):
            return None if types.is_complex_dtype(dtype) else "numeric"
        match types.infer_dtype(block, skipna=True):
            case "empty":
                continue
            case "string":
                counts = block.value_counts()  # without missing values; each text is parsed once
                digits = pd.to_numeric(counts.index.to_series().astype(object), errors="coerce")
                texts += int(counts.sum())
                readable += int(counts[digits.notna().to_numpy()].sum())
                kind: Kind = "categorical"
            case "boolean":
                kind = "categorical"
            case "integer" | "floating" | "decimal" | "mixed-integer-float":
                kind = "numeric"
            case _:
                return None
        if found not in (None, kind):
            return None
        found = kind
    # Mostly numbers: probably a numeric column with a typing error, whose row `check_numbers` will name.
    # All numbers, but stored as text: codes, since a CSV reader would have parsed plain numbers.
    if texts / 2 < readable < texts:
        return "numeric"
    return found or "categorical"


def as_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return the values as float64, shape (N,); missing ones are NaN, booleans 0 and 1.

    Raises:
        UserError: as `check_numbers` does.
    """
    check_numbers([column])
    plain = column if _is_numbers(column) else column.astype(object).where(column.notna(), np.nan)
    return plain.to_numpy(dtype=np.float64, na_value=np.nan)


def check_numbers(blocks: Iterable["pd.Series[Any]"]) -> None:
    """Check that a column holds numbers.

    Raises:
        UserError: for text or an infinite number, with column, row (from 1) and value. Digits stored as text
            are text too, since only the user knows whether they are numbers.
    """
    rows, digits = 0, None
    for block in blocks:
        if _is_numbers(block):
            plain = block
        else:
            plain = block.astype(object)
            strange = plain.notna() & ~plain.map(lambda value: isinstance(value, Number | np.bool_))
            if strange.any():
                position, is_digits = _first_not_a_number(plain, strange)
                problem = f"row {rows + position + 1} has {plain.iloc[position]!r}, not a number"
                error = UserError(f"column {str(block.name)!r}: {problem}")
                if not is_digits:
                    raise error
                # A word is more likely to be a mistake, so it is reported first, in whichever row it is.
                digits = digits or error
            plain = plain.where(plain.notna() & ~strange, np.nan)
        values = plain.to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size and digits is None:
            problem = f"row {rows + infinite[0] + 1} has an infinite value"
            raise UserError(f"column {str(block.name)!r}: {problem}")
        rows += len(block)
    if digits is not None:
        raise digits


def _is_numbers(column: "pd.Series[Any]") -> bool:
    dtype = column.dtype
    return types.is_bool_dtype(dtype) or (types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype))


def as_level(value: object) -> str:
    """Return a categorical value as text: the same for 1, 1.0 and "1".

    File readers may return any of these: one missing value makes a column of integers float, one word makes
    it text.
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(value)


def level_order(level: str) -> tuple[bool, float, str]:
    """Return the sort key of a level: numbers by value, then words alphabetically."""
    try:
        number = float(level)
    except ValueError:
        number = math.nan
    # "nan" and "inf" are words here, since NaN cannot be sorted.
    return (False, number, level) if math.isfinite(number) else (True, 0.0, level)


def _first_not_a_number(column: "pd.Series[Any]", strange: "pd.Series[bool]") -> tuple[int, bool]:
    """Return the position of the first value that cannot be parsed as a number, and False.

    If all can be parsed, return the position of the first, and True.
    """
    positions = np.flatnonzero(strange)
    readable = pd.to_numeric(column.iloc[positions].astype(str), errors="coerce").notna().to_numpy()
    first = int(np.argmin(readable))
    return int(positions[first]), bool(readable[first])
