import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sweepgrad import rng
from sweepgrad.training.shuffle import AT_ONCE, RUN, WINDOW, shuffled

keys = st.integers(0, 2**64 - 1)
large = st.integers(AT_ONCE + 1, AT_ONCE + 3 * WINDOW)


@given(keys, st.integers(0, 300))
def test_a_small_table_is_permuted_whole(key, n):
    assert_array_equal(shuffled(key, n), rng.permutation(key, n))


@settings(max_examples=15, deadline=None)
@given(keys, large)
def test_every_row_comes_once(key, n):
    order = shuffled(key, n)
    assert order.dtype == np.int64
    assert_array_equal(np.sort(order), np.arange(n))


def test_the_same_key_gives_the_same_order_and_another_one_another():
    n = AT_ONCE + 1
    assert_array_equal(shuffled(1, n), shuffled(1, n))
    assert (shuffled(1, n) != shuffled(2, n)).mean() > 0.99


def test_a_window_holds_runs_from_all_over_the_table():
    n = 8 * AT_ONCE
    window = shuffled(3, n)[:WINDOW]
    runs = np.unique(window // RUN)
    assert runs.size == WINDOW // RUN
    # 256 of 16,384 runs, evenly: the sd of their mean place is 1 / √(12 · 256) of the table.
    assert abs(runs.mean() / (n / RUN) - 0.5) < 5 / np.sqrt(12 * runs.size)


def test_neighbours_in_the_table_are_no_neighbours_in_the_order():
    order = shuffled(4, AT_ONCE + 1)
    # Of a window's rows, one in WINDOW / 2 would follow its neighbour by chance.
    assert (np.abs(np.diff(order)) == 1).mean() < 5 / WINDOW


def test_batches_of_a_sorted_table_hold_both_classes():
    """Sort all positives to the end: the share of positives in a batch of 256 stays near a half."""
    n = 4 * AT_ONCE
    positive = shuffled(5, n) >= n // 2
    shares = positive.reshape(-1, 256).mean(axis=1)
    assert abs(shares.mean() - 0.5) < 1e-9
    # Drawn at random: sd 1/32. Windows of 256 runs, each of one class, add another 1/32.
    assert shares.std() < 1.2 * np.sqrt(2) / 32
