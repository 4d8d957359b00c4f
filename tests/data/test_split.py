import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sweepgrad.config import FileData, SimulatedData, Split
from sweepgrad.data.preprocess import Preprocessor
from sweepgrad.data.split import Training, open_test, open_training, split_rows, units_of
from sweepgrad.data.table import Table
from sweepgrad.errors import UserError
from sweepgrad.rng import key, normal, uniform


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


def test_single_rows_are_as_a_plain_shuffle_has_them():
    """Each row is in each part with the probability of its share, and pairs of rows are independent."""
    tested = np.zeros((2000, 20))
    for seed in range(2000):
        tested[seed, split_rows(np.zeros(20), np.arange(20), shares(seed=seed)).test] = 1
    assert (tested.sum(axis=1) == 4).all()
    assert np.abs(tested.mean(axis=0) - 0.2).max() < 5 * np.sqrt(0.16 / 2000)
    # Without replacement: the correlation of any two rows is -1 / 19.
    correlations = np.asarray(np.corrcoef(tested.T))[np.triu_indices(20, 1)]
    assert np.abs(correlations + 1 / 19).max() < 5 / np.sqrt(2000)


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
def test_units_as_merging_by_hand_has_them(rows):
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


N = 300


def table():
    """Features of every sort, two songs out of three in more than one row."""
    x = normal(key(0, "x"), (N, 2))
    y = labels(N)
    return pd.DataFrame(
        {
            "song": (uniform(key(0, "song"), (N,)) * 200).astype(int),
            "x1": x[:, 0] + y,
            "x2": np.where(uniform(key(0, "gone"), (N,)) < 0.1, np.nan, x[:, 1]),
            "count": (uniform(key(0, "count"), (N,)) * 9).astype(int),
            "genre": np.array(["pop", "rock", "folk"])[(uniform(key(0, "genre"), (N,)) * 3).astype(int)],
            "flag": uniform(key(0, "flag"), (N,)) < 0.5,
            "liked": np.where(y == 1, "yes", "no"),
        }
    )


def file_data(path, **changes):
    keys = {
        "source": "file",
        "name": "test",
        "path": str(path),
        "sha256": None,
        "target": "liked",
        "positive": "yes",
        "numeric": ("x1", "x2", "count"),
        "categorical": ("genre", "flag"),
        "drop": (),
        "group": "song",
        "keep": (),
    }
    return FileData(**{**keys, **changes})


def written(frame, path):
    frame.to_csv(path, index=False)
    return path


def rows_of(opened: Table):
    """Rows of a part, recognisable by their features."""
    return set(opened.frame[["x1", "x2", "count"]].itertuples(index=False, name=None))


def test_training_holds_no_test_row(tmp_path):
    data = file_data(written(table(), tmp_path / "t.csv"))
    opened = open_training(data, shares())
    test = open_test(data, shares())
    assert opened.n_test == len(test)
    assert len(opened.train) + len(opened.val) + len(test) == N
    x1 = [set(part.frame["x1"]) for part in (opened.train, opened.val, test)]
    assert sum(map(len, x1)) == N == len(set.union(*x1))
    songs = [set(part.frame["song"]) for part in (opened.train, opened.val, test)]
    assert sum(map(len, songs)) == table()["song"].nunique()
    # Nothing in it but the two tables is as large as a row.
    assert {field.name for field in dataclasses.fields(Training)} == {
        "train",
        "val",
        "n_test",
        "digests",
        "notices",
    }
    assert test.frame.columns.tolist() == opened.train.frame.columns.tolist()


def test_digests_are_those_of_the_indices(tmp_path):
    path = written(table(), tmp_path / "t.csv")
    opened = open_training(file_data(path), shares())
    parts = split_rows(labels(N), units_of(table(), (("song",),)), shares())
    assert opened.digests.table == hashlib.sha256(path.read_bytes()).hexdigest()
    for part in ("train", "val", "test"):
        expected = hashlib.sha256(getattr(parts, part).astype("<i8").tobytes()).hexdigest()
        assert getattr(opened.digests, part) == expected


