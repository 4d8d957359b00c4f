"""How the target's column becomes numbers: what a task is handed of it, and what it gives back."""

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
    """A target that is nowhere missing.

    Attributes:
        name: of the column.
        path: of its table.
        counts: how many rows have each value, the lesser value first.
        more_than: how many values are counted at least where they are too many to count; else None.
        blocks: gives the column from its first row to its last, some rows at a time.
        level: makes text of a value, the same for 1, 1.0 and "1".
    """

    name: str
    path: Path
    counts: Mapping[Scalar, int]
    more_than: int | None
    blocks: Callable[[], Iterable["pd.Series[Any]"]]
    level: Callable[[object], str]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Targets (N,), the values behind 1 and 0 as in the file, and what the user should be told."""

    y: NDArray[np.int8]
    positive: Scalar
    negative: Scalar
    notices: tuple[str, ...]


def two_values(column: TargetColumn, positive: Scalar | None) -> Encoded:
    """Return 1 for one of the target's two values and 0 for the other.

    Arguments:
        positive: the value for 1; None takes the greater one, and says so.

    Raises:
        UserError: there are not just two values, or neither is `positive`.
    """
    values, where = list(column.counts), f"{column.path}: the target {column.name!r}"
    if len(values) != 2:
        shown = ", ".join(
            f"{value!r}" if column.more_than else f"{value!r} in {column.counts[value]} rows"
            for value in values[:5]
        )
        n = f"more than {column.more_than}" if column.more_than else len(values)
        raise UserError(
            f"{where} must have two values, but it has {n}: {shown}{', ...' if len(values) > 5 else ''}; name"
            " another column as data.target, or reduce it to two"
        )
    notices = []
    if positive is None:
        found = values[1]
        notices.append(f"data.positive is null: {found!r} counts as the positive value of {column.name!r}")
    else:
        equal = [value for value in values if value == positive]
        alike = equal or [value for value in values if column.level(value) == column.level(positive)]
        if not alike:
            hint = " (YAML reads an unquoted yes or no as that)" if isinstance(positive, bool) else ""
            raise UserError(
                f"{column.path}: data.positive is {positive!r}{hint}, but the target {column.name!r} has the"
                f" values {values[0]!r} and {values[1]!r}"
            )
        found = alike[0]
    (negative,) = (value for value in values if value is not found)
    y = np.concatenate([(block == found).to_numpy(dtype=np.int8) for block in column.blocks()])
    return Encoded(y, found, negative, tuple(notices))
