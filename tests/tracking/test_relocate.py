"""A store that was moved or copied with its project: its artifacts are read and written beside it."""

import contextlib
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import GRID, SMALL, command, load_model

from sweepgrad.runs import record as records
from sweepgrad.tracking import relocate
from sweepgrad.tracking.relocate import ARTIFACTS, known_as
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.sync import _place, _refuse_if_gone, sync

PLACES = (
    "SELECT artifact_location FROM experiments WHERE name = 'sweepgrad'",
    "SELECT artifact_uri FROM runs",
    "SELECT artifact_location FROM logged_models",
    "SELECT storage_location FROM model_versions",
)


@pytest.fixture
def project(sweep, tmp_path: Path) -> Path:
    """Return the folder of a project that was finalized and then moved.

    The shared sweep has to stay, so a copy of it is finalized and moved.
    """
    first = tmp_path / "first"
    shutil.copytree(sweep.folder, first)
    _enter(first)
    assert command("leaderboard").code == 0
    assert command("finalize").code == 0
    shutil.move(first, tmp_path / "second place")
    return tmp_path / "second place"


@pytest.fixture(autouse=True)
def _back(monkeypatch):
    monkeypatch.chdir(Path.cwd())  # so that leaving is undone


def _enter(folder: Path) -> None:
    os.chdir(folder)


