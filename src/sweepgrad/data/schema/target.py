"""The labels of a table's rows: which of the target's two values each one has."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweepgrad.data.io.columns import Columns
from sweepgrad.data.schema.column_types import as_level, kind_of, level_order
from sweepgrad.data.schema.roles import UNFIT, Scalar
from sweepgrad.errors import UserError

_MANY = 10_000  # distinct values are not counted further, once it is clear that the column is no target


def labels(
    columns: Columns, target: str, positive: Scalar | None, path: Path
) -> tuple[NDArray[np.int8], Scalar, Scalar, list[str]]:
    """Labels (N,), the positive and the negative value as in the file, and a notice if they were guessed.

    Raises:
        UserError: a value is missing, or there are not just two, or neither is `positive`.
    """
    values = _two_values(columns, target, path)
    notices = []
    if positive is None:
        found = values[1]
        notices.append(f"data.positive is null: {found!r} counts as the positive value of {target!r}")
    else:
        equal = [value for value in values if value == positive]
        alike = equal or [value for value in values if as_level(value) == as_level(positive)]
        if not alike:
            hint = " (YAML reads an unquoted yes or no as that)" if isinstance(positive, bool) else ""
            raise UserError(
                f"{path}: data.positive is {positive!r}{hint}, but the target {target!r} has the values "
                f"{values[0]!r} and {values[1]!r}"
            )
        found = alike[0]
    (negative,) = (value for value in values if value is not found)
    y = np.concatenate([(block == found).to_numpy(dtype=np.int8) for block in columns.column(target)])
    return y, found, negative, notices


def _two_values(columns: Columns, target: str, path: Path) -> list[Scalar]:
    """The two values of the target, the lesser first."""
    missing, first_missing, rows = 0, 0, 0
    for block in columns.column(target):
        absent = np.flatnonzero(block.isna())
        if absent.size and not missing:
            first_missing = rows + int(absent[0]) + 1
        missing += absent.size
        rows += len(block)
    if missing:
        raise UserError(
            f"{path}: the target {target!r} is missing in {missing} of {rows} rows, first in row "
            f"{first_missing}; fill it in, or delete those rows"
        )
    if kind_of(columns.column(target)) is None:
        raise UserError(f"{path}: the target {target!r} {UNFIT}")
    counts: Counter[Any] = Counter()
    for block in columns.column(target):
        found = block.value_counts()
        counts.update({value: n for value, n in zip(found.index.tolist(), found, strict=True) if n})
        if len(counts) > _MANY:
            break
    values: list[Scalar] = sorted(counts, key=lambda value: level_order(as_level(value)))
    if len(values) != 2:
        many = len(values) > _MANY
        shown = ", ".join(
            f"{value!r}" if many else f"{value!r} in {counts[value]} rows" for value in values[:5]
        )
        raise UserError(
            f"{path}: the target {target!r} must have two values, but it has "
            f"{f'more than {_MANY}' if many else len(values)}: {shown}"
            f"{', ...' if len(values) > 5 else ''}; name another column as data.target, or reduce it to two"
        )
    return values
