import numpy as np
import pandas as pd
import pytest

from sweepgrad.data.leakage.columns import examine
from sweepgrad.rng import key, normal, permutation, uniform

N = 600
Y = (uniform(key(0, "labels"), (N,)) < 0.4).astype(float)


def kind_of_finding(values, *, numeric, y=Y):
    """Return the kind of finding that `examine` returns for a feature."""
    column = pd.Series(values, name="a")
    finding = examine(column, np.array(y, dtype=np.int8), numeric=numeric, target="y")
    if finding is None:
        return None
    assert finding.column == "a"
    return finding.kind


def noise(seed=1):
    return normal(key(seed, "noise"), (N,))


def with_missing(values, where):
    return np.where(where, np.nan, values)


def texts(numbers):
    return [f"word{number}" for number in numbers]


@pytest.mark.parametrize("value", [1.5, np.nan])
def test_constant(value):
    assert kind_of_finding([value] * N, numeric=True) == "constant"
    assert kind_of_finding(["one"] * N, numeric=False) == "constant"


def test_one_row_is_constant():
    assert kind_of_finding([1.5], numeric=True, y=[1]) == "constant"
    assert kind_of_finding(["one"], numeric=False, y=[1]) == "constant"


def test_one_value_and_missing_is_not_constant():
    some = uniform(key(0, "some"), (N,)) < 0.3
    assert kind_of_finding(with_missing(1.0, some), numeric=True) is None


@pytest.mark.parametrize(
    "values",
    [
        Y + 0.1 * uniform(key(2, "u"), (N,)),
        -Y + 0.1 * uniform(key(2, "u"), (N,)),
        with_missing(Y + 0.1 * uniform(key(2, "u"), (N,)), np.arange(N) % 3 == 0),
        with_missing(noise(), Y == 1),
        with_missing(noise(), Y == 0),
    ],
    ids=["above", "below", "above, some missing", "missing if positive", "missing if negative"],
)
def test_a_number_that_reveals_the_target(values):
    assert kind_of_finding(values, numeric=True) == "revealing"


def test_a_strong_number_is_no_disguise():
    # Two normal distributions 2 apart: AUC = Phi(2 / sqrt 2) = 0.921.
    assert kind_of_finding(noise() + 2 * Y, numeric=True) is None


