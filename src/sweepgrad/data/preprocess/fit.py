"""What training rows teach: how each column becomes features, and what is wrong with it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweepgrad.data.io.columns import Columns, Mask
from sweepgrad.data.leakage.columns import ColumnFinding, examine
from sweepgrad.data.preprocess.transforms import Categorical, Numeric, Preprocessor
from sweepgrad.data.schema.roles import Roles


@dataclass(frozen=True)
class Learned:
    """What the training rows taught; columns that were objected to are not in the preprocessor."""

    preprocessor: Preprocessor
    findings: tuple[ColumnFinding, ...]


def learn(
    columns: Columns,
    y: NDArray[np.int8],
    roles: Roles,
    train: Mask,
    *,
    unexamined: Collection[str],
    tell: Callable[[str], None],
) -> Learned:
    """Fit the preprocessing to the training rows, and see which columns a model should not learn from.

    Arguments:
        y: labels (N,), of which those of the training rows are looked at.
        train: which rows are for training, (N,).
        unexamined: columns to be learned from whatever they are like.
        tell: told how far things are.
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
        tell(f"{number} of {len(roles.features)} columns looked at")
    preprocessor = Preprocessor(tuple(numeric.values()), tuple(categorical.values()))
    return Learned(preprocessor, tuple(findings))
