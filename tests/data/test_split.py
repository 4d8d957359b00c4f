import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sweepgrad.config.split import Split
from sweepgrad.data.split import Parts, split_rows, uneven_parts, units_of
from sweepgrad.rng import key, uniform


def shares(train=0.6, val=0.2, test=0.2, seed=0, stratify=True):
    return Split(train=train, val=val, test=test, seed=seed, stratify=stratify)


def labels(n, share=0.4, seed=0):
    return (uniform(key(seed, "labels"), (n,)) < share).astype(float)


splits = st.builds(
    lambda percents, seed, stratify: shares(
        percents[0] / 100, percents[1] / 100, (100 - sum(percents)) / 100, seed, stratify
    ),
    st.tuples(st.integers(5, 45), st.integers(5, 45)),
    st.integers(0, 2**63 - 1),
    st.booleans(),
)
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=80)


@settings(max_examples=100, deadline=None)
@given(rows, splits)
def test_parts_are_disjoint_and_whole_and_never_divide_a_unit(rows, split):
    y, unit = np.array(rows).T
    unit = np.unique(unit, return_inverse=True)[1]
    parts = split_rows(y.astype(float), unit, split)
    together = np.concatenate([parts.train, parts.val, parts.test])
    assert_array_equal(np.sort(together), np.arange(len(rows)))
    units = [set(unit[part].tolist()) for part in (parts.train, parts.val, parts.test)]
    assert sum(map(len, units)) == len(set.union(*units))
    assert all(np.all(np.diff(part) > 0) for part in (parts.train, parts.val, parts.test))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=200), splits)
def test_single_rows_have_exact_sizes_in_each_class(y, split):
    y = np.array(y, dtype=float)
    parts = split_rows(y, np.arange(y.size), split)
    for stratum in [y == 0, y == 1] if split.stratify else [y >= 0]:
        for part, share in ((parts.train, split.train), (parts.val, split.val), (parts.test, split.test)):
            assert abs(stratum[part].sum() - share * stratum.sum()) <= 1


