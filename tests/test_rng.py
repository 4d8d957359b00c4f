import hashlib
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2, kstest

from sweepgrad.rng import bits, fold, key, normal, permutation, threshold, uniform, words

keys = st.integers(0, 2**64 - 1)


def splitmix64(state):
    """Steele, Lea & Flood (2014), figure 17, in whole numbers modulo 2^64."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


@given(keys, st.integers(0, 20))
def test_words_are_those_of_splitmix64(k, n):
    words = bits(k, n)
    assert words.dtype == np.uint64
    assert words.tolist() == list(islice(splitmix64(k), n))


def test_words_are_those_published_for_splitmix64():
    # From https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64, for the seed 1234567.
    assert bits(1234567, 5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(keys, st.integers(0, 50), st.integers(0, 50))
def test_an_element_does_not_depend_on_how_many_there_are(k, n, more):
    assert_array_equal(bits(k, n + more)[:n], bits(k, n))
    assert_array_equal(uniform(k, (n + more,))[:n], uniform(k, (n,)))


@given(keys, st.integers(0, 60), st.integers(0, 60), st.integers(1, 9))
def test_words_may_be_drawn_from_anywhere(k, n, first, step):
    assert_array_equal(bits(k, n, first, step), bits(k, first + n * step)[first::step][:n])
    assert_array_equal(uniform(k, (n,), first, step), uniform(k, (first + n * step,))[first::step][:n])


def test_many_words_are_drawn_as_few_are():
    words = bits(7, 100_000)  # more than a chunk
    assert [words[i] for i in (0, 32_767, 32_768, 99_999)] == [
        bits(7, 1, first=i)[0] for i in (0, 32_767, 32_768, 99_999)
    ]


@given(keys, st.integers(0, 6), st.integers(0, 6))
def test_a_shape_only_folds_the_numbers(k, rows, columns):
    for draw in (uniform, normal):
        x = draw(k, (rows, columns))
        assert x.shape == (rows, columns)
        assert x.dtype == np.float64
        assert_array_equal(x.reshape(-1), draw(k, (rows * columns,)))


def test_a_scalar_shape_gives_a_scalar():
    assert uniform(key(0, "one"), ()).shape == ()
    assert uniform(key(0, "one"), ()) == uniform(key(0, "one"), (3,))[0]


def test_uniform_numbers_are_the_top_53_bits():
    k = key(0, "top")
    drawn = bits(k, 100).tolist()
    assert uniform(k, (100,)).tolist() == [(word >> 11) / 2**53 for word in drawn]


def test_uniform_numbers_never_reach_1():
    largest = np.uint64(2**64 - 1) >> np.uint64(11)
    assert float(largest) * 2.0**-53 < 1
    x = uniform(key(0, "range"), (100_000,))
    assert x.min() >= 0
    assert x.max() < 1


@pytest.mark.parametrize("bins", [2, 10, 64, 1000])
def test_uniform_numbers_fill_bins_evenly(bins):
    """Between the quantiles of chi-square that one key in a million falls below, or rises above."""
    n = 200_000
    count = np.bincount((uniform(key(0, "chi-square"), (n,)) * bins).astype(int), minlength=bins)
    statistic = float(((count - n / bins) ** 2 / (n / bins)).sum())
    assert chi2.ppf(1e-6, bins - 1) < statistic < chi2.ppf(1 - 1e-6, bins - 1)


def test_neighbouring_numbers_and_neighbouring_keys_are_independent():
    """Correlations of n independent pairs have a standard error of 1 / √n; five are allowed."""
    n = 100_000
    x = uniform(key(0, "pairs"), (n + 1,))
    steps = np.array([uniform(key(0, "step", t), (10,)) for t in range(2001)])
    for a, b in ((x[:-1], x[1:]), (steps[:-1].ravel(), steps[1:].ravel())):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)


def test_every_bit_is_set_half_the_time():
    n = 50_000
    words = bits(key(0, "bits"), n)
    share = [float(np.mean((words >> np.uint64(i)) & np.uint64(1))) for i in range(64)]
    assert_allclose(share, 0.5, atol=5 * 0.5 / np.sqrt(n))


def test_normal_numbers_are_normal():
    """Mean and variance within five standard errors, and the whole distribution by Kolmogorov & Smirnov."""
    n = 100_000
    x = normal(key(0, "normal"), (n,))
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 5 / np.sqrt(n)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n)
    assert kstest(x, "norm").pvalue > 1e-6


@given(keys, st.integers(0, 300))
def test_permutation_is_one(k, n):
    order = permutation(k, n)
    assert_array_equal(np.sort(order), np.arange(n))


@given(keys, st.integers(0, 300))
def test_a_permutation_is_the_order_of_the_words(k, n):
    assert_array_equal(permutation(k, n), np.argsort(bits(k, n), kind="stable"))


def test_a_permutation_of_many_is_the_order_of_the_words_too():
    """In about 16 pairs the upper bits are equal, and only the whole words differ."""
    n = 1 << 23
    words, lowest = bits(1, n), np.uint64(n - 1)
    order = permutation(1, n)
    assert order.dtype == np.int64
    lined_up = words[order]
    assert np.all(lined_up[1:] > lined_up[:-1])  # no two words are equal, so there is one such order
    assert np.sum((lined_up[1:] ^ lined_up[:-1]) <= lowest) > 5


def test_permutations_are_equally_likely():
    """Count all 24 orders of four rows, over keys: chi-square with 23 degrees of freedom."""
    n = 12_000
    orders = [tuple(permutation(key(0, "order", epoch), 4).tolist()) for epoch in range(n)]
    counts = np.array([orders.count(order) for order in sorted(set(orders))])
    assert len(counts) == 24
    assert ((counts - n / 24) ** 2 / (n / 24)).sum() < chi2.ppf(1 - 1e-6, 23)


def test_keys_differ_by_seed_purpose_and_every_counter():
    counters: list[tuple[int, ...]] = [(), *((a,) for a in range(30)), *np.ndindex(12, 12)]
    purposes = ("initial", "order", "dropout")
    found = [key(seed, purpose, *c) for seed in range(-5, 30) for purpose in purposes for c in counters]
    assert len(set(found)) == len(found) == 35 * 3 * (1 + 30 + 144)
    assert all(0 <= k < 2**64 for k in found)
    assert key(1, "order", 23) != key(12, "order", 3) != key(1, "order", 2, 3)


def test_a_key_is_the_digest_of_its_use():
    """Not Python's own hash, which differs from process to process."""
    digest = hashlib.blake2b(b"order/3/7", digest_size=8).digest()
    assert key(3, "order", 7) == int.from_bytes(digest, "little")


