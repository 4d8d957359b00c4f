import json

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sweepgrad.data.preprocess.transforms import Categorical, Numeric, Preprocessor
from sweepgrad.errors import UserError


def fit(numeric=None, categorical=None, transform="standardize"):
    """Return a preprocessor fitted on columns given as name -> values."""
    numeric, categorical = numeric or {}, categorical or {}
    frame = pd.DataFrame({**numeric, **categorical})
    return Preprocessor(
        tuple(Numeric.fit(frame[name], transform) for name in numeric),
        tuple(Categorical.fit(frame[name]) for name in categorical),
    )


def test_numeric_by_hand():
    fitted = fit({"a": [1, 3, np.nan]})
    assert fitted.names == ("a", "a missing")
    # mean 2, population sd 1
    rows = pd.DataFrame({"a": [1, 2, 5, np.nan]})
    assert fitted.transform(rows).tolist() == [[-1, 0], [0, 0], [3, 0], [0, 1]]


def test_categorical_by_hand():
    fitted = fit(categorical={"genre": ["rock", None, "pop", "rock"]})
    assert fitted.names == ("genre=pop", "genre=rock", "genre missing")
    rows = pd.DataFrame({"genre": ["rock", "polka", None, "pop"]})
    assert fitted.transform(rows).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_missing_values_that_training_rows_did_not_have():
    fitted = fit({"a": [1.0, 3.0]}, {"b": ["u", "v"]})
    assert fitted.names == ("a", "b=u", "b=v")
    assert fitted.transform(pd.DataFrame({"a": [None], "b": [None]})).tolist() == [[0, 0, 0]]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 30), st.just(2)), elements=st.floats(-1e6, 1e6)))
def test_numeric_as_scikit_learn_does(x):
    x[0] += 1  # scikit-learn calls a spread of a few ulps constant; give each column a real one
    x[1] -= 1
    fitted = fit({"a": x[:, 0], "b": x[:, 1]})
    expected = StandardScaler().fit(x)
    if (x.std(axis=0) > 1e-3).all():
        assert [part.mean for part in fitted.numeric] == pytest.approx(expected.mean_, rel=1e-9, abs=1e-9)
        assert [part.sd for part in fitted.numeric] == pytest.approx(expected.scale_, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["x", "y", "z", "", "é"]), min_size=1),
    st.lists(st.sampled_from(["x", "y", "z", "", "é", "new"])),
)
def test_categorical_as_scikit_learn_does(train, rows):
    expected = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array(train)[:, None])
    fitted = fit(categorical={"a": train})
    assert np.array_equal(
        fitted.transform(pd.DataFrame({"a": pd.Series(rows, dtype=object)})),
        expected.transform(np.array(rows, dtype=object)[:, None]) if rows else np.empty((0, len(set(train)))),
    )


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200, 4e299])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_neither_offset_nor_scale_spoil_the_spread(offset, scale):
    # -1, 0, 1, 2: mean 0.5, population variance 1.25
    fitted = fit({"a": (offset + np.array([-1.0, 0.0, 1.0, 2.0])) * scale}).numeric[0]
    assert fitted.sd / scale == pytest.approx(np.sqrt(1.25), rel=1e-6)
    assert fitted.mean / scale == pytest.approx(offset + 0.5, rel=1e-15)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_spread_of_large_numbers_on_one_side_of_zero_is_finite(sign):
    # 0, 1, 2: mean 1, population variance 2 / 3
    fitted = fit({"a": sign * np.array([0.0, 1e300, 2e300])}).numeric[0]
    assert fitted.mean == pytest.approx(sign * 1e300)
    assert fitted.sd == pytest.approx(np.sqrt(2 / 3) * 1e300)


def test_a_constant_becomes_zero():
    fitted = fit({"a": [0.1] * 3, "b": [np.nan] * 3})
    rows = pd.DataFrame({"a": [0.1, 1.1], "b": [np.nan, 2.0]})
    assert fitted.transform(rows).tolist() == [[0, 0, 1], [1, 2, 0]]


def test_booleans_as_numbers():
    fitted = fit({"a": [True, False], "b": pd.Series([True, None], dtype=object)})
    assert fitted.transform(pd.DataFrame({"a": [True, False], "b": [None, True]})).tolist() == [
        [1, 0, 1],
        [-1, 0, 0],
    ]


