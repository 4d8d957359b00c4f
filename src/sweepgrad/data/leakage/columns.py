"""Columns that a model should not learn from, found on the training rows alone by a registry of checks."""

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

# In this order: the first that objects is heard.
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
    """What is wrong with a column.

    Attributes:
        kind: the name of the check that objects.
    """

    column: str
    kind: str
    reason: str

    @property
    def refused(self) -> bool:
        """Whether training refuses the table as long as it has the column, see `ColumnCheck`."""
        return COLUMN_CHECKS[self.kind].refuse


def examine(
    column: "pd.Series[Any]", y: NDArray[np.int8], *, numeric: bool, target: str
) -> ColumnFinding | None:
    """Object to a feature column (N,) of the training rows with labels y (N,), or do not.

    Arguments:
        numeric: its role, else it is categorical.
        target: the name of what the labels are of.
    """
    feature = Feature(column, as_numbers(column) if numeric else None, y, target)
    for kind, check in COLUMN_CHECKS.items():
        if (reason := check.object(feature)) is not None:
            return ColumnFinding(feature.name, kind, reason)
    return None
