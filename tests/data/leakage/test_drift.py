import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweepgrad.data.io.columns import FrameColumns
from sweepgrad.data.leakage.drift import _of_levels, _of_numbers, drifts
from sweepgrad.data.schema.roles import Roles
from sweepgrad.data.split import Parts
from sweepgrad.data.table import Table

DRAW = np.random.default_rng(0)


def test_numbers_by_scipys_test():
    one, other = DRAW.normal(size=700), DRAW.normal(0.2, size=300)
    expected = stats.ks_2samp(one, other, method="asymp")
    effective = np.sqrt(700 * 300 / 1000)
    assert _of_numbers(pd.Series(one), pd.Series(other)) == pytest.approx(
        stats.kstwobign.sf(expected.statistic * effective), rel=1e-9
    )


def test_levels_by_scipys_test():
    one, other = DRAW.choice(["a", "b", "c"], 700), DRAW.choice(["a", "b", "c"], 300, p=[0.5, 0.3, 0.2])
    counts = [[int(np.sum(some == level)) for level in "abc"] for some in (one, other)]
    expected = stats.chi2_contingency(counts, correction=False).pvalue
    assert _of_levels(pd.Series(one), pd.Series(other)) == pytest.approx(expected, rel=1e-9)


def test_missing_values_are_a_level_and_the_least_number():
    one, other = pd.Series([np.nan] * 50 + [1.0] * 50), pd.Series([1.0] * 100)
    assert _of_numbers(one, other) < 1e-6
    assert _of_levels(one, other) < 1e-6
    assert _of_levels(other, other) == 1.0


@pytest.mark.parametrize(("others", "named"), [(0, 1), (19, 0)])
def test_the_more_columns_there_are_the_more_one_must_differ(others, named):
    frame = pd.DataFrame({"x": np.r_[np.arange(100), np.arange(100) + 28, np.arange(100)]})
    frame[[f"same{i}" for i in range(others)]] = 0
    roles = Roles("y", 1, 0, tuple(frame.columns.tolist()), (), (), ())
    table = Table("t", FrameColumns(frame, ""), np.zeros(300, dtype=np.int8), roles, "nowhere")
    found = list(drifts(table, frame, Parts(np.repeat(np.array([0, 1, 2], dtype=np.int8), 100))))
    p = stats.kstwobign.sf(0.28 * np.sqrt(50))  # 0.0008: less than 0.01 / 2 tests, more than 0.01 / 40
    assert [(drift.column, drift.part, pytest.approx(drift.p)) for drift in found] == [
        ("x", "val", 2 * p)
    ] * named
