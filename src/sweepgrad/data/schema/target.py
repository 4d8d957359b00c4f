"""Read the target column of a table, for a task to encode."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sweepgrad.data.io.columns import Columns
from sweepgrad.data.schema.column_types import as_level, kind_of, level_order
from sweepgrad.data.schema.roles import UNFIT
from sweepgrad.errors import UserError
from sweepgrad.tasks.encoding import TargetColumn

_MANY = 10_000  # distinct values: counting stops here, since these are not classes


def target_column(columns: Columns, target: str, path: Path) -> TargetColumn:
    """Return the target column with its values counted.

    Raises:
        UserError: if a value is missing, or of an unsupported type.
    """
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
            f"{first_missing}. Fill in the values, or delete these rows"
        )
    if kind_of(columns.column(target)) is None:
        raise UserError(f"{path}: the target {target!r} {UNFIT}")
    counts: Counter[Any] = Counter()
    for block in columns.column(target):
        found = block.value_counts()
        counts.update({value: n for value, n in zip(found.index.tolist(), found, strict=True) if n})
        if len(counts) > _MANY:
            break
    return TargetColumn(
        name=target,
        path=path,
        counts={value: counts[value] for value in sorted(counts, key=lambda v: level_order(as_level(v)))},
        more_than=_MANY if len(counts) > _MANY else None,
        blocks=lambda: columns.column(target),
        level=as_level,
    )
