import gc
import hashlib
import mmap
from dataclasses import replace
from functools import partial
from io import IOBase
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data import access, arrays
from sweepgrad.data.access import Tables, open_check, open_test, open_training
from sweepgrad.data.io.columns import Columns
from sweepgrad.data.split import split_rows, units_of
from sweepgrad.data.table import read
from sweepgrad.errors import UserError
from sweepgrad.rng import key, normal, uniform


def shares(train=0.6, val=0.2, test=0.2, seed=0, stratify=True, folds=5, fold=None):
    return Split(train=train, val=val, test=test, seed=seed, stratify=stratify, folds=folds, fold=fold)


def labels(n, share=0.4, seed=0):
    return (uniform(key(seed, "labels"), (n,)) < share).astype(float)


N = 300


def table():
    """Return a table with features of every kind, where two of three songs have more than one row."""
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
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def test_training_holds_no_test_row(tmp_path):
    data = file_data(written(table(), tmp_path / "t.csv"))
    opened = open_training(data, shares())
    val, test = (
        Tables().validation(data, shares(), opened.digests, "it"),
        open_test(Tables(), data, shares(), opened.digests, "it"),
    )
    assert (opened.n_val, opened.n_test) == (len(val), len(test))
    assert opened.n_train + opened.n_val + opened.n_test == N
    first = opened.preprocessor.names.index("x1")
    x1 = [*opened.X[:, first], *opened.preprocessor.transform(test.frame)[:, first]]
    assert len(x1) == N == len(set(x1))
    assert not set(val.frame["song"]) & set(test.frame["song"])
    assert test.frame.columns.tolist() == val.frame.columns.tolist()


def reachable(thing):
    """Return all objects that an object refers to, directly or not, except through modules and types."""
    found, ahead = {}, [thing]
    while ahead:
        here = ahead.pop()
        if id(here) not in found and not isinstance(here, type | ModuleType | FunctionType):
            found[id(here)] = here
            ahead.extend(gc.get_referents(here))
            ahead.append(here.base if isinstance(here, np.ndarray) else None)
            ahead.append(here.obj if isinstance(here, memoryview) else None)
    return found.values()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("mapped", [False, True])
def test_training_has_no_reference_to_the_table(tmp_path, monkeypatch, suffix, mapped):
    monkeypatch.setattr(arrays, "LARGE", 0 if mapped else 2**60)
    data = file_data(written(table(), tmp_path / f"t.{suffix}"))
    opened = open_training(data, shares())
    n, width = N - opened.n_test, len(opened.preprocessor.names)
    kinds = {type(thing) for thing in reachable(opened)}
    assert not [kind for kind in kinds if issubclass(kind, pd.DataFrame | pd.Series | Columns | IOBase)]
    shapes = {thing.shape for thing in reachable(opened) if isinstance(thing, np.ndarray)}
    assert shapes <= {(n, width), (n * width,), (n,)}
    files = [thing for thing in reachable(opened) if isinstance(thing, mmap.mmap)]
    assert [file[:] for file in files] == ([opened.X.tobytes()] if mapped else [])
    # The search finds what there is to be found.
    whole = read(data)
    assert any(isinstance(thing, Columns) for thing in reachable(whole))


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
    assert open_training(file_data(path), shares()) is opened
    written(table().assign(x1=1.5 * table()["x1"]), path)
    assert open_training(file_data(path), shares()) is not opened


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_value_of_a_validation_or_test_row_reaches_the_preprocessor(tmp_path_factory, data):
    """Check that values of held-out rows change neither the split nor what is fitted to training rows."""
    frame = table()
    folder = tmp_path_factory.mktemp("leak")
    split = shares(seed=data.draw(st.integers(0, 5)))
    transform = data.draw(st.sampled_from(["standardize", "quantile_normal", {"x2": "quantile_normal"}]))
    before = open_training(file_data(written(frame, folder / "before.csv"), transform=transform), split)
    others = np.setdiff1d(np.arange(N), split_rows(labels(N), units_of(frame, (("song",),)), split).train)
    garbled = frame.astype(object)
    strange = {
        "x1": st.floats(-1e300, 1e300),
        "x2": st.one_of(st.none(), st.integers(-(2**62), 2**62)),  # pandas reads a longer one as text
        "count": st.one_of(st.none(), st.floats(-5, 5)),
        "genre": st.one_of(st.none(), st.text("abc", min_size=1)),
        "flag": st.one_of(st.none(), st.booleans(), st.sampled_from(["maybe", "7"])),
    }
    for column, values in strange.items():
        some = data.draw(st.lists(values, min_size=1, max_size=10))
        garbled.loc[others, column] = pd.Series(
            (some * len(others))[: len(others)], index=others, dtype=object
        )
    after = open_training(file_data(written(garbled, folder / "after.csv"), transform=transform), split)
    assert before.preprocessor == after.preprocessor
    assert before.X_train.tobytes() == after.X_train.tobytes()
    assert before.y.tobytes() == after.y.tobytes()
    assert before.digests.test == after.digests.test


