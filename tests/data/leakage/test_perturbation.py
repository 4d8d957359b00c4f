from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from sweepgrad.data.leakage.perturbation import GARBAGE, differences, garbled, sees_held_out

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


class Slotted:
    __slots__ = ("__hidden", "mean")

    def __init__(self, mean):
        self.mean, self.__hidden = 0.0, mean


class OpenSlotted:
    __slots__ = ("mean",)

    def __init__(self, mean):
        self.mean = mean


class Called:
    def __init__(self, mean):
        self.mean, self.of = mean, self.__call__  # a method holds its object

    def __call__(self, x):
        return x - self.mean


def less(mean):
    return lambda x: x - mean


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
    "slots": lambda rows: Slotted(rows["x"].mean()),
    "slots of any name": lambda rows: OpenSlotted(rows["x"].mean()),
    "an object to call": lambda rows: Called(rows["x"].mean()),
    "a function": lambda rows: less(rows["x"].mean()),
    "a method": lambda rows: Scale(rows["x"].mean(), []).__eq__,
    "a partial": lambda rows: partial(np.subtract, rows["x"].mean()),
    "a ufunc and a number": lambda rows: (np.log, rows["x"].mean()),
    "an interpolation": lambda rows: interp1d(*np.sort(rows[["count", "x"]].to_numpy(), axis=0).T),
    "a tree": lambda rows: DecisionTreeRegressor(random_state=0).fit(rows[["x"]], rows["count"]),
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


def test_a_fit_that_fails_on_garbage_depends_on_it():
    def strict(rows, train):
        if not rows["town"].isin(["Ulm", "Rom"]).all():
            raise KeyError("another town")

    (found,) = sees_held_out(strict, table(), TRAIN)
    assert "KeyError" in found


def test_a_fit_that_is_not_deterministic_cannot_be_tested():
    draw = np.random.default_rng(0)
    with pytest.raises(ValueError, match="random seed"):
        sees_held_out(lambda rows, train: draw.normal(), table(), TRAIN)
    with pytest.raises(ValueError, match="held out"):
        sees_held_out(lambda rows, train: 0, table(), np.ones(N, dtype=bool))


@pytest.mark.parametrize("kind", range(len(GARBAGE)))
def test_garbage_keeps_training_rows_and_types_and_changes_all_columns(kind):
    original, other = table(), garbled(table(), TRAIN, kind)
    pd.testing.assert_frame_equal(original[TRAIN], other[TRAIN])
    assert original.dtypes.equals(other.dtypes)
    for name in original:
        assert not original.loc[~TRAIN, name].equals(other.loc[~TRAIN, name]), name


def test_garbage_of_the_first_kind_is_extreme_unknown_or_missing():
    other = garbled(table(), TRAIN, 0)[~TRAIN]
    present = other["x"].dropna().abs()
    assert other["x"].isna().any()
    assert np.isfinite(present).all()
    assert present.min() > 1e290
    assert set(other["count"]) == {2**63 - 1, 2**62 - 1}
    assert other["flag"].all()
    assert set(other["town"].dropna()).isdisjoint({"Ulm", "Rom"})
    assert other["town"].isna().any()
    assert set(other["grade"].dropna()) == {"a"}
    assert other["grade"].isna().any()
    assert other["day"].max() > table()["day"].max() + pd.Timedelta(50, "D")
    assert other["day"].isna().any()
    assert set(other["whole"]) == {2**63 - 1, 2**62 - 1}


def test_garbage_of_one_day_is_another_day():
    frame = pd.DataFrame({"day": pd.Series([pd.Timestamp("2020-01-01")] * N)})
    other = garbled(frame, TRAIN, 0)["day"][~TRAIN].dropna()
    assert set(other) == {pd.Timestamp("2020-01-02")}


def test_garbage_of_the_second_kind_is_larger_and_in_another_order():
    frame = table()
    frame["count"] = np.arange(N)  # so that each number shows which row it is from
    original, other = frame[~TRAIN], garbled(frame, TRAIN, 1)[~TRAIN]
    # Twice a number below 100, and one more.
    assert sorted(other["count"]) == [2 * n + 1 for n in original["count"]]
    assert other["count"].tolist() != sorted(other["count"])
    moved = np.sort(other["x"]) - np.sort(original["x"])
    assert moved == pytest.approx(np.full(len(moved), (original["x"].abs().median() + 1) / 3))
    assert other["flag"].sum() == (~original["flag"]).sum()
    assert sorted(other["town"]) == sorted(original["town"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5), st.integers(0, 4))
def test_results_that_differ_in_one_bit_differ(values, place):
    place %= len(values)
    other = values.copy()
    with np.errstate(over="ignore"):  # what follows the largest number is infinity
        other[place] = float(np.nextafter(values[place], np.inf))
    assert differences(values, values.copy()) == []
    moved = values[place] != np.inf  # there is nothing after it
    assert differences(np.array(values), np.array(other)) == ["the result"] * moved
    assert differences({"a": values}, {"a": other}) == [f"a[{place}]"] * moved
    assert differences(values, [*values, 0.0])
    assert differences([np.nan], [np.nan]) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.period_range("2020-01", periods=N, freq="M"), "'odd'.*period"),
        (np.arange(N) * 1j, "'odd'.*complex128"),
        (pd.Categorical([None] * N, categories=[]), "'odd'.*category"),
    ],
    ids=["periods", "complex numbers", "no categories"],
)
def test_a_column_for_which_no_garbage_can_be_made_is_named(values, message):
    frame = table().assign(odd=values)
    with pytest.raises(ValueError, match=message):
        sees_held_out(lambda rows, train: rows.loc[train, "x"].mean(), frame, TRAIN)


@pytest.mark.parametrize("result", [object(), iter([1]), np.random.default_rng(0).bit_generator.lock])
def test_what_cannot_be_compared_is_refused_by_name(result):
    with pytest.raises(ValueError, match=r"^kept \(.*cannot be compared"):
        sees_held_out(lambda rows, train: {"kept": result}, table(), TRAIN)


def test_a_lack_of_memory_is_no_finding():
    fitted = []

    def fit(frame, train):
        fitted.append(frame)
        return np.empty(2**62 if len(fitted) > 2 else 1, np.uint8)[:0]

    with pytest.raises(MemoryError):
        sees_held_out(fit, table(), TRAIN)