def test_one_copy_for_all_jobs_until_the_file_changes(tmp_path):
    path = written(table(), tmp_path / "t.csv")
    opened = open_training(file_data(path), shares())
    assert open_training(file_data(path), shares()) is opened
    assert open_training(file_data(path), shares(seed=1)) is not opened
    assert not opened.train.y.flags.writeable
    written(table().assign(x1=1.5 * table()["x1"]), path)
    assert open_training(file_data(path), shares()) is not opened


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_value_of_a_validation_or_test_row_reaches_the_preprocessor(tmp_path_factory, data):
    """Whatever stands in them, the split and all that is learned from the training rows stay the same."""
    frame = table()
    folder = tmp_path_factory.mktemp("leak")
    split = shares(seed=data.draw(st.integers(0, 5)))
    before = open_training(file_data(written(frame, folder / "before.csv")), split)
    others = np.setdiff1d(np.arange(N), split_rows(labels(N), units_of(frame, (("song",),)), split).train)
    garbled = frame.astype(object)
    strange = {
        "x1": st.floats(-1e300, 1e300),
        "x2": st.one_of(st.none(), st.integers(-(2**62), 2**62)),  # a longer one makes pandas read text
        "count": st.one_of(st.none(), st.floats(-5, 5)),
        "genre": st.one_of(st.none(), st.text("abc", min_size=1)),
        "flag": st.one_of(st.none(), st.booleans(), st.sampled_from(["maybe", "7"])),
    }
    for column, values in strange.items():
        some = data.draw(st.lists(values, min_size=1, max_size=10))
        garbled.loc[others, column] = pd.Series(
            (some * len(others))[: len(others)], index=others, dtype=object
        )
    after = open_training(file_data(written(garbled, folder / "after.csv")), split)
    fitted = [Preprocessor.fit(opened.train) for opened in (before, after)]
    assert fitted[0] == fitted[1]
    features = [p.transform(o.train.frame).tobytes() for p, o in zip(fitted, (before, after), strict=True)]
    assert features[0] == features[1]
    assert before.digests.test == after.digests.test


def test_a_column_that_is_constant_on_training_rows_is_dropped_from_every_part(tmp_path):
    frame = table()
    train = split_rows(labels(N), np.arange(N), shares()).train
    frame["almost"] = np.where(np.isin(np.arange(N), train), "same", "other")
    path = written(frame.drop(columns="song"), tmp_path / "t.csv")
    data = file_data(path, categorical=("genre", "flag", "almost"), group=None)
    opened = open_training(data, shares())
    for part in (opened.train, opened.val, open_test(data, shares())):
        assert "almost" not in part.frame
        assert part.roles.categorical == ("genre", "flag")
        assert part.roles.dropped == ("almost",)
    assert opened.notices == (
        "almost is same in every training row, so it is dropped; list it under data.drop to silence this",
    )
    kept = data.model_copy(update={"keep": ("almost",)})
    assert "almost" in open_training(kept, shares()).train.frame


def test_what_reveals_and_what_identifies_is_refused_in_one_message(tmp_path):
    frame = table()
    frame["stars"] = labels(N) + uniform(key(0, "stars"), (N,)) / 2
    frame["title"] = [f"title {i}" for i in range(N)]
    path = written(frame, tmp_path / "t.csv")
    data = file_data(path, numeric=("x1", "x2", "count", "stars"), categorical=("genre", "flag", "title"))
    with pytest.raises(UserError) as error:
        open_training(data, shares())
    message = str(error.value)
    assert str(path) in message
    assert "stars alone predicts liked (ROC AUC 1.000)" in message
    assert "title identifies rows" in message
    assert "data.drop: stars, title" in message
    assert "data.keep" in message
    with pytest.raises(UserError, match="stars alone"):
        open_test(data, shares())
    open_training(data.model_copy(update={"keep": ("stars", "title")}), shares())