@settings(max_examples=100, deadline=None)
@given(rows, splits)
def test_sizes_miss_by_no_more_than_a_unit_a_stratum(rows, split):
    y, unit = np.array(rows).T
    unit = np.unique(unit, return_inverse=True)[1]
    parts = split_rows(y.astype(float), unit, split)
    frame = pd.DataFrame({"unit": unit, "y": y}).groupby("unit")["y"].agg(["size", "mean"])
    kind = (
        frame["mean"].map(lambda mean: mean if mean in (0, 1) else 0.5)
        if split.stratify
        else frame["mean"] * 0
    )
    # Half of the largest unit at either end, and one for rounding, in each stratum.
    allowed = (frame["size"].groupby(kind).max() + 1).sum()
    for part, share in ((parts.train, split.train), (parts.val, split.val), (parts.test, split.test)):
        assert abs(part.size - share * len(rows)) <= allowed


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_pairs_have_exact_sizes_in_each_stratum(seed):
    # 50 pairs each with no, one and two positive rows: 60 % of 50 pairs are 30, 20 % are 10.
    positives = np.repeat([0, 1, 2], 50)
    y = np.stack([positives == 2, positives >= 1], axis=1).astype(float).ravel()
    parts = split_rows(y, np.arange(300) // 2, shares(seed=seed))
    for part, expected in ((parts.train, 30), (parts.val, 10), (parts.test, 10)):
        assert np.bincount(positives[part[::2] // 2]).tolist() == [expected] * 3


@pytest.mark.parametrize("stratify", [True, False])
def test_every_unit_is_as_likely_to_be_tested_whatever_its_size(stratify):
    # One unit of 40 of the 100 rows, one of 15, the others single; all negative, so one stratum either way.
    unit = np.concatenate([np.zeros(40), np.ones(15), 2 + np.arange(45)]).astype(np.int64)
    y = np.zeros(100)
    n_seeds = 4000
    tested = np.zeros(unit.max() + 1)
    for seed in range(n_seeds):
        parts = split_rows(y, unit, shares(seed=seed, stratify=stratify))
        tested[np.unique(unit[parts.test])] += 1
    # Binomial with p = 0.2: the standard deviation of a share is 0.0063; five of them.
    assert np.abs(tested / n_seeds - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / n_seeds)


def test_the_same_seed_gives_the_same_parts_and_another_does_not():
    y, unit = labels(500), np.arange(500) // 2
    first, again, other = (split_rows(y, unit, shares(seed=seed)) for seed in (3, 3, 4))
    for part in ("train", "val", "test"):
        assert_array_equal(getattr(first, part), getattr(again, part))
        assert not np.array_equal(getattr(first, part), getattr(other, part))


def test_single_rows_are_split_as_by_a_plain_shuffle():
    """Check the probability of each part for each row, and the independence of pairs of rows."""
    tested = np.zeros((2000, 20))
    for seed in range(2000):
        tested[seed, split_rows(np.zeros(20), np.arange(20), shares(seed=seed)).test] = 1
    assert (tested.sum(axis=1) == 4).all()
    assert np.abs(tested.mean(axis=0) - 0.2).max() < 5 * np.sqrt(0.16 / 2000)
    # Without replacement: the correlation of any two rows is -1 / 19.
    correlations = np.asarray(np.corrcoef(tested.T))[np.triu_indices(20, 1)]
    assert np.abs(correlations + 1 / 19).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("sizes", "reported"),
    [
        ((60, 20, 20), []),
        ((55, 25, 20), []),  # 25 is a quarter more than 20, and no more
        ((54, 26, 20), ["validation"]),
        ((64, 20, 16), []),
        ((66, 20, 14), ["test"]),
        ((44, 36, 20), ["training", "validation"]),
        ((76, 10, 14), ["training", "validation", "test"]),
    ],
)
def test_parts_that_miss_their_share_by_more_than_a_quarter_are_reported(sizes, reported):
    parts = Parts(np.repeat([0, 1, 2], sizes).astype(np.int8))
    assert [parts.size(part) for part in ("train", "val", "test")] == list(sizes)
    notices = uneven_parts(parts, shares())
    assert [notice.split()[1] for notice in notices] == reported
    wanted = {"training": (sizes[0], 60), "validation": (sizes[1], 20), "test": (sizes[2], 20)}
    for notice, name in zip(notices, reported, strict=True):
        size, share = wanted[name]
        assert f"has {size} of 100 rows, {size:.1f}% instead of {share}%" in notice


def test_parts_that_miss_their_share_by_three_rows_are_not_reported():
    # A quarter of 2 rows of 10 is half a row, which whole rows cannot keep to.
    assert not uneven_parts(Parts(np.repeat([0, 1, 2], (3, 2, 5)).astype(np.int8)), shares())
    assert len(uneven_parts(Parts(np.repeat([0, 1, 2], (2, 2, 6)).astype(np.int8)), shares())) == 2


def test_units_by_hand():
    frame = pd.DataFrame(
        {
            "artist": ["A", "A", "B", "B", "C", None, None],
            "title": ["x", "y", "x", "x", "z", "z", "z"],
            "id": ["1", "2", "3", "4", "2", "5", "6"],
        }
    )
    assert units_of(frame, ()).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert units_of(frame, (("id",),)).tolist() == [0, 1, 2, 3, 1, 4, 5]
    # A missing artist makes no song: rows 5 and 6 stay apart.
    assert units_of(frame, (("artist", "title"),)).tolist() == [0, 1, 2, 2, 3, 4, 5]
    # By song and id together: C z has the id of A y.
    assert units_of(frame, (("artist", "title"), ("id",))).tolist() == [0, 1, 2, 2, 1, 3, 4]
    # Passed on: x joins A with B, A joins x with y.
    assert units_of(frame, (("artist",), ("title",))).tolist() == [0, 0, 0, 0, 1, 1, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 8))] * 3), min_size=1, max_size=15))
def test_units_equal_those_merged_by_hand(rows):
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=object)
    keys = (("a", "b"), ("c",))
    found = units_of(frame, keys)
    expected = list(range(len(rows)))
    for _ in rows:
        for i, left in enumerate(rows):
            for j, right in enumerate(rows):
                same_song = None not in left[:2] and left[:2] == right[:2]
                if same_song or (left[2] is not None and left[2] == right[2]):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert_array_equal(found[:, None] == found, np.equal.outer(expected, expected))
    assert sorted(set(found.tolist())) == list(range(found.max() + 1))


# Folds


def folds_of(y, unit, split, folds):
    return [
        split_rows(y, unit, Split.model_validate({**split.model_dump(), "folds": folds, "fold": fold}))
        for fold in range(folds)
    ]


