"""Sweeps on Dask clusters: real schedulers and workers, in processes of their own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster, Scheduler
from tests.support import SMALL, command, console_script, environment, people

from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.sweeps.dask import worker
from sweepgrad.sweeps.dask.batches import SECONDS, SHARES, Batches
from sweepgrad.sweeps.job import Job
from sweepgrad.tracking import shipping

SRC = Path(__file__).parents[3] / "src"
THERE = "hydra.sweep.dir=runs/sweeps/it"
FROM_SCRATCH = "sweep.resume=false"  # what was trained before would be reused
GRID = (*SMALL, "model=wide,linear", "seed=1,2,3", "optimizer=adam,sgd", THERE, FROM_SCRATCH)
# Of about a second each, so that something can happen during the sweep.
LONG = (
    "data=simulated",
    "data.rows=2000",
    "train.epochs=400",
    "model=wide",
    THERE,
)
# Each process sees its own working folder there.
CSV = ("data=csv", "data.path=/proc/self/cwd/people.csv", "data.target=left", "data.positive=yes")


class Dask:
    """A scheduler, and workers as they are asked for."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self._variables, self.workers = folder, variables, list[subprocess.Popen[bytes]]()
        self._file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until(lambda: self._file.exists() and self._file.read_text().rstrip().endswith("}"))
        self.address: str = json.loads(self._file.read_text())["address"]
        self.launcher = ("hydra/launcher=dask", f"hydra.launcher.address={self.address}")

    def worker(
        self, *options: str, cwd: Path | None = None, src: Path = SRC, cpu_seconds: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker; its own working folder is none that a test uses."""
        words = ["worker", *(options or ("--no-nanny", "--nthreads", "1")), "--no-dashboard"]
        words += ["--local-directory", str(self.folder / "scratch")]
        self.workers.append(self._start(*words, cwd=cwd, src=src, cpu_seconds=cpu_seconds))
        return self.workers[-1]

    def _start(
        self, what: str, *words: str, cwd: Path | None = None, src: Path = SRC, cpu_seconds: int | None = None
    ) -> subprocess.Popen[bytes]:
        limit = f"ulimit -S -t {cpu_seconds}; " if cpu_seconds else ""
        line = [
            sys.executable,
            "-m",
            f"distributed.cli.dask_{what}",
            "--scheduler-file",
            str(self._file),
            *words,
        ]
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                ["bash", "-c", f'{limit}exec "$0" "$@"', *line],
                env={**environment(), "PYTHONPATH": str(src), **self._variables},
                cwd=cwd or self.folder,
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def dask(tmp_path_factory) -> Iterator[Dask]:
    cluster = Dask(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


def begun(*words: str) -> subprocess.Popen[str]:
    """`sweepgrad train -m WORDS` in a process, and a process group, of its own."""
    return subprocess.Popen(
        [console_script(), "train", "-m", *words],
        env={**environment(), "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def jobs(sweep: str = "it") -> dict[str, records.Record]:
    """Return the records of a sweep by the names of its folders."""
    return {
        path.parent.name: records.read(path.parent)
        for path in Path("runs/sweeps", sweep).glob("*/record.json")
    }


def whole(sweep: str, n: int) -> None:
    """Assert that all jobs finished with intact files, and are in MLflow once."""
    found = jobs(sweep)
    assert sorted(found, key=int) == [str(number) for number in range(n)]
    for name, record in found.items():
        assert record.status == "FINISHED"
        assert record.files
        assert folders.damage(Path("runs/sweeps", sweep, name), record) is None
    with contextlib.closing(sqlite3.connect("runs/mlflow.db")) as connection:
        sent = connection.execute("SELECT value FROM tags WHERE key = 'sweepgrad.job'").fetchall()
    assert sorted(job for (job,) in sent) == sorted(record.job for record in found.values())


def same_bits(one: str, other: str) -> None:
    """Assert that two sweeps have equal results, apart from times and machines."""
    ours, theirs = jobs(one), jobs(other)
    assert ours.keys() == theirs.keys()
    for name, record in ours.items():
        expected = theirs[name]
        mine, its = record.config, expected.config
        assert {**mine, "sweep": None} == {**its, "sweep": None}
        assert record.history == expected.history
        assert record.summary == expected.summary
        assert replace(record, job="", config={}, started=0, ended=0, environment={}, files={}) == replace(
            expected, job="", config={}, started=0, ended=0, environment={}, files={}
        )
        assert record.environment == expected.environment  # the same machine
        assert arrays(Path("runs/sweeps", one, name)) == arrays(Path("runs/sweeps", other, name))
        bundles = [
            Path("runs/sweeps", sweep, name, "model/bundle.json").read_bytes() for sweep in (one, other)
        ]
        assert bundles[0] == bundles[1]


def arrays(job: Path) -> dict[str, bytes]:
    with np.load(job / "model" / "weights.npz") as file:
        return {name: file[name].tobytes() for name in file.files}


def quiet(text: str) -> None:
    for word in ("Traceback", "distributed", "tornado", "asyncio", "Warning"):
        assert word not in text


def job(number: int, *overrides: str) -> Job:
    config = composed(overrides).model_copy(update={"seed": number})
    return Job(number, "", (), config, Path(), str(number))


@cache
def composed(overrides: tuple[str, ...]) -> Config:
    (planned,) = plan([*SMALL, *overrides], multirun=False).jobs
    return planned.config


def test_batches_have_every_job_once_and_in_order():
    batches = Batches([job(number) for number in range(50)])
    assert [len(batches.take(2)) for _ in range(3)] == [1, 1, 1]  # nothing is known of their time yet
    taken = 3
    batches.learn(job(0), 0.05)
    while batch := batches.take(2):
        assert [one.number for one in batch] == list(range(taken, taken + len(batch)))
        taken += len(batch)
        assert len(batches) == 50 - taken
    assert taken == 50


@pytest.mark.parametrize(("cores", "seconds"), [(1, 0.02), (2, 0.1), (8, 0.3)])
def test_a_batch_is_a_second_and_what_is_left_is_several_a_core(cores, seconds):
    batches = Batches([job(number) for number in range(400)])
    batches.take(cores)
    batches.learn(job(0), seconds)
    about = seconds + 0.002
    left, sizes = 399, []
    while batch := batches.take(cores):
        assert len(batch) <= max(1, SECONDS / about)
        assert len(batch) <= max(1, left / (SHARES * cores))
        left -= len(batch)
        sizes.append(len(batch))
    assert sizes[0] == max(1, int(min(SECONDS / about, 399 / (SHARES * cores)) + 1e-9))
    assert sizes[-1] == 1


def test_a_job_that_takes_long_is_alone_in_its_batch():
    batches = Batches([job(0), *(job(number, "model=deep", "train.epochs=3000") for number in range(1, 9))])
    (first,) = batches.take(1)
    batches.learn(first, 0.1)
    assert [len(batches.take(1)) for _ in range(8)] == [1] * 8


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            ["hydra.launcher.workers=2", "hydra.launcher.address=tcp://h:1"],
            "hydra.launcher.workers: has no effect with hydra.launcher.address",
        ),
        (["hydra.launcher.workers=100000"], "hydra.launcher.workers: must be 1 to 256"),
        (["sweep.halving={first: 1, factor: 2}"], "sweep.halving: needs all runs in one process"),
    ],
)
def test_settings_that_cannot_work_are_refused(folder, settings, why):
    result = command("train", "-m", *GRID, "hydra/launcher=dask", *settings)
    assert result.code == 2
    assert why in result.err
    assert not jobs()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://host.invalid:1"])
def test_an_address_that_does_not_answer_is_named(folder, address):
    began = time.monotonic()
    result = command("train", "-m", *GRID, "hydra/launcher=dask", f"hydra.launcher.address={address}")
    assert result.code == 2
    assert f"hydra.launcher.address: no Dask scheduler answers at {address}" in result.err
    assert time.monotonic() - began < 120
    quiet(result.err)


@pytest.mark.slow
def test_a_cluster_on_this_machine_comes_to_the_same_bits(folder):
    before = {
        key: value for key, value in os.environ.items() if key != "KMP_DUPLICATE_LIB_OK"
    }  # threadpoolctl's
    result = command("train", "-m", *GRID, "hydra/launcher=dask", "hydra.launcher.workers=2")
    assert result.code == 0, result.err
    assert "dask: 2 workers with 2 cores on this machine" in result.err
    quiet(result.err)
    whole("it", 12)
    assert {key: value for key, value in os.environ.items() if key != "KMP_DUPLICATE_LIB_OK"} == before
    assert {path.name for path in folder.iterdir()} == {"runs"}
    assert not [child for child in psutil.Process().children() if "spawn_main" in line(child)]
    Path("runs/sweeps/it").rename("runs/sweeps/dask")
    result = command("train", "-m", *GRID, "hydra/launcher=threads")
    assert result.code == 0, result.err
    same_bits("dask", "it")


@pytest.mark.slow
def test_a_cluster_runs_our_code_after_a_model_brought_its_own(folder, monkeypatch):
    code = folder / "code"
    (shipping.copy_into(code) / "rng.py").write_text("raise AssertionError\n")
    monkeypatch.setattr(sys, "path", [str(code), *sys.path])  # as MLflow does when it loads a model
    before = [*sys.path]
    result = command(
        "train", "-m", *SMALL, "seed=1,2", THERE, "hydra/launcher=dask", "hydra.launcher.workers=1"
    )
    assert result.code == 0, result.err
    whole("it", 2)
    assert sys.path == before


@pytest.mark.slow
def test_a_table_is_sent_to_workers_that_have_another_or_none(folder, dask):
    table = people()
    table.to_csv("people.csv", index=False)
    other = dask.folder / "other"
    other.mkdir()
    people(seed=1).to_csv(other / "people.csv", index=False)
    dask.worker("--no-nanny", "--nthreads", "2")
    dask.worker("--no-nanny", "--nthreads", "1", cwd=other)
    grid = (*CSV, "data.group=person", *GRID[2:])
    result = command("train", "-m", *grid, *dask.launcher)
    assert result.code == 0, result.err
    assert result.err.count("dask: sending people.csv") == 2  # once to each worker
    whole("it", 12)
    assert {record.data.source for record in jobs().values() if record.data} == {"/proc/self/cwd/people.csv"}
    Path("runs/sweeps/it").rename("runs/sweeps/dask")
    result = command("train", "-m", *grid, "hydra/launcher=basic")
    assert result.code == 0, result.err
    same_bits("dask", "it")


@pytest.mark.slow
def test_a_table_that_workers_see_is_not_sent(folder, dask):
    people().to_csv("people.csv", index=False)
    dask.worker()
    seen = [line.replace("/proc/self/cwd/", "") for line in CSV]  # a relative path, from here
    result = command("train", "-m", *seen, "data.group=person", *GRID[2:], *dask.launcher)
    assert result.code == 0, result.err
    assert "sending" not in result.err
    whole("it", 12)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(folder, dask):
    workers = [dask.worker(), dask.worker()]
    until(lambda: (dask.folder / "log").read_text().count("Registered to") == 2)
    running = begun(*LONG, f"seed={','.join(map(str, range(16)))}", *dask.launcher)
    until(lambda: len(jobs()) >= 1)
    # Stopped amid the sweep it ends none of the jobs that it is given, so some are lost with it at any load.
    workers[0].send_signal(signal.SIGSTOP)
    until(lambda: len(jobs()) >= 4)
    workers[0].send_signal(signal.SIGKILL)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert "its jobs are run again" in err
    quiet(err)
    whole("it", 16)


@pytest.mark.slow
def test_a_worker_that_joins_later_is_used(folder, dask):
    dask.worker()
    running = begun(*LONG, f"seed={','.join(map(str, range(24)))}", *dask.launcher)
    until(lambda: len(jobs()) >= 2)
    before = len(jobs())
    dask.worker("--no-nanny", "--nthreads", "1", "--name", "late")
    _, err = running.communicate(timeout=180)
    assert running.returncode == 0, err
    assert before < 24
    assert "dask: 2 workers with 2 cores" in err
    log = (dask.folder / "log").read_text()
    assert log.count("Registered to") == 2
    whole("it", 24)


@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_and_the_others_finish(folder, tmp_path_factory):
    """End processes after some seconds of computing, while the first job takes many minutes."""
    dask = Dask(tmp_path_factory.mktemp("dask"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    try:
        dask.worker("--nworkers", "1", "--nthreads", "2", cpu_seconds=12)
        epochs = "train.epochs=300000,3,4,5,6,7,8"
        result = command("train", "-m", *SMALL[:2], epochs, THERE, *dask.launcher)
    finally:
        dask.close()
    assert result.code == 1
    assert "each worker that ran this job died, even with no other job in parallel" in result.err
    found = jobs()
    assert {name: record.status for name, record in found.items()} == {
        "0": "FAILED",
        **{str(number): "FINISHED" for number in range(1, 7)},
    }
    assert "died" in str(found["0"].error)


@pytest.fixture
def other_code(tmp_path) -> Path:
    """Our sources, with a line more in what trains."""
    src = Path(tmp_path, "other", "src")
    shutil.copytree(SRC, src, ignore=shutil.ignore_patterns("__pycache__"))
    with (src / "sweepgrad" / "training" / "loop.py").open("a") as file:
        file.write("# changed\n")
    return src


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused(folder, dask, other_code):
    dask.worker()
    dask.worker(src=other_code)
    until(lambda: (dask.folder / "log").read_text().count("Registered to") == 2)
    result = command("train", "-m", *GRID, *dask.launcher)
    assert result.code == 2
    assert "do not run the same software as this machine" in result.err
    assert "has other code" in result.err
    assert not jobs()


@pytest.mark.slow
def test_a_worker_with_other_code_that_joins_later_gets_no_jobs(folder, dask, other_code):
    dask.worker()
    running = begun(*LONG, f"seed={','.join(map(str, range(16)))}", *dask.launcher)
    until(lambda: len(jobs()) >= 1)
    dask.worker(src=other_code)
    _, err = running.communicate(timeout=180)
    assert running.returncode == 0, err
    assert "it gets no jobs" in err
    whole("it", 16)


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_sweep_and_what_was_done_is_kept(folder, dask):
    dask.worker()
    words = (*LONG, f"seed={','.join(map(str, range(16)))}")
    running = begun(*words, *dask.launcher)
    until(lambda: len(jobs()) >= 2)
    dask.scheduler.kill()
    _, err = running.communicate(timeout=120)
    assert running.returncode == 2
    assert f"lost the connection to the Dask scheduler at {dask.address}" in err
    quiet(err)
    done = jobs()
    assert 2 <= len(done) < 16
    result = command("train", "-m", *words, "hydra/launcher=threads")
    assert result.code == 0, result.err
    assert {name: jobs()[name] for name in done} == done
    whole("it", 16)


@pytest.mark.slow
def test_after_the_sweep_itself_was_killed_the_same_command_does_the_rest(folder):
    words = (
        *LONG,
        f"seed={','.join(map(str, range(12)))}",
        "hydra/launcher=dask",
        "hydra.launcher.workers=2",
    )
    running = begun(*words)
    until(lambda: len(jobs()) >= 3)
    below = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.communicate()
    until(lambda: not [child for child in below if child.is_running() and "spawn_main" in line(child)], 20)
    done = jobs()
    assert len(done) < 12
    result = command("train", "-m", *words)
    assert result.code == 0, result.err
    assert {name: jobs()[name] for name in done} == done
    whole("it", 12)


def line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.slow
def test_a_cluster_stops_what_nobody_waits_for(folder, dask):
    """After Ctrl-C, and after the sweep was killed."""
    worker = psutil.Process(dask.worker("--no-nanny", "--nthreads", "1").pid)
    for end, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        there = f"hydra.sweep.dir=runs/sweeps/{end.name}"
        running = begun(*SMALL[:2], "train.epochs=3,300000", there, FROM_SCRATCH, *dask.launcher)
        until(partial(jobs, end.name))  # the first, so the worker is at the second
        until(lambda: busy(worker))
        os.killpg(running.pid, end)
        _, err = running.communicate(timeout=120)
        assert running.returncode == code
        quiet(err)
        until(lambda: not busy(worker))


def busy(process: psutil.Process) -> bool:
    return process.cpu_percent(0.5) > 15  # alone it would be 100, beside others a share; idle it is 2


@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_on_this_machine(folder, monkeypatch):
    scratch = folder / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    seeds = f"seed={','.join(map(str, range(12)))}"
    running = begun(*LONG, "train.epochs=4000", seeds, "hydra/launcher=dask")
    until(lambda: len(jobs()) >= 2)
    below = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "interrupted" in err
    quiet(err)
    until(lambda: not any(child.is_running() for child in below))
    assert not [path.name for path in scratch.iterdir() if path.name.startswith(("sweepgrad", "dask"))]
    assert {path.name for path in folder.iterdir()} == {"runs", "scratch"}


@pytest.mark.slow
def test_a_worker_that_cannot_keep_the_table_is_named(folder, dask):
    """Something else has the place of the folder: the system's own error, as from a full disk."""
    people().to_csv("people.csv", index=False)
    dask.worker()
    scratch = dask.folder / "scratch"
    until(lambda: "Registered to" in (dask.folder / "log").read_text())
    (own,) = scratch.rglob("worker-*/")
    (own / "sweepgrad-tables").write_text("in the way")
    running = begun(*CSV, "data.group=person", *GRID[2:], *dask.launcher)
    try:
        _, err = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 2
    assert "cannot store people.csv: [Errno 17] File exists" in err
    assert err.count("sending people.csv") == 1
    quiet(err)


TRAIN = worker.train
ANSWERS: list[worker.Answer] = []


@contextlib.contextmanager
def within() -> Iterator[tuple[str, str]]:
    """Yield the launcher of a cluster whose worker is a thread of this process, which tests can patch."""
    ANSWERS.clear()
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield "hydra/launcher=dask", f"hydra.launcher.address={cluster.scheduler_address}"


def refuses_halfway(order: worker.Order) -> worker.Answer:
    """Run `worker.train` on a disk that is full before the last of several jobs."""
    answer = TRAIN(order)
    if len(answer["results"]) > 1:
        answer["results"].pop()
        answer["refused"] = "cannot write weights.npz: No space left on device"
    ANSWERS.append(answer)
    return answer


def test_what_a_worker_did_before_it_refused_is_kept(folder, monkeypatch):
    monkeypatch.setattr(worker, "train", refuses_halfway)
    with within() as launcher:
        result = command("train", "-m", *GRID, *launcher)
    assert result.code == 2
    assert "No space left on device" in result.err
    ended = next(answer for answer in ANSWERS if "refused" in answer)
    first = {str(answer["number"]) for answer in ended["results"]}
    assert first
    assert first <= jobs().keys()


class Unreadable(dict[str, object]):
    """An object that cannot be unpickled by its receiver."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return int, ("not a number",)


def answers_unreadably(order: worker.Order) -> Unreadable:
    ANSWERS.append(TRAIN(order))
    return Unreadable()


def test_a_batch_whose_results_never_arrive_is_not_trained_without_end(folder, monkeypatch):
    monkeypatch.setattr(worker, "train", answers_unreadably)
    with within() as launcher:
        result = command("train", "-m", *GRID, *launcher)
    assert result.code == 2
    assert "results from Dask workers were lost in transfer 3 times (ValueError" in result.err
    assert 3 <= len(ANSWERS) <= 6  # two batches are under way
    quiet(result.err)


@pytest.mark.slow
def test_results_that_take_long_to_arrive_are_waited_for(folder, monkeypatch):
    monkeypatch.setattr(worker, "train", refuses_halfway)  # counts, since these are single jobs
    gather = Scheduler.gather

    async def slowly(self, *arguments, **named):
        await asyncio.sleep(32)
        return await gather(self, *arguments, **named)

    monkeypatch.setattr(Scheduler, "gather", slowly)
    with within() as launcher:
        result = command("train", "-m", *SMALL, "seed=1,2", THERE, FROM_SCRATCH, *launcher)
    assert result.code == 0, result.err
    assert len(ANSWERS) == 2
    whole("it", 2)


def test_the_helpers_see_what_they_look_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        quiet("distributed.worker - WARNING - something")
    with pytest.raises(AssertionError):
        whole("it", 1)
