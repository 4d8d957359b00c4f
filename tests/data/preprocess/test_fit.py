"""Fitting the preprocessing to training rows: which columns it contains, and what it reports."""

import numpy as np
import pandas as pd

from sweepgrad.data.io.columns import FrameColumns
from sweepgrad.data.leakage.columns import ColumnFinding
from sweepgrad.data.preprocess.fit import PreprocessorFit, fit_preprocessor
from sweepgrad.data.preprocess.transforms import Categorical, Numeric
from sweepgrad.data.schema.roles import Roles

N, N_TRAIN = 200, 160
Y = np.arange(N, dtype=np.int8) % 2
TRAIN = np.arange(N) < N_TRAIN
ROWS = np.arange(N)
FRAME = pd.DataFrame(
    {
        "age": np.where(TRAIN, ROWS * 37 % 81, 900 + ROWS),
        "answer": np.where(Y == 1, 1.5, 0.5),  # reveals the target
        "town": np.where(TRAIN, np.array(["Rom", "Ulm", "Ulm", "Rom"])[ROWS % 4], "Wien"),
        "still": np.where(TRAIN, 7, ROWS),  # constant in the training rows
        "height": np.where(TRAIN, ROWS**2 * 11 % 73, 1e9 * ROWS),
    }
)


def fitted(unexamined: tuple[str, ...] = (), told: list[str] | None = None) -> PreprocessorFit:
    roles = Roles(
        target="left",
        positive="yes",
        negative="no",
        numeric=("age", "answer", "still", "height"),
        categorical=("town",),
        group=(),
        dropped=(),
        transforms={"height": "quantile_normal"},
    )
    say = [] if told is None else told
    return fit_preprocessor(
        FrameColumns(FRAME, ""), Y, roles, TRAIN, unexamined=unexamined, progress=say.append
    )


def test_columns_are_fitted_to_training_rows_by_their_roles_and_transforms():
    found = fitted().preprocessor
    rows = FRAME[TRAIN]
    assert found.numeric == (Numeric.fit(rows["age"]), Numeric.fit(rows["height"], "quantile_normal"))
    assert found.categorical == (Categorical.fit(rows["town"]),)
    assert found.numeric[0].mean == np.mean(rows["age"])
    assert found.categorical[0].levels == ("Rom", "Ulm")


def test_columns_with_findings_are_reported_and_not_contained():
    told = list[str]()
    findings = fitted(told=told).findings
    assert all(isinstance(one, ColumnFinding) for one in findings)
    assert [(one.column, one.kind) for one in findings] == [("answer", "revealing"), ("still", "constant")]
    assert told == ["1 of 5 columns checked", "4 of 5 columns checked", "5 of 5 columns checked"]


def test_columns_that_are_not_examined_are_contained():
    found = fitted(unexamined=("answer", "still"))
    assert found.findings == ()
    assert found.preprocessor.columns == ("age", "answer", "still", "height", "town")
