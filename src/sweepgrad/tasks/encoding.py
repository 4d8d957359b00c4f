"""Encode the target column as numbers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Scalar = str | int | float | bool


@dataclass(frozen=True)
class TargetColumn:
    """A target column without missing values.

    Attributes:
        name: the name of the column.
        path: the path of its table.
        counts: the number of rows with each value, in ascending order of values.
        more_than: if there are too many values to count, the number at which counting stopped; else None.
        blocks: returns the column in blocks of rows, from the first row to the last.
        level: returns a value as text, the same for 1, 1.0 and "1".
    """

    name: str
    path: Path
    counts: Mapping[Scalar, int]
    more_than: int | None
    blocks: Callable[[], Iterable["pd.Series[Any]"]]
    level: Callable[[object], str]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Targets y (N,), the original values that 1 and 0 stand for, and notices to the user."""

    y: NDArray[np.int8]
    positive: Scalar
    negative: Scalar
    notices: tuple[str, ...]


def two_values(column: TargetColumn, positive: Scalar | None) -> Encoded:
    """Return 1 for one of the target's two values and 0 for the other.

    Arguments:
        positive: the value that becomes 1; None chooses the greater one, with a notice.

    Raises:
        UserError: if there are not exactly two values, or neither is `positive`.
    """
    values, where = list(column.counts), f"{column.path}: the target {column.name!r}"
    if len(values) != 2:
        shown = ", ".join(
            f"{value!r}" if column.more_than else f"{value!r} in {column.counts[value]} rows"
            for value in values[:5]
        )
        n = f"more than {column.more_than}" if column.more_than else len(values)
        raise UserError(
            f"{where} must have two values, but it has {n}: {shown}{', ...' if len(values) > 5 else ''}. Set"
            " data.target to another column, or reduce this one to two values"
        )
    notices = []
    if positive is None:
        found = values[1]
        notices.append(f"data.positive is not set: using {found!r} as the positive value of {column.name!r}")
    else:
        equal = [value for value in values if value == positive]
        alike = equal or [value for value in values if column.level(value) == column.level(positive)]
        if not alike:
            hint = " (YAML reads an unquoted yes or no as this)" if isinstance(positive, bool) else ""
            raise UserError(
                f"{column.path}: data.positive is {positive!r}{hint}, but the values of the target"
                f" {column.name!r} are {values[0]!r} and {values[1]!r}. Set data.positive to one of these"
            )
        found = alike[0]
    (negative,) = (value for value in values if value is not found)
    y = np.concatenate([(block == found).to_numpy(dtype=np.int8) for block in column.blocks()])
    return Encoded(y, found, negative, tuple(notices))