def test_a_column_that_is_constant_on_training_rows_is_dropped_from_every_part(tmp_path):
    frame = table()
    train = split_rows(labels(N), np.arange(N), shares()).train
    frame["almost"] = np.where(np.isin(np.arange(N), train), "same", "other")
    path = written(frame.drop(columns="song"), tmp_path / "t.csv")
    data = file_data(path, categorical=("genre", "flag", "almost"), group=None)
    opened = open_training(data, shares())
    assert "almost" not in opened.preprocessor.columns
    for part in (
        Tables().validation(data, shares(), opened.digests, "it"),
        open_test(Tables(), data, shares(), opened.digests, "it"),
    ):
        assert "almost" not in part.frame
        assert part.roles.categorical == ("genre", "flag")
        assert part.roles.dropped == ("almost",)
    assert opened.notices == (
        "almost is 'same' in every training row, so it is dropped; add it to data.drop to silence this",
    )
    kept = data.model_copy(update={"keep": ("almost",)})
    assert "almost=same" in open_training(kept, shares()).preprocessor.names


@pytest.mark.parametrize(
    ("transform", "normal"),
    [
        ("standardize", ()),
        ("quantile_normal", ("x1", "x2", "count")),
        ({"x2": "quantile_normal"}, ("x2",)),
    ],
)
def test_a_transform_is_of_the_columns_that_it_names(tmp_path, transform, normal):
    data = file_data(written(table(), tmp_path / "t.csv"), transform=transform)
    opened = open_training(data, shares())
    assert tuple(part.column for part in opened.preprocessor.numeric if part.normal) == normal
    assert np.abs(opened.X_train[:, opened.preprocessor.names.index("x2")].mean()) < 1e-12
    assert FileData.model_validate(data.model_dump()) == data  # as a run records it


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
    assert "Add stars, title to data.drop" in message
    assert "data.keep" in message
    kept = open_training(data.model_copy(update={"keep": ("stars", "title")}), shares())
    with pytest.raises(UserError, match="stars alone"):
        open_test(Tables(), data, shares(), kept.digests, "it")


def test_rows_that_have_changed_are_refused(tmp_path):
    path = written(table(), tmp_path / "t.csv")
    data = file_data(path)
    digests = open_training(data, shares()).digests
    assert len(open_test(Tables(), data, shares(), digests, "it"))
    written(table().assign(x1=table()["x1"] + 1000), path)
    for of_part in (Tables().validation, partial(open_test, Tables())):
        with pytest.raises(UserError, match="is not what it was trained on: its contents have changed"):
            of_part(data, shares(), digests, "it")
    written(table(), path)
    with pytest.raises(UserError, match="is not what it was trained on: it is split differently now"):
        open_test(Tables(), data, shares(seed=1), digests, "it")


def test_only_constant_features(tmp_path):
    path = written(table().assign(x1=1)[["x1", "liked"]], tmp_path / "t.csv")
    with pytest.raises(UserError, match="every feature is constant"):
        open_training(file_data(path, numeric=("x1",), categorical=(), group=None), shares())


