"""End to end: models learn from training rows only, and no job ever holds a test row."""

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support import CSV, command, people

from sweepgrad.compose.plan import plan
from sweepgrad.data.access import open_training
from sweepgrad.data.split import split_rows, units_of
from sweepgrad.paths import data_dir
from sweepgrad.runs import record as records

OVERRIDES = (*CSV, "data.group=person", "data.categorical=[town,member]", "model=middle", "train.epochs=4")
SENTINEL = "Sentinelburgh"
NUMBER = 31415926.5
NEEDLES = (
    *(text.encode() for text in (SENTINEL, str(NUMBER), str(int(NUMBER)))),
    *(np.float64(number).tobytes() for number in (NUMBER, -NUMBER)),
)


@pytest.fixture(scope="module")
def parts():
    """Return the rows of each set, from labels, groups and the seed only."""
    table = people()
    (job,) = plan(OVERRIDES, multirun=False).jobs
    found = split_rows(
        (table["left"] == "yes").to_numpy().astype(float), units_of(table, (("person",),)), job.config.split
    )
    assert not set(table["person"][found.train]) & set(table["person"][found.test])
    return found


def spoiled(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return the table with other features in some rows; labels and groups stay, so the split does."""
    table = table.copy()
    table.loc[rows, "age"] = NUMBER
    table.loc[rows, "income"] = np.where(np.arange(len(rows)) % 2, np.nan, -NUMBER)
    table.loc[rows, "town"] = SENTINEL
    table.loc[rows, "member"] = True
    return table


def trained(name: str, table: pd.DataFrame, *more: str) -> Path:
    """Train a run on the table and return its folder."""
    table.to_csv("people.csv", index=False)
    folder = Path("runs", name)
    result = command("train", *OVERRIDES, *more, f"hydra.run.dir={folder}")
    assert result.code == 0, result.err
    return folder


def bits(folder: Path) -> list[bytes]:
    with np.load(folder / "model" / "weights.npz") as file:
        return [file[name].tobytes() for name in file.files]


def test_validation_and_test_rows_have_no_say_in_the_weights(folder, parts):
    table = people()
    # One epoch: which epoch is kept is up to the validation rows, what each epoch leads to is not.
    honest = trained("honest", table, "train.epochs=1")
    others = spoiled(table, np.concatenate([parts.val, parts.test]))
    corrupted = trained("corrupted", others, "train.epochs=1")
    assert bits(honest) == bits(corrupted)
    model = "model/bundle.json"
    assert (honest / model).read_text() == (corrupted / model).read_text()
    one_row_changed = table.copy()
    one_row_changed.loc[parts.train[0], "age"] += 1
    assert bits(trained("changed", one_row_changed, "train.epochs=1")) != bits(honest)


def test_of_test_rows_a_run_reports_counts_in_its_certificate_and_nothing_else(folder, parts):
    table = people()
    honest = trained("honest", table, "train.patience=2")
    corrupted = trained("corrupted", spoiled(table, parts.test), "train.patience=2")
    assert bits(honest) == bits(corrupted)
    one, other = records.read(honest), records.read(corrupted)
    assert one.history == other.history
    certificates = [record.certificate or {} for record in (one, other)]
    differ = {topic for topic in certificates[0] if certificates[0][topic] != certificates[1][topic]}
    assert differ <= {"table", "duplicates", "near_duplicates", "rows_with_duplicates", "leaks"}
    assert one.summary == other.summary


def contents(path: Path) -> list[bytes]:
    """Yield the bytes of a file, and of the files packed in it."""
    if path.suffix != ".npz":
        return [path.read_bytes()]
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as packed:
        return [packed.read(name) for name in packed.namelist()]


def test_no_test_row_is_in_any_file_that_a_job_leaves(folder, parts):
    job = trained("job", spoiled(people(), parts.test))
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert job / "record.json" in files
    assert any("mlartifacts" in path.parts for path in files)
    for path in files:
        for content in contents(path):
            assert not any(needle in content for needle in NEEDLES), path


@pytest.mark.parametrize(
    "launcher",
    ["threads", "basic", pytest.param("dask", marks=pytest.mark.slow)],
)
def test_a_finished_sweep_holds_no_test_row_and_no_job_of_it_a_test_score(folder, parts, launcher):
    """Search all files of the jobs and the whole store: only the sweep's own run has test metrics."""
    if launcher == "dask":
        pytest.importorskip("distributed", reason="Dask is not installed")
    table = people()
    spoiled(table, parts.test).assign(age=table["age"]).to_csv("people.csv", index=False)
    sweep = ("-m", *OVERRIDES, "train.epochs=2", "seed=1,2", f"hydra/launcher={launcher}")
    assert command("train", *sweep).code == 0
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    for path in files:
        for content in contents(path):
            assert not any(needle in content for needle in NEEDLES), path
    done = command("finalize", "--json")
    assert done.code == 0, done.err
    card = json.loads(done.out)
    scores = [card["test"]["nll"], card["test"]["roc_auc"], card["calibration"]["test"]["after"]]
    texts = [str(score) for score in scores]
    assert min(map(len, texts)) > 10, "so short a number may occur anywhere: take another seed"
    jobs = [path for path in files if path.suffix in (".json", ".yaml", ".npz", ".txt")]
    for path in jobs:
        for content in contents(path):
            assert not any(text.encode() in content for text in texts), path
    with closing(sqlite3.connect("runs/mlflow.db")) as store:
        children = "SELECT run_uuid FROM tags WHERE key = 'sweepgrad.kind' AND value = 'job'"
        for kept in ("metrics", "latest_metrics"):
            rows = store.execute(f"SELECT key, value FROM {kept} WHERE run_uuid IN ({children})").fetchall()
            assert rows
            assert not [key for key, value in rows if "test" in key or value in scores]
        for kept in ("tags", "params"):
            rows = store.execute(f"SELECT key, value FROM {kept} WHERE run_uuid IN ({children})").fetchall()
            assert not [key for key, value in rows if any(text in value for text in texts)]
        judged = store.execute("SELECT value FROM metrics WHERE key = 'test/nll'").fetchall()
        assert judged == [(scores[0],)]  # of the sweep's own run, so that the search can find it
        dump = "\n".join(store.iterdump())
    assert not any(needle in dump.encode() for needle in NEEDLES[:3])


def test_the_search_would_find_a_row_that_leaked(folder, parts):
    job = trained("job", spoiled(people(), parts.train[:40]))
    assert SENTINEL.encode() in (job / "model" / "bundle.json").read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("large", [0, 2**60])
def test_the_array_that_jobs_share_is_the_same_whatever_the_test_rows_are(
    tmp_path, monkeypatch, parts, suffix, large
):
    """No byte in memory or in a file is of a test row."""
    monkeypatch.setattr("sweepgrad.data.arrays.LARGE", large)
    opened = []
    for name, table in (("honest", people()), ("other", spoiled(people(), parts.test))):
        path = tmp_path / f"{name}.{suffix}"
        table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
        (job,) = plan([*OVERRIDES, f"data.path={path}"], multirun=False).jobs
        opened.append(open_training(job.config.data, job.config.split))
    honest, other = opened
    assert honest.digests.table != other.digests.table
    assert honest.preprocessor == other.preprocessor
    assert honest.X.tobytes() == other.X.tobytes()
    assert honest.y.tobytes() == other.y.tobytes()
    assert SENTINEL not in " ".join(honest.preprocessor.names)
    assert (honest.n_train, honest.n_val) == (len(parts.train), len(parts.val))


def test_spotifys_songs_are_never_on_two_sides():
    (job,) = plan(["data=spotify"], multirun=False).jobs
    table = pd.read_csv(data_dir() / "spotify.csv")
    y = (table["popular_or_not"] == "popular").to_numpy().astype(float)
    found = split_rows(y, units_of(table, (("artists", "track_name"), ("track_id",))), job.config.split)
    sides = np.empty(len(table), dtype=int)
    for side, rows in enumerate((found.train, found.val, found.test)):
        sides[rows] = side
    assert table.assign(side=sides).groupby("track_id")["side"].nunique().max() == 1
    assert table.assign(side=sides).groupby(["artists", "track_name"])["side"].nunique().max() == 1