# Keys and words for native code


@given(keys, st.lists(st.integers(0, 2**40), max_size=4))
def test_fold_takes_one_word_after_another(k, counters):
    expected = k
    for counter in counters:
        state = (expected + counter * 0x9E3779B97F4A7C15) % 2**64
        expected = next(splitmix64(state))
    assert fold(k, *counters) == expected


@given(keys, st.integers(0, 30), st.integers(0, 30))
def test_fold_gives_the_words_of_bits(k, i, j):
    assert fold(k, i) == bits(k, i + 1)[i]
    assert fold(k, i, j) == fold(fold(k, i), j)


def test_folded_keys_differ():
    found = {fold(key(seed, "masks"), t, i) for seed in range(4) for t in range(300) for i in range(8)}
    assert len(found) == 4 * 300 * 8


def plain_words(k, n):
    """Return the words of the same hash, in integers modulo 2^32."""
    found = []
    for i in range(n):
        x = (i + k) % 2**32
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= k >> 32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        found.append(x ^ (x >> 16))
    return found


@given(keys, st.integers(0, 40), st.integers(0, 40))
def test_short_words_are_their_hash_however_many_there_are(k, n, more):
    found = words(k, n)
    assert found.dtype == np.uint32
    assert found.tolist() == plain_words(k, n)
    assert_array_equal(words(k, n + more)[:n], found)


def test_short_words_of_the_largest_key_wrap_around():
    assert words(2**64 - 1, 3).tolist() == plain_words(2**64 - 1, 3)


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
@pytest.mark.parametrize("of", ["one key", "neighbouring steps", "neighbouring keys"])
def test_bytes_of_short_words_are_even(of, shift):
    """Test within a key, and at one place over keys, as in dropout; chi-square with 255 degrees."""
    n = 100_000
    match of:
        case "one key":
            drawn = words(key(0, "even"), n)
        case "neighbouring steps":
            drawn = np.concatenate([words(fold(key(0, "even"), t, 0), 10) for t in range(n // 10)])
        case _:
            drawn = np.concatenate([words(key(0, "even", t), 10) for t in range(n // 10)])
    count = np.bincount((drawn >> np.uint32(shift)) & np.uint32(255), minlength=256)
    statistic = float(((count - n / 256) ** 2 / (n / 256)).sum())
    assert chi2.ppf(1e-6, 255) < statistic < chi2.ppf(1 - 1e-6, 255)


def correlation(a, b):
    """Return the correlation in standard errors."""
    return abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) * np.sqrt(np.size(a))


def test_short_words_beside_each_other_and_of_neighbouring_keys_are_independent():
    """Test numbers and masks of dropout 0.5, at distances of 1, 2, 8 and a layer."""
    n = 100_000
    x = words(key(0, "pairs"), n + 64).astype(np.float64)
    steps = np.array([words(fold(key(0, "masks"), t, 0), 50) for t in range(2001)]).astype(np.float64)
    layers = np.array([words(fold(key(0, "masks"), t, 1), 50) for t in range(2001)]).astype(np.float64)
    pairs = [(x[:n], x[d : n + d]) for d in (1, 2, 8, 64)]
    pairs += [
        (steps[:-1], steps[1:]),
        (steps, layers),
        (steps[:-1], layers[1:]),
        (steps[:-1, 1:], steps[1:, :-1]),
    ]
    half = 2.0**31
    for a, b in pairs:
        assert correlation(a, b) < 5
        assert correlation(a < half, b < half) < 5


def test_both_halves_of_a_key_decide_its_words():
    """Keys are mixed words themselves, as `key` and `fold` give them: only then are theirs independent."""
    base = words(key(0, "halves"), 5000)
    for bit in range(64):
        assert np.mean(base == words(key(0, "halves") ^ (1 << bit), 5000)) < 0.01, bit


@given(st.floats(0, 1))
def test_threshold_is_the_share_of_words_below_it(p):
    found = threshold(p)
    assert found.dtype == np.uint32
    assert abs(int(found) / 2**32 - p) <= 2.0**-32
    assert threshold(0.0) == 0


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_words_are_below_their_threshold_with_its_probability(p):
    n = 100_000
    share = float(np.mean(words(key(0, "share"), n) < threshold(p)))
    assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / n) + 2.0**-32
