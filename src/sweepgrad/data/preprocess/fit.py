"""Fit the preprocessing to the training rows, and check their columns."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweepgrad.data.io.columns import Columns, Mask
from sweepgrad.data.leakage.columns import ColumnFinding, examine
from sweepgrad.data.preprocess.transforms import Categorical, Numeric, Preprocessor
from sweepgrad.data.schema.roles import Roles


@dataclass(frozen=True)
class PreprocessorFit:
    """A fitted preprocessor and the findings on columns; it does not contain the columns with findings."""

    preprocessor: Preprocessor
    findings: tuple[ColumnFinding, ...]


def fit_preprocessor(
    columns: Columns,
    y: NDArray[np.int8],
    roles: Roles,
    train: Mask,
    *,
    unexamined: Collection[str],
    progress: Callable[[str], None],
) -> PreprocessorFit:
    """Fit the preprocessing to the training rows, and find columns that a model should not learn from.

    Arguments:
        y: labels (N,); only those of training rows are used.
        train: mask (N,) of the training rows.
        unexamined: columns that are used without being checked.
        progress: called with progress messages.
    """
    numeric: dict[str, Numeric] = {}
    categorical: dict[str, Categorical] = {}
    findings = []
    for number, name in enumerate(roles.features, 1):
        column = columns.select([name], train)[name]
        if name not in unexamined:
            finding = examine(column, y[train], numeric=name in roles.numeric, target=roles.target)
            if finding is not None:
                findings.append(finding)
                continue
        if name in roles.numeric:
            numeric[name] = Numeric.fit(column, roles.transforms.get(name, "standardize"))
        else:
            categorical[name] = Categorical.fit(column)
        progress(f"{number} of {len(roles.features)} columns checked")
    preprocessor = Preprocessor(tuple(numeric.values()), tuple(categorical.values()))
    return PreprocessorFit(preprocessor, tuple(findings))
