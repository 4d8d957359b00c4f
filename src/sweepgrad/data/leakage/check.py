"""What a check of a feature column is handed, and what it says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """A feature column of the training rows.

    Attributes:
        column: its values as they were read, (N,).
        numbers: these as numbers, missing ones NaN, (N,); None if its role is categorical.
        y: the labels, 0 or 1, (N,).
        target: the name of what the labels are of.
    """

    column: "pd.Series[Any]"
    numbers: Numbers | None
    y: Labels
    target: str

    @property
    def name(self) -> str:
        return str(self.column.name)


@dataclass(frozen=True)
class ColumnCheck:
    """A check of one feature column.

    Attributes:
        object: why a model should not learn from it, beginning with its name; or None.
        refuse: whether training refuses the table until the user drops or keeps the column; otherwise
            training drops it and says so.
    """

    object: Callable[[Feature], str | None]
    refuse: bool = True
