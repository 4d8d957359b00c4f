import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.data.leakage.duplicates import PAIRS, Duplicates, find
from sweepgrad.data.split import PARTS, Parts

N = 500


def continuous(n=N, columns=4, seed=0):
    return pd.DataFrame(
        np.random.default_rng(seed).normal(size=(n, columns)), columns=[f"x{i}" for i in range(columns)]
    )


def parts_of(n=N):
    return Parts(np.array([0, 0, 0, 1, 2], dtype=np.int8)[np.arange(n) % 5])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_rows_are_counted_as_by_comparing_each_with_each(seed):
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": draw.choice([0.5, 1.5, np.nan], 40),
            "town": draw.choice(np.array(["Ulm", "Rom", None], dtype=object), 40),
            "flag": draw.random(40) < 0.5,
        }
    )
    parts = Parts(draw.permutation(np.arange(40) % 3).astype(np.int8))
    exact, *_ = find(frame, ["x"], ["town", "flag"], parts)
    rows = [
        tuple("missing" if pd.isna(value) else value for value in row) for row in frame.to_numpy().tolist()
    ]
    for pair in PAIRS:
        one, other = (np.flatnonzero(parts.mask(part)) for part in PARTS if part in pair.split("-"))
        assert exact.rows[pair] == sum(any(rows[j] == rows[i] for i in one) for j in other)
        assert exact.shares[pair] == exact.rows[pair] / len(other)
    across = [
        (i, j) for i in range(40) for j in range(i) if parts.codes[i] != parts.codes[j] and rows[i] == rows[j]
    ]
    assert exact.pairs == len(across)


def test_repeated_rows_are_found_and_named_for_training_and_validation_only():
    frame, parts = continuous(), parts_of()
    frame.iloc[3] = frame.iloc[0]  # validation and training
    frame.iloc[[13, 18, 23]] = frame.iloc[[10, 11, 12]].to_numpy()
    frame.iloc[[24, 29]] = frame.iloc[[20, 21]].to_numpy()  # test and training
    exact, near, rows = find(frame, list(frame), [], parts)
    assert exact.rows == {"train-val": 4, "train-test": 2, "val-test": 0}
    assert exact.relevant
    assert exact.named == ((1, 4), (11, 14), (12, 19), (13, 24))
    assert rows == 6
    assert near.pairs == 0


def test_nearly_equal_rows_are_found():
    frame, parts = continuous(), parts_of()
    frame.iloc[3:103:5] = frame.iloc[0:100:5].to_numpy() + 0.004
    exact, near, rows = find(frame, list(frame), [], parts)
    assert exact.pairs == 0
    assert rows == 20
    assert near.rows == {"train-val": 20, "train-test": 0, "val-test": 0}
    assert near.relevant
    assert near.named[0] == (1, 4)
    frame["town"] = np.where(np.arange(N) % 5 == 3, "Ulm", "Rom")  # a level apart is not near
    assert find(frame, list(frame)[:-1], ["town"], parts)[1].pairs == 0


@pytest.mark.parametrize("columns", [1, 2, 3, 12])
@pytest.mark.parametrize("tail", ["normal", "heavy"])
def test_dense_rows_are_not_near_duplicates(columns, tail):
    for seed in range(5):
        frame = continuous(2000, columns, seed)
        frame = np.sinh(3 * frame) if tail == "heavy" else frame
        for found in find(frame, frame.columns.tolist(), [], parts_of(2000))[:2]:
            assert not found.relevant


def test_equal_rows_of_coarse_columns_are_ordinary():
    draw = np.random.default_rng(0)
    common = draw.normal(size=N)
    frame = pd.DataFrame(
        {
            "grade": np.clip(np.round(common), -2, 2),
            "same": np.clip(np.round(common * 2), -3, 3),
            "town": draw.choice(["Ulm", "Rom", "Wien"], N),
        }
    )
    exact, near, rows = find(frame, ["grade", "same"], ["town"], parts_of())
    assert rows == 0
    assert exact.rows["train-val"] > 50
    assert not exact.relevant
    assert exact.named == ()
    assert not near.relevant


def test_celsius_and_fahrenheit_are_one_column():
    celsius = np.round(np.random.default_rng(0).normal(size=N) * 8, 1)
    frame = pd.DataFrame({"celsius": celsius, "fahrenheit": celsius * 1.8 + 32})
    assert not any(found.relevant for found in find(frame, ["celsius", "fahrenheit"], [], parts_of())[:2])


def test_parts_are_named_in_their_order():
    assert [pair.split("-") for pair in PAIRS] == [
        [PARTS[one], PARTS[other]] for one in range(3) for other in range(one + 1, 3)
    ]