@pytest.mark.parametrize(
    ("frame", "split", "message"),
    [
        (table().iloc[:8], shares(0.8, 0.1, 0.1), "the validation set has no rows"),
        (table(), shares(0.999, 0.0005, 0.0005), "the test set has no rows"),
        (table().assign(song=1), shares(), "set has no rows"),
        (table().assign(liked=["yes"] + ["no"] * (N - 1)), shares(), "set has no positive rows"),
        (table().assign(liked=["no"] + ["yes"] * (N - 1)), shares(), "set has only positive rows"),
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
    assert opened.n_train + opened.n_val + opened.n_test == 6000
    assert opened.notices == ()
    val = Tables().validation(spotify(), shares(), opened.digests, "it")
    test = open_test(Tables(), spotify(), shares(), opened.digests, "it")
    for key_columns in (["artists", "track_name"], ["track_id"]):
        seen = [set(part.frame[key_columns].itertuples(index=False, name=None)) for part in (val, test)]
        assert not seen[0] & seen[1]


def test_the_songs_are_split_as_in_earlier_versions():
    """Compare with the digests of the split that the documents use."""
    digests = open_training(spotify(), shares()).digests
    assert digests.train.startswith("fce76edeab7020f9")
    assert digests.val.startswith("10a7a2c4229e299f")
    assert digests.test.startswith("0bc292eea6b5cbaf")


def test_popularity_left_in_is_caught():
    data = spotify()
    without_role = data.model_copy(update={"drop": ("album_name", "key", "time_signature")})
    with pytest.raises(UserError, match="columns without a role: popularity"):
        open_training(without_role, shares())
    assert data.numeric is not None
    learned = without_role.model_copy(update={"numeric": (*data.numeric, "popularity")})
    with pytest.raises(UserError, match=r"popularity alone predicts popular_or_not \(ROC AUC 1.000\)"):
        open_training(learned, shares())


def test_a_simulated_table_may_be_predictable():
    data = SimulatedData(source="simulated", name="s", kind="linear", rows=500, features=1, noise=0.0, seed=0)
    opened = open_training(data, shares())
    assert (opened.n_train, opened.n_val, opened.n_test) == (300, 100, 100)


def test_the_test_rows_are_the_same_whatever_the_fold(tmp_path):
    data = file_data(written(table(), tmp_path / "t.csv"))
    plain = open_training(data, shares())
    expected = open_test(Tables(), data, shares(), plain.digests, "it").frame
    validated = []
    for fold in range(3):
        split = shares(folds=3, fold=fold)
        opened = open_training(data, split)
        assert (opened.digests.table, opened.digests.test) == (plain.digests.table, plain.digests.test)
        assert opened.digests.train != plain.digests.train
        pd.testing.assert_frame_equal(open_test(Tables(), data, split, opened.digests, "it").frame, expected)
        validated += Tables().validation(data, split, opened.digests, "it").frame["x1"].tolist()
    assert sorted([*validated, *expected["x1"]]) == sorted(pd.read_csv(data.path)["x1"])


def test_folds_that_are_too_small_are_reported_with_a_remedy(tmp_path):
    data = file_data(written(table().iloc[:30], tmp_path / "t.csv"))
    with pytest.raises(UserError, match=r"the validation set has .*fewer folds \(split.folds\)"):
        open_training(data, shares(folds=29, fold=0))
    with pytest.raises(UserError) as error:
        open_training(data, shares(0.98, 0.01, 0.01))
    assert "fewer folds" not in str(error.value)


def test_a_fold_of_its_own_size_is_not_reported(tmp_path):
    path = written(table().drop(columns="song"), tmp_path / "t.csv")
    # Fold 11 of 70 has 5 of 300 rows instead of 3.4, because of rounding to whole rows.
    for split in (shares(folds=2, fold=0), shares(folds=10, fold=9), shares(folds=70, fold=11)):
        assert open_training(file_data(path, group=None), split).notices == ()


def test_a_part_that_missed_its_share_is_reported(tmp_path):
    few = table().assign(song=np.minimum(np.arange(N), N // 2))  # half of the rows are one song
    path = written(few, tmp_path / "few.csv")
    for seed in range(4):
        opened = open_training(file_data(path), shares(seed=seed))
        shares_found = [n / N for n in (opened.n_train, opened.n_val, opened.n_test)]
        missed = any(
            abs(found - asked) > asked / 4 for found, asked in zip(shares_found, (0.6, 0.2, 0.2), strict=True)
        )
        reported = [notice for notice in opened.notices if "groups are few and large" in notice]
        assert bool(reported) == missed
    assert missed, "the example shows nothing: use another last seed"
    many = open_training(file_data(written(table(), tmp_path / "many.csv")), shares()).notices
    assert not [notice for notice in many if "groups are few and large" in notice]


def test_labels_are_those_of_the_validation_rows_and_are_read_once(tmp_path, monkeypatch):
    data, split = file_data(written(table(), tmp_path / "t.csv")), shares()
    opened = open_training(data, split)
    tables, read_files = Tables(), []

    def counted(data):
        read_files.append(data)
        return read(data)

    monkeypatch.setattr(access, "read", counted)
    for _ in range(2):
        found = tables.labels(data, split, opened.digests, "it")
        assert found.dtype == np.float64
        assert found.tolist() == opened.y_val.tolist()
    training = tables.training(data, split)  # the other columns are prepared from the same reading
    assert tables.training(data, split) is training
    assert training.y_val.tolist() == found.tolist()
    assert tables.labels(data, split, opened.digests, "it").tolist() == found.tolist()
    assert len(read_files) == 1
    others = replace(opened.digests, val="0" * 64)
    with pytest.raises(UserError, match="the model"):
        tables.labels(data, split, others, "the model")


def test_parts_are_cut_from_the_same_arrays(tmp_path):
    opened = open_training(file_data(written(table(), tmp_path / "t.csv")), shares())
    n = opened.n_train
    assert (len(opened.X_train), len(opened.y_train)) == (n, n)
    assert (len(opened.X_val), len(opened.y_val)) == (opened.n_val, opened.n_val)
    assert opened.X_train.tolist() == opened.X[:n].tolist()
    assert opened.y_val.tolist() == opened.y[n:].tolist()


def test_a_check_reports_what_training_would_say_of_the_split(tmp_path):
    few = table().assign(song=np.minimum(np.arange(N), N // 2))
    data = file_data(written(few, tmp_path / "few.csv"))
    report = open_check(data, shares(seed=3))
    assert report.notices == open_training(data, shares(seed=3)).notices
    assert report.positives == np.mean(few["liked"] == "yes")
    with pytest.raises(UserError, match="the validation set has"):
        open_check(file_data(written(table().iloc[:30], tmp_path / "t.csv")), shares(0.98, 0.01, 0.01))


def test_the_columns_that_a_check_leaves_out_are_those_that_are_kept(tmp_path):
    frame = table().assign(answer=lambda frame: frame["liked"] + "!")
    path = written(frame, tmp_path / "t.csv")
    columns = {"numeric": ("x1",), "categorical": ("answer",), "drop": ("x2", "count", "genre", "flag")}
    for keep, kinds in (((), ["revealing"]), (("answer",), [])):
        report = open_check(file_data(path, **columns, keep=keep), shares())
        assert [finding.kind for finding in report.findings] == kinds


def test_reading_is_announced_from_a_size_on(tmp_path, monkeypatch, caplog):
    simulated = SimulatedData(
        source="simulated", name="s", kind="moons", rows=250, features=3, noise=0.3, seed=0
    )
    path = written(table(), tmp_path / "t.csv")
    for data, size in ((simulated, 250 * 3 * 8), (file_data(path), path.stat().st_size)):
        for limit, announced in ((size, False), (size - 1, True)):
            monkeypatch.setattr(access, "_LARGE", limit)
            with caplog.at_level("INFO", "sweepgrad"):
                open_check(data, shares())
            assert ("reading 0 MB" in caplog.text) is announced
            caplog.clear()


def test_a_file_that_changed_replaces_its_earlier_copy(tmp_path):
    data = file_data(written(table(), tmp_path / "t.csv"))
    open_training(data, shares())
    before = len(access._opened)
    written(table().assign(x1=lambda frame: frame["x1"] * 2), tmp_path / "t.csv")
    open_training(data, shares())
    assert len(access._opened) == before
    assert [key[3] for key in access._opened if key[0] == data] == [access._version(data)]


def test_slow_steps_are_reported_by_the_name_of_the_table(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sweepgrad.messages._SECONDS", -1.0)
    data = file_data(written(table(), tmp_path / "t.csv"), name="people")
    tables = Tables()
    calls = (
        lambda: open_training(data, shares(), np.float32),
        lambda: tables._open(data, shares()),
        lambda: tables.training(data, shares()),
        lambda: open_check(data, shares()),
    )
    for call in calls:
        with caplog.at_level("INFO", "sweepgrad"):
            call()
        assert {message.partition(":")[0] for message in caplog.messages} == {"people"}
        caplog.clear()