def test_levels_that_reveal_the_target():
    bins = permutation(key(0, "bins"), N) % 5
    assert kind_of_finding(texts(10 * bins + Y.astype(int)), numeric=False) == "revealing"
    assert kind_of_finding([None if y else "there" for y in Y], numeric=False) == "revealing"
    # Codes that only positive rows have: each predicts little, all together predict everything.
    codes = np.where(Y == 1, texts(np.cumsum(Y).astype(int) // 2), "none")
    assert kind_of_finding(codes, numeric=False) == "revealing"
    assert kind_of_finding(texts(bins), numeric=False) is None
    almost = np.where(uniform(key(3, "errors"), (N,)) < 0.05, 1 - Y, Y).astype(int)
    assert kind_of_finding(texts(almost), numeric=False) is None


@pytest.mark.parametrize("one_class", [0, 1])
def test_levels_that_predict_one_class_only_reveal_nothing(one_class):
    # All of one class and a sixth of the other are in the first level.
    y = np.repeat([one_class, 1 - one_class], [300, 300])
    assert kind_of_finding(["a"] * 350 + ["b"] * 250, numeric=False, y=y) is None
    assert kind_of_finding(["a"] * 301 + ["b"] * 299, numeric=False, y=y) == "revealing"


def test_many_small_levels_reveal_nothing():
    # 200 levels of three rows: many rows of a level agree, but no more than by chance.
    assert kind_of_finding(texts(np.arange(N) // 3), numeric=False) is None
    # 50 levels for 55 rows, and the five pairs happen to agree.
    y = np.concatenate([Y[:50], Y[:5]])
    assert kind_of_finding(texts([*range(50), *range(5)]), numeric=False, y=y) is None


def test_a_rare_class_is_not_a_revealed_one():
    rare = np.zeros(N)
    rare[:2] = 1  # 99.7 % negative: every column is right on 99.5 % of the rows
    assert kind_of_finding(texts(np.arange(N) % 4), numeric=False, y=rare) is None
    assert kind_of_finding(noise(), numeric=True, y=rare) is None


@pytest.mark.parametrize("numeric", [True, False])
def test_few_rows_may_agree_by_chance(numeric):
    y = [0, 0, 0, 0, 1, 1, 1, 1]  # 2 of 70 orders separate them
    values = y if numeric else texts(y)
    assert kind_of_finding(values, numeric=numeric, y=y) is None
    assert kind_of_finding(values * 3, numeric=numeric, y=y * 3) == "revealing"


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("numeric", [True, False])
def test_one_class_does_not_crash(y, numeric):
    values = np.arange(N) % 7
    assert kind_of_finding(values if numeric else texts(values), numeric=numeric, y=np.full(N, y)) is None


def test_text_that_identifies_rows():
    assert kind_of_finding(texts(range(N)), numeric=False) == "identifying"
    assert kind_of_finding(texts(np.arange(N) // 2), numeric=False) == "identifying"
    assert kind_of_finding(texts(np.arange(N) % 50), numeric=False) is None
    assert kind_of_finding(texts(range(30)), numeric=False, y=Y[:30]) == "identifying"


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(N),
        permutation(key(0, "ids"), N),
        permutation(key(0, "ids"), 2 * N)[:N] + 10_000,
        np.cumsum(1 + permutation(key(0, "gaps"), N)),
        with_missing(permutation(key(0, "ids"), N), np.arange(N) % 10 == 0),
    ],
    ids=["running", "shuffled", "a sample", "ascending with gaps", "some missing"],
)
def test_numbers_that_identify_rows(ids):
    assert kind_of_finding(ids, numeric=True) == "identifying"


@pytest.mark.parametrize(
    "measured",
    [
        np.sort(noise()),
        np.arange(N) + 0.5,
        permutation(key(0, "salary"), 1_000_000)[:N],
        np.arange(N) // 2,
        np.floor(uniform(key(0, "age"), (N,)) * 3 * N),
    ],
    ids=["sorted fractions", "halves", "far-flung whole numbers", "pairs", "dense but repeated"],
)
def test_measurements_do_not_identify_rows(measured):
    assert kind_of_finding(measured, numeric=True) is None


@pytest.mark.parametrize(
    ("n", "levels", "found"),
    [
        *((300, 100, False), (300, 101, True)),  # a third of the rows
        *((60, 50, False), (60, 51, True)),
        *((20, 20, True), (19, 19, False), (21, 20, False)),  # all differ
    ],
)
def test_how_many_levels_identify_rows(n, levels, found):
    values = texts(np.arange(n) % levels)
    assert (kind_of_finding(values, numeric=False, y=Y[:n]) == "identifying") is found


@pytest.mark.parametrize(
    ("n", "span", "found"),
    [
        *((60, 180, True), (60, 181, False)),  # 3 n is more than n² / 28
        *((140, 700, True), (140, 701, False)),  # n² / 28 is more than 3 n
        *((30, 90, True), (29, 29, False)),
    ],
)
def test_how_narrow_a_range_of_distinct_integers_identifies_rows(n, span, found):
    integers = np.append(np.arange(n - 1), span - 1) + 5000
    shuffled = integers[permutation(key(1, "ids"), n)]
    assert (kind_of_finding(shuffled, numeric=True, y=Y[:n]) == "identifying") is found


@pytest.mark.parametrize("ordered", [np.arange(40) ** 4, -(np.arange(40) ** 4)])
def test_integers_in_order_identify_rows_however_wide_their_range(ordered):
    values = ordered.astype(float)
    assert kind_of_finding(values, numeric=True, y=Y[:40]) == "identifying"
    repeated = values.copy()
    repeated[20] = repeated[19]
    assert kind_of_finding(repeated, numeric=True, y=Y[:40]) is None