def test_a_row_with_several_duplicates_is_counted_once_and_chance_not_at_all():
    frame, parts = continuous(), parts_of()
    for start in range(
        0, 100, 5
    ):  # each validation row equals one of training, each test row is near to both
        frame.iloc[start + 3] = frame.iloc[start]
        frame.iloc[start + 4] = frame.iloc[start] + 0.004
    exact, near, rows = find(frame, list(frame), [], parts)
    assert exact.rows == {"train-val": 20, "train-test": 0, "val-test": 0}
    assert near.rows == {"train-val": 0, "train-test": 20, "val-test": 20}
    assert rows == 40


def test_numbers_that_differ_by_rounding_only_are_equal():
    k = np.random.default_rng(0).integers(-9, 9, (N, 2))
    half = (np.arange(N) % 2 == 0)[:, None]
    coarse = pd.DataFrame(np.where(half, k / 10, k * 0.1), columns=["a", "b"])
    exact, near, rows = find(coarse, ["a", "b"], [], parts_of())
    assert exact.rows == find(pd.DataFrame(k, columns=["a", "b"]), ["a", "b"], [], parts_of())[0].rows
    assert (near.pairs, rows) == (0, 0)
    fine = continuous()
    fine.iloc[[3, 8, 13]] = np.nextafter(fine.iloc[[0, 5, 10]].to_numpy(), np.inf)
    assert find(fine, list(fine), [], parts_of())[0].named == ((1, 4), (6, 9), (11, 14))


@pytest.mark.parametrize("values", [[np.nan], [1.7e308, -1.7e308], [1.7e308, -1.7e308, np.nan, 5e-324, 0]])
def test_columns_without_values_or_with_the_largest_ones_are_accepted(values):
    frame, parts = continuous(), parts_of()
    frame["odd"] = np.resize(values, N)
    frame.iloc[3] = frame.iloc[0]
    frame.iloc[[8, 13]] = frame.iloc[[5, 10]].to_numpy()
    exact, near, rows = find(frame, list(frame), [], parts)
    assert exact.rows["train-val"] == 3
    assert exact.named == ((1, 4), (6, 9), (11, 14))
    assert (near.pairs, rows) == (0, 3)


@pytest.mark.parametrize(
    ("pairs", "by_chance", "share", "beyond", "relevant"),
    [
        (2, 0.0, 0.5, False, False),
        (3, 0.0, 0.5, True, True),
        (16, 4.0, 0.5, False, False),  # 4 + 5 · 2 + 2
        (17, 4.0, 0.5, True, True),
        (17, 4.0, 0.01, True, True),
        (17, 4.0, 0.0099, True, False),
    ],
)
def test_duplicates_matter_if_they_are_more_than_chance_and_one_percent(
    pairs, by_chance, share, beyond, relevant
):
    found = Duplicates({}, {"train-val": 0.0, "train-test": share, "val-test": 0.0}, pairs, by_chance, ())
    assert (found.beyond_chance, found.relevant) == (beyond, relevant)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_a_column_makes_no_difference(scale):
    frame, parts = continuous(), parts_of()
    frame.iloc[3:103:5] = frame.iloc[0:100:5].to_numpy() + 0.004
    other = frame * [scale, 1, 1 / scale, 1]
    assert find(other, list(frame), [], parts) == find(frame, list(frame), [], parts)
    assert find(other, list(frame), [], parts)[1].rows["train-val"] == 20


@pytest.mark.parametrize("fine", ["no", "all differ", "two in five differ"])
def test_chance_is_the_root_of_the_product_over_the_columns(fine):
    draw = np.random.default_rng(5)
    n = 60
    frame = pd.DataFrame({"grade": draw.integers(0, 4, n), "town": draw.choice(["Ulm", "Rom", "Wien"], n)})
    if fine != "no":
        frame["x"] = draw.normal(size=n) if fine == "all differ" else draw.permutation(n) % 20 + 0.5
    frame.iloc[40:50] = frame.iloc[:10].to_numpy()
    frame["grade"] = frame["grade"].astype(float)
    parts = Parts(np.repeat(np.array([0, 1, 2], dtype=np.int8), (30, 20, 10)))
    numeric = ["grade"] if fine == "no" else ["grade", "x"]
    exact, *_ = find(frame.astype(dict.fromkeys(numeric, float)), numeric, ["town"], parts)
    both = [(i, j) for i in range(n) for j in range(i)]

    def agree(columns):
        return sum(all(frame[name][i] == frame[name][j] for name in columns) for i, j in both)

    product = 1.0
    for name in frame:
        equal = agree([name])
        if fine == "all differ" and name == "x":  # those that do not are of duplicates
            equal = max(equal - agree(frame.columns), 1)
        product *= equal / len(both)
    possible = 30 * 20 + 30 * 10 + 20 * 10
    if fine == "two in five differ":
        assert 1 / 3 < frame["x"].nunique() / len(frame.drop_duplicates()) < 1 / 2
    assert exact.by_chance == pytest.approx(possible * np.sqrt(product))
