"""Fixtures of the tests of jobs, tracking and the command line: folders with a store, a sweep, a server."""

import contextlib
import gc
import shutil
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.servers import mlflow_server
from tests.support import GRID, SMALL, Sweep, command, inside, made_once, stand_in

# On a busy machine an example takes long, and so does drawing it: neither is a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# Collecting garbage in all modules of MLflow and pandas would take a tenth of the time.
gc.set_threshold(100_000, 50, 100)

# Start the longest tests first: started last, they would run alone at the end.
LONGEST = (
    "test_a_notebook_runs_in_an_empty_folder_and_finds_what_the_page_shows[spotify]",
    "test_a_notebook_runs_in_an_empty_folder_and_finds_what_the_page_shows[bias_variance]",
    "test_twenty_kills_leave_the_same_sweep_as_none",
    "test_the_first_change_of_the_page_on_contributing_works",
    "test_two_processes_may_compile_at_once_and_a_third_need_not",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name not in LONGEST)


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """Turn off fsync in this process: stores of tests need not survive a power cut."""
    if isinstance(connection, sqlite3.Connection):
        with contextlib.suppress(sqlite3.DatabaseError):  # a damaged store
            connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _cheaper() -> Iterator[None]:
    """Leave out what costs much in each command and is the same in all.

    Pictures are rendered only where a test says `drawn()`. MLflow reads all its migrations each time that it
    opens a store, to learn which is the latest: here, once.
    """
    from mlflow.store.db import utils

    from sweepgrad.training import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", stand_in)
        patch.setattr(utils, "_get_latest_schema_revision", cache(utils._get_latest_schema_revision))
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of an empty store; creating its tables takes seconds, so tests copy it."""

    def make(folder: Path) -> None:
        from sweepgrad.tracking.store import Store

        path = folder / "mlflow.db"
        Store(f"sqlite:///{path}", "template")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return made_once("template", make, tmp_path_factory) / "mlflow.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch, empty_store) -> Path:
    """Enter an empty folder with an empty store at `runs/mlflow.db`."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    shutil.copy(empty_store, "runs/mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def sweep(tmp_path_factory, empty_store) -> Sweep:
    """Train two architectures with two seeds on simulated data."""
    folder = tmp_path_factory.mktemp("sweep")
    with inside(folder, empty_store):
        result = command("train", "-m", *SMALL, *GRID.split())
    (name,) = [path.name for path in (folder / "runs" / "sweeps").iterdir()]
    return Sweep(folder, f"sqlite:///{folder / 'runs' / 'mlflow.db'}", name, result)


@pytest.fixture(scope="session")
def server(tmp_path_factory, empty_store) -> Iterator[str]:
    """Start an `mlflow server` and return its address."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}") as running:
        yield running.uri
