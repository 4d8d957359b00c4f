"""What the tests of jobs, tracking and the command line share: folders with a store, and the command itself."""

import contextlib
import io
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepgrad import cli

SMALL = ("data=simulated", "data.rows=200", "train.epochs=3")
"""Overrides of a job that trains in a moment."""


@dataclass(frozen=True)
class Result:
    """What a command line came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]


def command(*arguments: str) -> Result:
    """Run `sweepgrad ARGUMENTS` in this process and the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(list(arguments))
        except SystemExit as leaving:  # argparse
            code = leaving.code if isinstance(leaving.code, int) else 1
    return Result(code, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """For processes: as here, but without a store of ours."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "200",
    }


def console_script() -> str:
    return str(Path(sys.executable).with_name("sweepgrad"))


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A store with its tables made, which takes some seconds, and nothing in it."""
    from sweepgrad.tracking import Store

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    Store(f"sqlite:///{path}", "template")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, empty_store) -> Path:
    """The current folder, with an empty store at `runs/mlflow.db`."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    shutil.copy(empty_store, "runs/mlflow.db")
    return tmp_path


@dataclass(frozen=True)
class Sweep:
    """A sweep that was trained once, to be looked at and left as it is."""

    folder: Path
    uri: str
    name: str
    result: Result

    @property
    def jobs(self) -> list[Path]:
        return sorted((self.folder / "runs" / "sweeps" / self.name).iterdir())


@pytest.fixture(scope="session")
def sweep(tmp_path_factory, empty_store) -> Sweep:
    """Two architectures and two seeds on simulated data."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        result = command("train", "-m", *SMALL, "model=wide,linear", "seed=1,2")
    (name,) = [path.name for path in (folder / "runs" / "sweeps").iterdir()]
    return Sweep(folder, f"sqlite:///{folder / 'runs' / 'mlflow.db'}", name, result)


@pytest.fixture(scope="session")
def server(tmp_path_factory, empty_store) -> Iterator[str]:
    """The address of a real `mlflow server`."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    words = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--host", "127.0.0.1"]
    words += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            env={**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(600):
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{base}/health", timeout=1).close()
                    break
                time.sleep(0.1)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=20)


def people(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """A table with all that a real one has: missing values, words, booleans, rows of the same individual."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "person": generator.integers(0, rows // 2, rows),
            "age": generator.normal(40, 12, rows).round(1),
            "income": generator.lognormal(10, 0.5, rows).round(2),
            "town": generator.choice(["Ulm", "Rom", "Wien"], rows),
            "member": generator.random(rows) < 0.5,
        }
    )
    pull = 0.08 * (frame["age"] - 40) + 1.5 * (frame["town"] == "Rom") - 0.5
    frame["left"] = np.where(generator.random(rows) < 1 / (1 + np.exp(-pull)), "yes", "no")
    frame.loc[generator.choice(rows, rows // 10, replace=False), "income"] = np.nan
    return frame


CSV = ("data=csv", "data.path=people.csv", "data.target=left", "data.positive=yes")