def ask(store: Path, question: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return [row[0] for row in connection.execute(question)]


def test_a_project_that_was_moved_works_and_is_told_of_once(project):
    _enter(project)
    first = command("leaderboard")
    assert first.code == 0
    assert first.err.count("was moved here from") == 1
    assert str(project.parent / "first") in first.err
    for place in PLACES:
        found = ask(project / "runs" / "mlflow.db", place)
        assert found
        assert all(path.startswith((project / "runs" / ARTIFACTS).as_uri()) for path in found), place
    again = command("finalize")
    assert again.code == 0
    assert "moved" not in again.err
    assert "evaluated before" in again.err
    assert not (project.parent / "first").exists()


def test_the_registered_model_of_a_moved_store_loads(project):
    _enter(project)
    uri = f"sqlite:///{project}/runs/mlflow.db"
    Store(uri, "sweepgrad")
    assert load_model(uri, "models:/sweepgrad-simulated@chosen") is not None


def test_finalizing_after_the_move_writes_beside_the_store(sweep, tmp_path):
    """Unlike in the first test, the move is before `finalize`."""
    shutil.copytree(sweep.folder, tmp_path / "first")
    _enter(tmp_path / "first")
    assert command("leaderboard").code == 0
    shutil.move(tmp_path / "first", tmp_path / "moved")
    _enter(tmp_path / "moved")
    assert command("finalize").code == 0
    assert len(list((tmp_path / "moved" / "runs" / ARTIFACTS).glob("*/artifacts/card.md"))) == 1
    assert not (tmp_path / "first").exists()


def test_sync_of_a_moved_project_sends_to_the_store_that_moved_with_it(sweep, tmp_path):
    shutil.copytree(sweep.folder, tmp_path / "first")
    _enter(tmp_path / "first")
    assert command("train", "-m", *SMALL, *GRID.split(), "seed=3").code == 0
    max(Path("runs", "sweeps").glob("*/*/mlflow.json"), key=lambda path: path.stat().st_mtime).unlink()
    n = len(ask(Path("runs", "mlflow.db"), "SELECT run_uuid FROM runs"))
    shutil.move(tmp_path / "first", tmp_path / "moved")
    _enter(tmp_path / "moved")
    synced = command("sync")
    assert (synced.code, synced.out) == (0, "1 runs sent\n"), synced.err
    assert "was moved here from" in synced.err
    assert not (tmp_path / "first").exists()
    assert len(ask(Path("runs", "mlflow.db"), "SELECT run_uuid FROM runs")) == n
    assert (command("sync").out, list(tmp_path.glob("*.db"))) == ("0 runs sent\n", [])


def test_sync_of_a_project_that_was_moved_without_its_store_makes_one_beside_the_runs(
    sweep, tmp_path, empty_store
):
    shutil.copytree(sweep.folder, tmp_path / "first")
    _enter(tmp_path / "first")
    assert command("train", *SMALL, "seed=4").code == 0
    shutil.move(tmp_path / "first", tmp_path / "moved")
    _enter(tmp_path / "moved")
    (single,) = Path("runs", "single").iterdir()
    shutil.rmtree("runs/sweeps")
    for file in Path("runs").glob("mlflow.db*"):
        file.unlink()
    shutil.copy(empty_store, "elsewhere.db")
    Path("elsewhere.db").rename("runs/mlflow.db")  # quicker than a new one, and as empty
    assert command("sync").out == "1 runs sent\n"
    assert single.exists()
    assert not (tmp_path / "first").exists()


def test_a_copy_uses_its_own_artifacts_and_the_original_stays_as_it_is(sweep, tmp_path):
    _enter(tmp_path)
    copy = Path(shutil.copytree(sweep.folder, tmp_path / "copy"))
    original = sweep.folder / "runs" / "mlflow.db"
    before = ask(original, "SELECT artifact_uri FROM runs")
    _enter(copy)
    first = command("finalize")
    assert first.code == 0, first.err
    assert "is a copy of the store in" in first.err
    assert ask(original, "SELECT artifact_uri FROM runs") == before
    assert not list((sweep.folder / "runs" / ARTIFACTS).glob("*/artifacts/card.md"))
    assert len(list((copy / "runs" / ARTIFACTS).glob("*/artifacts/card.md"))) == 1
    assert known_as(copy / "runs" / "mlflow.db", original)
    assert not known_as(original, copy / "runs" / "mlflow.db")


def test_sync_of_a_copy_that_has_lost_its_store_leaves_the_original_alone(sweep, tmp_path, empty_store):
    runs = Path(shutil.copytree(sweep.folder / "runs", tmp_path / "runs"))
    record = next(runs.rglob(records.RECORD))
    for file in runs.glob("mlflow.db*"):
        file.unlink()
    read = records.read(record.parent)
    place, _ = _place(read, record.parent, runs)
    assert place == f"sqlite:///{runs / 'mlflow.db'}"
    _refuse_if_gone(place, read, runs)
    assert not (runs / "mlflow.db").exists()
    shutil.copy(empty_store, runs / "mlflow.db")  # quicker than a new one, and as empty
    original = sweep.folder / "runs" / "mlflow.db"
    before = ask(original, "SELECT run_uuid, lifecycle_stage FROM runs")
    assert sync(runs) == len(list(runs.rglob(records.RECORD)))
    assert sync(runs) == 0
    assert ask(original, "SELECT run_uuid, lifecycle_stage FROM runs") == before


def test_a_run_that_the_original_has_trained_again_is_not_sent_there_from_a_copy(sweep, tmp_path):
    runs = Path(shutil.copytree(sweep.folder / "runs", tmp_path / "runs"))
    for file in runs.glob("mlflow.db*"):
        file.unlink()
    record = next(runs.rglob(records.RECORD))
    read = records.read(record.parent)
    original = Path(read.config["tracking"]["uri"].removeprefix("sqlite:///"))
    elsewhere = tmp_path / "original" / "runs"
    (elsewhere / "sweeps").mkdir(parents=True)  # without the run, or with another in its place
    moved = replace(
        read,
        config={
            **read.config,
            "tracking": {**read.config["tracking"], "uri": f"sqlite:///{elsewhere / original.name}"},
        },
    )
    shutil.copy(original, elsewhere)
    place, _ = _place(moved, record.parent, runs)
    assert place == f"sqlite:///{runs / 'mlflow.db'}"


def test_a_backup_of_runs_beside_a_shared_store_is_not_their_original(sweep, tmp_path):
    project = Path(shutil.copytree(sweep.folder / "runs", tmp_path / "project" / "runs"))
    shutil.rmtree(project / ARTIFACTS)
    shared = tmp_path / "shared" / "mlflow.db"
    shutil.copytree(project, shared.parent / "runs")
    (project / "mlflow.db").rename(shared)
    record = next(project.rglob(records.RECORD))
    read = records.read(record.parent)
    there = replace(
        read, config={**read.config, "tracking": {**read.config["tracking"], "uri": f"sqlite:///{shared}"}}
    )
    assert _place(there, record.parent, project)[0] == f"sqlite:///{shared}"


def test_a_store_that_was_copied_alone_keeps_its_paths(sweep, tmp_path):
    shutil.copy(sweep.folder / "runs" / "mlflow.db", tmp_path / "mlflow.db")
    before = ask(tmp_path / "mlflow.db", "SELECT artifact_uri FROM runs")
    relocate.follow(tmp_path / "mlflow.db")
    assert ask(tmp_path / "mlflow.db", "SELECT artifact_uri FROM runs") == before


def test_a_link_to_the_folder_is_no_move(sweep, tmp_path):
    (tmp_path / "linked").symlink_to(sweep.folder)
    before = ask(sweep.folder / "runs" / "mlflow.db", "SELECT artifact_uri FROM runs")
    relocate.follow(tmp_path / "linked" / "runs" / "mlflow.db")
    assert ask(sweep.folder / "runs" / "mlflow.db", "SELECT artifact_uri FROM runs") == before


def test_a_path_that_cannot_be_rewritten_leaves_all_as_they_were(sweep, tmp_path):
    copy = Path(shutil.copytree(sweep.folder, tmp_path / "copy"), "runs", "mlflow.db")
    with contextlib.closing(sqlite3.connect(copy)) as store:
        store.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON experiments BEGIN SELECT RAISE(ABORT, 'it is full'); END"
        )
    before = [ask(copy, place) for place in PLACES]
    with pytest.raises(sqlite3.DatabaseError, match="it is full"):
        relocate.follow(copy)
    assert [ask(copy, place) for place in PLACES] == before