@settings(max_examples=100, deadline=None)
@given(rows, splits, st.integers(2, 9))
def test_every_row_outside_the_test_part_is_validated_in_exactly_one_fold(rows, split, folds):
    y, unit = np.array(rows).T.astype(int)
    unit = np.unique(unit, return_inverse=True)[1]
    plain = split_rows(y.astype(float), unit, split)
    parts = folds_of(y.astype(float), unit, split, folds)
    assert_array_equal(
        np.sort(np.concatenate([part.val for part in parts])), np.sort(np.r_[plain.train, plain.val])
    )
    for part in parts:
        assert_array_equal(part.test, plain.test)
        assert part.digest("test") == plain.digest("test")
        assert_array_equal(np.sort(np.r_[part.train, part.val]), np.sort(np.r_[plain.train, plain.val]))
        units = [set(unit[rows].tolist()) for rows in (part.train, part.val, part.test)]
        assert sum(map(len, units)) == len(set.union(*units))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=200), splits, st.integers(2, 9))
def test_folds_of_single_rows_are_of_equal_size_in_each_class(y, split, folds):
    y = np.array(y, dtype=float)
    for part in folds_of(y, np.arange(y.size), split, folds):
        for stratum in [y == 0, y == 1] if split.stratify else [y >= 0]:
            rest = stratum[part.train].sum() + stratum[part.val].sum()
            assert abs(stratum[part.val].sum() - rest / folds) <= 1


