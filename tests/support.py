"""Helpers of the tests of jobs, tracking and the command line."""

import base64
import contextlib
import fcntl
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sweepgrad.cli.main import main
from sweepgrad.training import plots

SMALL = ("data=simulated", "data.rows=200", "train.epochs=3")
"""Overrides of a job that trains in a moment."""

_RENDERED = plots._save
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

GRID = "model=wide,linear seed=1,2"
"""What the sweep that tests share varies."""


@dataclass(frozen=True)
class Result:
    """Hold what a command line came to."""

    code: int
    out: str
    err: str


def until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for an event; the limit is for one that never comes, not for a machine that is busy."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def made_once(name: str, make: Callable[[Path], None], folders: pytest.TempPathFactory) -> Path:
    """Return a folder that `make` fills in one test worker for all of them; the others wait for it."""
    base = folders.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


def command(*arguments: str) -> Result:
    """Run `sweepgrad ARGUMENTS` in this process and the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as leaving:  # argparse
            code = leaving.code if isinstance(leaving.code, int) else 1
    return Result(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def inside(folder: Path, store: Path) -> Iterator[None]:
    """Enter `folder`, with a copy of `store` in it, for fixtures that train once."""
    (folder / "runs").mkdir()
    shutil.copy(store, folder / "runs" / "mlflow.db")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(variable, raising=False)
        yield


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Have pictures rendered, as users do; in the other tests a figure is made and a stand-in is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", _RENDERED)
        yield


def stand_in(figure: Figure, path: Path) -> None:
    """Write the smallest PNG: rendering takes longer than all else that a test's run does."""
    path.write_bytes(_PNG)


def load_model(uri: str, address: str) -> Any:
    """Load a model as anyone would, and put the environment back, where MLflow leaves the address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_REGISTRY_URI", uri)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        return mlflow.pyfunc.load_model(address)


def environment() -> dict[str, str]:
    """Return the environment for processes: as here, but without a store of ours."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "200",
    }


def console_script() -> str:
    return str(Path(sys.executable).with_name("sweepgrad"))


@dataclass(frozen=True)
class Sweep:
    """A sweep that was trained once, to be looked at and left as it is."""

    folder: Path
    uri: str
    name: str
    result: Result

    @property
    def jobs(self) -> list[Path]:
        """The jobs' folders, in order."""
        return sorted(
            path for path in (self.folder / "runs" / "sweeps" / self.name).iterdir() if path.is_dir()
        )


def people(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """Return a table as real ones are: missing values, words, booleans, rows of the same individual."""
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
