"""Time whole commands from start to exit, each in a new folder with a prepared MLflow store."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
STORE = "mlflow.db"  # in the folder where a command runs
LOOK_EVERY = 0.1  # seconds between measurements of memory
TIMEOUT = 3600


class Failed(Exception):
    """A command failed."""


@dataclass(frozen=True)
class Grid:
    """The jobs of a sweep: every network with every learning rate and every seed."""

    hidden: tuple[tuple[int, ...], ...] = ((8, 4), (16,), (8, 8, 4), (12, 6))
    lr: tuple[float, ...] = (0.003, 0.01)
    seeds: int = 3
    epochs: int = 25

    @property
    def jobs(self) -> list[tuple[tuple[int, ...], float, int]]:
        return list(product(self.hidden, self.lr, range(self.seeds)))

    @property
    def overrides(self) -> list[str]:
        """The overrides of the grid."""
        shapes = ",".join(f"[{','.join(map(str, widths))}]" for widths in self.hidden)
        seeds = ",".join(map(str, range(self.seeds)))
        return [f"model.hidden={shapes}", f"optimizer.lr={','.join(map(str, self.lr))}", f"seed={seeds}"]

    @property
    def fixed(self) -> list[str]:
        """The overrides that all jobs share; the other libraries use the same settings."""
        return ["train.batch_size=32", f"train.epochs={self.epochs}", "model.dropout=0.2"]

    @property
    def ours(self) -> list[str]:
        """The command of our sweep."""
        sweepgrad = str(Path(sys.executable).with_name("sweepgrad"))
        store = f"tracking.uri=sqlite:///{STORE}"
        return [sweepgrad, "train", "--multirun", store, *self.fixed, *self.overrides]


@dataclass(frozen=True)
class Took:
    """Time and memory of a command.

    Attributes:
        seconds: wall time.
        cpu: processor seconds of its process and those that it waited for; other work on the machine hardly
            changes them.
        main, others: peak resident bytes of its process, and of those that it started.
    """

    seconds: float
    cpu: float
    main: int
    others: int


@dataclass(frozen=True)
class Logged:
    """A finished run in a store: the number of steps for which a metric was logged, and its highest value."""

    steps: int
    best: float


def environment() -> dict[str, str]:
    """Return the environment of all commands: our modules can be imported, and MLflow sends no telemetry."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return found | {"PYTHONPATH": os.pathsep.join(paths), "MLFLOW_DISABLE_TELEMETRY": "true"}


def warm_store(folder: Path) -> Path:
    """Make an empty store with all tables and a write-ahead log, without which the others are slower."""
    store = folder / STORE
    make = f"import mlflow; mlflow.MlflowClient('sqlite:///{STORE}').search_experiments()"
    subprocess.run(
        [sys.executable, "-c", make], cwd=folder, env=environment(), check=True, capture_output=True
    )
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return store


def timed(command: Sequence[str], folder: Path, store: Path) -> Took:
    """Run a command in a new folder with a copy of the store, and measure it.

    Raises:
        Failed: it ended with another code than 0, or not within an hour.
    """
    folder.mkdir()
    shutil.copy(store, folder / STORE)
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        start, cpu = time.perf_counter(), _children_cpu()
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=out, stderr=err, start_new_session=True
        )
        memory = _Memory(process.pid)
        try:
            code = process.wait(TIMEOUT)
            seconds = time.perf_counter() - start
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"took longer than {TIMEOUT // 60} minutes") from None
            raise
        finally:
            memory.stop()
    if code:
        lines = (folder / "err.txt").read_text().strip().splitlines() or ["said nothing"]
        raise Failed(f"ended with {code}: {lines[-1]}")
    return Took(seconds, _children_cpu() - cpu, memory.main, memory.others)


def _children_cpu() -> float:
    """Return the processor seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Memory(threading.Thread):
    """Measure the memory of a process and its descendants until `stop`."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.main, self.others = process, 0, 0
        self.over = threading.Event()
        self.start()

    def stop(self) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        try:
            main = psutil.Process(self.process)
        except psutil.NoSuchProcess:
            return
        while not self.over.wait(LOOK_EVERY):
            self.main = max(self.main, _resident(main))
            try:
                children = main.children(recursive=True)
            except psutil.NoSuchProcess:
                return
            self.others = max(self.others, sum(map(_resident, children)))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0


def finished(store: Path, metric: str) -> list[Logged]:
    """Return the finished runs of a store that have the metric."""
    with closing(sqlite3.connect(store)) as connection:
        found = connection.execute(
            "SELECT count(DISTINCT step), max(value) FROM runs JOIN metrics USING (run_uuid)"
            " WHERE status = 'FINISHED' AND key = ? GROUP BY run_uuid",
            (metric,),
        )
        return [Logged(*row) for row in found]


def check(store: Path, metric: str, grid: Grid) -> list[Logged]:
    """Return the runs of a sweep, after checking that all finished and were logged after each epoch.

    Raises:
        Failed: some were not.
    """
    runs = finished(store, metric)
    whole = sum(run.steps == grid.epochs for run in runs)
    if len(runs) != len(grid.jobs) or whole != len(runs):
        raise Failed(
            f"{metric} stands in {len(runs)} finished runs, in {whole} after each of {grid.epochs} epochs;"
            f" {len(grid.jobs)} were to be there"
        )
    return runs