@settings(max_examples=100, deadline=None)
@given(rows, splits, st.integers(2, 9))
def test_folds_miss_their_size_by_no_more_than_a_unit_a_stratum(rows, split, folds):
    y, unit = np.array(rows).T
    unit = np.unique(unit, return_inverse=True)[1]
    frame = pd.DataFrame({"unit": unit, "y": y}).groupby("unit")["y"].agg(["size", "mean"])
    kind = frame["mean"].map(lambda mean: mean if mean in (0, 1) else 0.5) * split.stratify
    allowed = (frame["size"].groupby(kind).max() + 1).sum()
    expected = (1 - split.test) * len(rows) / folds
    for part in folds_of(y.astype(float), unit, split, folds):
        # One more for each stratum: the arc that is divided is itself in whole rows.
        assert abs(part.val.size - expected) <= allowed + kind.nunique()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_folds_of_pairs_have_exact_sizes_in_each_stratum(seed):
    # 50 pairs each with no, one and two positive rows: 80 % of 50 pairs are 40, in five folds of 8.
    positives = np.repeat([0, 1, 2], 50)
    y = np.stack([positives == 2, positives >= 1], axis=1).astype(float).ravel()
    for part in folds_of(y, np.arange(300) // 2, shares(seed=seed), 5):
        assert np.bincount(positives[part.val[::2] // 2]).tolist() == [8] * 3
        assert np.bincount(positives[part.test[::2] // 2]).tolist() == [10] * 3


# Outer folds


def test_folds_end_at_the_nearest_whole_row():
    """Check three folds of 8 rows, whose ends are at 2.67 and 5.33."""
    folds = [shares(seed=3, stratify=False).model_copy(update={"folds": 3, "fold": k}) for k in range(3)]
    sizes = [split_rows(labels(10), np.arange(10), fold).val.size for fold in folds]
    assert sizes == [3, 5 - 3, 8 - 5]


def outer_folds_of(y, unit, split, n, **more):
    test = 1 / n
    shares = {"train": (1 - test) * 0.75, "val": (1 - test) * 0.25, "test": test, "outer_folds": n, **more}
    return [
        split_rows(y, unit, Split.model_validate({**split.model_dump(), **shares, "outer_fold": outer}))
        for outer in range(n)
    ]


@settings(max_examples=100, deadline=None)
@given(rows, splits, st.integers(2, 9), st.sampled_from([{}, {"folds": 3, "fold": 1}]))
def test_every_row_is_tested_in_exactly_one_outer_fold_and_no_unit_is_divided(rows, split, n_outer, fold):
    y, unit = np.array(rows).T.astype(int)
    unit = np.unique(unit, return_inverse=True)[1]
    parts = outer_folds_of(y.astype(float), unit, split, n_outer, **fold)
    assert_array_equal(np.sort(np.concatenate([part.test for part in parts])), np.arange(len(rows)))
    for part in parts:
        together = np.concatenate([part.train, part.val, part.test])
        assert_array_equal(np.sort(together), np.arange(len(rows)))
        units = [set(unit[rows].tolist()) for rows in (part.train, part.val, part.test)]
        assert sum(map(len, units)) == len(set.union(*units))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=200), splits, st.integers(2, 9))
def test_outer_folds_of_single_rows_are_of_equal_size_in_each_class(y, split, n_outer):
    y = np.array(y, dtype=float)
    for part in outer_folds_of(y, np.arange(y.size), split, n_outer):
        for stratum in [y == 0, y == 1] if split.stratify else [y >= 0]:
            n = stratum.sum()
            for rows, share in ((part.test, 1 / n_outer), (part.train, 0.75 * (1 - 1 / n_outer))):
                assert abs(stratum[rows].sum() - share * n) <= 1


@settings(max_examples=50, deadline=None)
@given(rows, splits, st.integers(2, 9), st.integers(2, 5))
def test_in_an_outer_fold_every_other_row_is_validated_in_exactly_one_fold(rows, split, n_outer, folds):
    y, unit = np.array(rows).T.astype(int)
    unit = np.unique(unit, return_inverse=True)[1]
    by_fold = [
        outer_folds_of(y.astype(float), unit, split, n_outer, folds=folds, fold=fold)[-1]
        for fold in range(folds)
    ]
    alone = outer_folds_of(y.astype(float), unit, split, n_outer)[-1]
    validated = np.sort(np.concatenate([part.val for part in by_fold]))
    assert_array_equal(validated, np.sort(np.r_[alone.train, alone.val]))
    assert all(part.digest("test") == alone.digest("test") for part in by_fold)


@pytest.mark.parametrize("n_outer", [2, 3, 5, 7, 10])
@pytest.mark.parametrize("n", [15, 151, 333, 500])
@pytest.mark.parametrize("exactly", [True, False])
def test_the_first_outer_fold_tests_what_is_tested_without(n_outer, n, exactly):
    y, unit = labels(n), np.arange(n) // 2
    test = 1 / n_outer if exactly else round(1 / n_outer, 2)
    fold_shares = {
        **shares(seed=3).model_dump(),
        "test": test,
        "train": 0.7 * (1 - test),
        "val": 0.3 * (1 - test),
    }
    without = split_rows(y, unit, Split.model_validate(fold_shares))
    parts = [
        split_rows(
            y, unit, Split.model_validate({**fold_shares, "outer_folds": n_outer, "outer_fold": outer})
        )
        for outer in range(n_outer)
    ]
    for part in ("train", "val", "test"):
        assert_array_equal(getattr(parts[0], part), getattr(without, part))
    assert_array_equal(np.sort(np.concatenate([part.test for part in parts])), np.arange(n))


def test_splits_without_outer_folds_are_what_they_were_before():
    """Compare with digests recorded at commit 199d716, the last one without outer folds."""
    y, unit = labels(500, seed=1), np.arange(500) // 3
    found = [
        split_rows(y, unit, Split(train=0.6, val=0.2, test=0.2, seed=7, stratify=True, fold=fold))
        for fold in (None, 2)
    ]
    digests = [[part.digest(which)[:12] for which in ("train", "val", "test")] for part in found]
    assert digests == [
        ["4a0f3ac86911", "7ebc42d83fbc", "4b134de1da43"],
        ["70e5eaff693a", "572be5ec3c0f", "4b134de1da43"],
    ]


def test_the_shares_of_a_fold_are_what_its_parts_have():
    fold = Split(train=0.6, val=0.2, test=0.2, seed=0, stratify=True, folds=4, fold=3)
    assert fold.shares == pytest.approx((0.6, 0.2, 0.2), rel=1e-12)
    fold = Split(train=0.5, val=0.1, test=0.4, seed=0, stratify=True, folds=10, fold=0)
    assert fold.shares == pytest.approx((0.54, 0.06, 0.4), rel=1e-12)
    assert shares(0.5, 0.1, 0.4).shares == (0.5, 0.1, 0.4)
    parts = split_rows(labels(1000), np.arange(1000), fold)
    for part, share in zip((parts.train, parts.val, parts.test), fold.shares, strict=True):
        assert abs(part.size - 1000 * share) <= 2
