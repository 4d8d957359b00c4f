from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from sweepgrad.data.proof import GARBAGE, differences, garbled, sees_held_out

N = 60
TRAIN = np.arange(N) % 5 < 3


def table():
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": draw.normal(size=N),
            "count": draw.poisson(3, N),
            "flag": draw.random(N) < 0.5,
            "town": draw.choice(["Ulm", "Rom"], N),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 99, N), "D"),
            "grade": pd.Categorical(draw.choice(["a", "b"], N)),
            "whole": pd.array(draw.integers(0, 9, N), dtype="Int64"),
        }
    )


@dataclass
class Scale:
    mean: float
    levels: list[str]


STATISTICS = {
    "mean": lambda rows: rows["x"].mean(),
    "median": lambda rows: rows["x"].median(),
    "winsorised mean": lambda rows: rows["x"].clip(*rows["x"].quantile([0.2, 0.8])).mean(),
    "levels": lambda rows: set(rows["town"]),
    "counts": lambda rows: rows["count"].value_counts(),
    "flags": lambda rows: int(rows["flag"].sum()),
    "last day": lambda rows: rows["day"].max(),
    "grades": lambda rows: rows["grade"].value_counts().to_dict(),
    "whole numbers": lambda rows: rows["whole"].sum(),
    "a dataclass": lambda rows: Scale(rows["x"].mean(), sorted(rows["town"].unique())),
    "an estimator": lambda rows: StandardScaler().fit(rows[["x", "count"]].to_numpy()),
}


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_a_statistic_of_all_rows_is_found_and_one_of_training_rows_is_not(statistic):
    assert sees_held_out(lambda rows, train: statistic(rows), table(), TRAIN)
    assert not sees_held_out(lambda rows, train: statistic(rows[train]), table(), TRAIN)


def test_what_differs_is_named():
    found = sees_held_out(
        lambda rows, train: {"mean": rows["x"].mean(), "most": rows["x"][train].max()}, table(), TRAIN
    )
    assert found == ("mean",)


def test_a_fit_that_fails_on_garbage_has_looked_at_it():
    def strict(rows, train):
        if not rows["town"].isin(["Ulm", "Rom"]).all():
            raise KeyError("another town")

    (found,) = sees_held_out(strict, table(), TRAIN)
    assert "KeyError" in found


def test_a_fit_that_varies_by_itself_proves_nothing():
    draw = np.random.default_rng(0)
    with pytest.raises(ValueError, match="seed it"):
        sees_held_out(lambda rows, train: draw.normal(), table(), TRAIN)
    with pytest.raises(ValueError, match="held out"):
        sees_held_out(lambda rows, train: 0, table(), np.ones(N, dtype=bool))


@pytest.mark.parametrize("turn", range(len(GARBAGE)))
def test_garbage_keeps_training_rows_and_types_and_changes_all_columns(turn):
    honest, other = table(), garbled(table(), TRAIN, turn)
    pd.testing.assert_frame_equal(honest[TRAIN], other[TRAIN])
    assert honest.dtypes.equals(other.dtypes)
    for name in honest:
        assert not honest.loc[~TRAIN, name].equals(other.loc[~TRAIN, name]), name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5), st.integers(0, 4))
def test_results_that_differ_in_one_bit_differ(values, place):
    place %= len(values)
    other = values.copy()
    other[place] = float(np.nextafter(values[place], np.inf))
    assert differences(values, values.copy()) == []
    assert differences(np.array(values), np.array(other)) or values[place] == np.inf
    assert differences({"a": values}, {"a": other}) in ([f"a[{place}]"], [])
    assert differences(values, [*values, 0.0])
    assert differences([np.nan], [np.nan]) == []
