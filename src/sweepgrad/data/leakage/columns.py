"""The registry of leak checks, which find columns that a model should not use, from training rows only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.data.leakage.check import ColumnCheck, Feature
from sweepgrad.data.leakage.constant import constant
from sweepgrad.data.leakage.identifying import identifying
from sweepgrad.data.leakage.revealing import revealing
from sweepgrad.data.schema.column_types import as_numbers
from sweepgrad.extensions import Registry

# Run in this order, up to the first that finds a problem.
COLUMN_CHECKS: Registry[ColumnCheck] = Registry(
    "leak check",
    {
        "constant": ColumnCheck(constant, refuse=False),
        "revealing": ColumnCheck(revealing),
        "identifying": ColumnCheck(identifying),
    },
)


@dataclass(frozen=True)
class ColumnFinding:
    """A problem with a column.

    Attributes:
        kind: the name of the check that found it.
    """

    column: str
    kind: str
    reason: str

    @property
    def refused(self) -> bool:
        """True if training refuses a table with this column, see `ColumnCheck`."""
        return COLUMN_CHECKS[self.kind].refuse


def examine(
    column: "pd.Series[Any]", y: NDArray[np.int8], *, numeric: bool, target: str
) -> ColumnFinding | None:
    """Return the first problem with a feature column (N,) of training rows with labels y (N,), or None.

    Arguments:
        numeric: whether its role is numeric; otherwise it is categorical.
        target: the name of the target column.
    """
    feature = Feature(column, as_numbers(column) if numeric else None, y, target)
    for kind, check in COLUMN_CHECKS.items():
        if (reason := check.problem(feature)) is not None:
            return ColumnFinding(feature.name, kind, reason)
    return None