@pytest.mark.parametrize(
    ("train", "rows", "names"),
    [
        ([10, 9, 1], [1.0, 9.0, 10.0], ("a=1", "a=9", "a=10")),
        ([10.0, 9.0, np.nan], [10, 9, 10], ("a=9", "a=10", "a missing")),
        ([1, 2], ["1", "2"], ("a=1", "a=2")),
        ([0.5, 2], [0.5, 2.0], ("a=0.5", "a=2")),
        ([True, False], np.array([True, False], dtype=object), ("a=False", "a=True")),
        (pd.Categorical(["b", "a"]), ["a", "b"], ("a=a", "a=b")),
    ],
)
def test_a_level_is_the_same_in_whatever_type_it_comes(train, rows, names):
    fitted = fit(categorical={"a": train})
    assert fitted.names == names
    assert fitted.transform(pd.DataFrame({"a": rows})).sum(axis=1).tolist() == [1] * len(rows)


def test_columns_by_name_not_by_place():
    fitted = fit({"a": [1.0, 2.0], "b": [5.0, 9.0]}, {"c": ["u", "v"]})
    rows = pd.DataFrame({"other": ["?"], "c": ["v"], "b": [7.0], "a": [2.0]}, index=[17])
    assert fitted.columns == ("a", "b", "c")
    assert fitted.transform(rows).tolist() == [[1, 0, 0, 1]]


def test_no_rows():
    fitted = fit({"a": [1.0, 2.0]}, {"c": ["u", "v"]})
    assert fitted.transform(pd.DataFrame({"a": [], "c": []})).shape == (0, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"c": ["u"]}, "needs the columns 'a'"),
        ({"a": [1.0, np.inf], "c": ["u", "u"]}, "'a': row 2 has an infinite value"),
        ({"a": [1.0, "tall"], "c": ["u", "u"]}, "'a': row 2 has 'tall', not a number"),
        ({"a": ["1", "2"], "c": ["u", "u"]}, "'a': row 1 has '1', not a number"),
    ],
)
def test_rows_that_do_not_fit(rows, message):
    with pytest.raises(UserError, match=message):
        fit({"a": [1.0, 2.0]}, {"c": ["u", "v"]}).transform(pd.DataFrame(rows))


def test_a_column_that_is_there_twice():
    rows = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    with pytest.raises(UserError, match="more than one column named 'a'"):
        fit({"a": [1.0, 2.0]}).transform(rows)


def test_normal_scores_are_standardized_and_marked_where_missing():
    fitted = fit({"a": [3, np.nan, 1, 1000]}, transform="quantile_normal")
    assert fitted.names == ("a", "a missing")
    # Ranks 1, 2, 3 of three: scores -q, 0, q with q the normal quantile of 5/6; their sd is q √(2/3).
    high = 1 / np.sqrt(2 / 3)
    rows = pd.DataFrame({"a": [1, 2, 3, 1000, np.nan, -50, 1e9]})
    expected = [[-high, 0], [-high / 2, 0], [0, 0], [high, 0], [0, 1], [-high, 0], [high, 0]]
    assert fitted.transform(rows) == pytest.approx(np.array(expected))
    assert fitted.numeric[0].sd == pytest.approx(norm.ppf(5 / 6) * np.sqrt(2 / 3))


def test_numbers_come_back_from_normal_scores_as_far_as_training_rows_reach():
    a, b = [3, np.nan, 1, 1000], [5.0, 5.0, 6.0, 7.0]
    fitted = fit({"a": a, "b": b}, transform="quantile_normal")
    rows = pd.DataFrame({"a": [1, np.nan, 300, 9000], "b": [5, 6.5, 7, 2]})
    back = fitted.numbers(fitted.transform(rows))
    assert back["a"].to_numpy() == pytest.approx([1, np.nan, 300, 1000], nan_ok=True)
    assert back["b"].to_numpy() == pytest.approx([5, 6.5, 7, 5])


def test_a_bundle_from_before_normal_scores_is_read_and_written_as_it_was():
    old = {
        "numeric": [{"column": "a", "mean": 2.0, "sd": 0.5, "missing": False}],
        "categorical": [{"column": "b", "levels": ["u", "v"], "missing": True}],
    }
    fitted = Preprocessor.from_json(old)
    assert fitted.transform(pd.DataFrame({"a": [3.0], "b": ["v"]})).tolist() == [[2, 0, 1, 0]]
    assert fitted.to_json() == old


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["standardize", "quantile_normal"]),
    st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=1, max_size=9),
    st.lists(st.one_of(st.none(), st.text(), st.integers(), st.booleans()), min_size=1, max_size=9),
)
def test_json_and_back(transform, numbers, levels):
    n = min(len(numbers), len(levels))
    fitted = fit({"a": numbers[:n]}, {"b": pd.Series(levels[:n], dtype=object)}, transform)
    again = Preprocessor.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert again == fitted  # floats to the bit: == on them, and they are never NaN
