"""The interface of leak checks: the feature column that a check takes, and the problem that it returns."""

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
        numbers: the same as float64, NaN where missing, (N,); None if its role is categorical.
        y: the labels, 0 or 1, (N,).
        target: the name of the target column.
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
        problem: returns why a model should not use the column, beginning with its name; None if it may.
        refuse: whether training refuses the table until the user drops or keeps the column; otherwise
            training drops it with a notice.
    """

    problem: Callable[[Feature], str | None]
    refuse: bool = True