def test_only_constant_features(tmp_path):
    path = written(table().assign(x1=1)[["x1", "liked"]], tmp_path / "t.csv")
    with pytest.raises(UserError, match="every feature column is constant"):
        open_training(file_data(path, numeric=("x1",), categorical=(), group=None), shares())


@pytest.mark.parametrize(
    ("frame", "split", "message"),
    [
        (table().iloc[:8], shares(0.8, 0.1, 0.1), "the validation part has no rows"),
        (table(), shares(0.999, 0.0005, 0.0005), "the test part has no rows"),
        (table().assign(song=1), shares(), "part has no rows"),
        (table().assign(liked=["yes"] + ["no"] * (N - 1)), shares(), "part has no positive rows"),
        (table().assign(liked=["no"] + ["yes"] * (N - 1)), shares(), "part has only positive rows"),
    ],
)
def test_parts_that_cannot_be_used(tmp_path, frame, split, message):
    path = written(frame, tmp_path / "t.csv")
    with pytest.raises(UserError) as error:
        open_training(file_data(path), split)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    for part in ("training", "validation", "test"):
        assert part in str(error.value)
    for remedy in ("more rows", "split.train", "split.seed", "data.group"):
        assert remedy in str(error.value)


def spotify(**changes):
    root = Path(__file__).parents[2]
    keys = yaml.safe_load((root / "conf/data/spotify.yaml").read_text())
    keys = {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()}
    group = tuple(map(tuple, keys["group"]))
    return FileData(**{**keys, "group": group, "path": str(root / "data/spotify.csv"), **changes})


def test_songs_stay_together():
    opened = open_training(spotify(), shares())
    assert len(opened.train) + len(opened.val) + opened.n_test == 6000
    assert opened.notices == ()
    for key_columns in (["artists", "track_name"], ["track_id"]):
        seen = [
            set(part.frame[key_columns].itertuples(index=False, name=None))
            for part in (opened.train, opened.val)
        ]
        assert not seen[0] & seen[1]


def test_popularity_left_in_is_caught():
    data = spotify()
    without_role = data.model_copy(update={"drop": ("album_name", "key", "time_signature")})
    with pytest.raises(UserError, match="no role is given to popularity"):
        open_training(without_role, shares())
    assert data.numeric is not None
    learned = without_role.model_copy(update={"numeric": (*data.numeric, "popularity")})
    with pytest.raises(UserError, match=r"popularity alone predicts popular_or_not \(ROC AUC 1.000\)"):
        open_training(learned, shares())


def test_a_simulated_table_may_be_predictable():
    data = SimulatedData(source="simulated", name="s", kind="linear", rows=500, features=1, noise=0.0, seed=0)
    opened = open_training(data, shares())
    assert (len(opened.train), len(opened.val), opened.n_test) == (300, 100, 100)


def test_a_part_that_missed_its_share_is_told(tmp_path):
    few = table().assign(song=np.minimum(np.arange(N), N // 2))  # half of the rows are one song
    path = written(few, tmp_path / "few.csv")
    for seed in range(4):
        opened = open_training(file_data(path), shares(seed=seed))
        shares_found = [n / N for n in (len(opened.train), len(opened.val), opened.n_test)]
        missed = any(
            abs(found - asked) > asked / 4 for found, asked in zip(shares_found, (0.6, 0.2, 0.2), strict=True)
        )
        told = [notice for notice in opened.notices if "the groups are few and large" in notice]
        assert bool(told) == missed
    assert missed, "the example shows nothing: take another seed last"
    many = open_training(file_data(written(table(), tmp_path / "many.csv")), shares()).notices
    assert not [notice for notice in many if "the groups are few and large" in notice]
