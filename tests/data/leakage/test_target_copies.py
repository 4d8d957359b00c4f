import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.data.leakage.target_copies import near_copy

N = 1000
DRAW = np.random.default_rng(0)
Y = (DRAW.random(N) < 0.4).astype(np.int8)
WRONG = np.arange(N) % 100 == 7
COPY = np.where(WRONG, 1 - Y, Y)


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        (COPY == 1, False),
        (np.where(COPY == 1, "b", "a"), False),
        (3 - 2 * COPY, True),
        (COPY + DRAW.uniform(0, 0.9, N), True),
        (np.where(COPY == 1, np.nan, DRAW.normal(size=N)), True),
    ],
    ids=["booleans", "words", "two numbers", "numbers", "missing if positive"],
)
def test_a_copy_with_one_row_of_a_hundred_wrong_is_found(values, numeric):
    assert near_copy(pd.Series(values), Y, numeric=numeric) == pytest.approx(0.99, abs=0.001)


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        (DRAW.normal(size=N) + 2 * Y, True),
        (np.where(DRAW.random(N) < 0.1, 1 - Y, Y), True),
        (np.where(DRAW.random(N) < 0.1, 1 - Y, Y).astype(str), False),
        (np.char.add("level", (np.arange(N) // 2).astype(str)), False),
        (np.zeros(N), True),
    ],
    ids=["two sd apart", "90 % agree", "90 % agree, words", "levels of two rows", "constant"],
)
def test_a_strong_column_is_no_copy(values, numeric):
    assert near_copy(pd.Series(values), Y, numeric=numeric) is None


def test_where_a_class_is_rare_a_constant_is_no_copy():
    rare = (np.arange(N) < 15).astype(np.int8)
    assert near_copy(pd.Series(DRAW.normal(size=N)), rare, numeric=True) is None
    assert near_copy(pd.Series(np.arange(N) % 3), rare, numeric=True) is None
    assert near_copy(pd.Series(np.where(np.arange(N) == 500, 1, rare)), rare, numeric=True) == 0.999


def test_few_rows_may_agree_by_chance():
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=np.int8)
    assert near_copy(pd.Series(y), y, numeric=True) is None


def test_noise_that_is_mostly_missing_is_no_copy_in_a_file_sorted_by_the_target():
    y = np.sort(Y)
    values = np.where(np.arange(N) % 50 > 0, np.nan, DRAW.normal(size=N))
    assert near_copy(pd.Series(values), y, numeric=True) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from([3, 13, 200]))
def test_the_order_of_rows_does_not_matter(seed, noise, values):
    draw = np.random.default_rng(seed)
    y = np.sort(draw.random(200) < 0.4).astype(np.int8)
    copy = np.where(draw.random(200) < noise, 1 - y, y)
    column = pd.Series(copy * 1000.0 + draw.integers(values, size=200)).where(copy == draw.integers(2))
    other = draw.permutation(200)
    assert near_copy(column, y, numeric=True) == near_copy(column[other], y[other], numeric=True)


@pytest.mark.parametrize("numeric", [True, False])
def test_more_than_two_of_a_hundred_wrong_are_too_many(numeric):
    y = (np.arange(249) % 2).astype(np.int8)  # 2 % of them are 4.98
    for wrong, share in ((4, 1 - 4 / 249), (5, None)):
        copy = np.where(np.arange(249) < wrong, 1 - y, y)
        assert near_copy(pd.Series(copy), y, numeric=numeric) == (share and pytest.approx(share))
