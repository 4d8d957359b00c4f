"""Sweeps survive killed processes, servers that stop and full disks."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from mlflow.entities import Run
from tests.servers import MlflowServer, losing_answers, mlflow_server
from tests.support import SMALL, Result, command, console_script, environment, inside

from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record

# Twenty-four jobs of a few tenths of a second.
_VARIED = ("train.epochs=20,30", "optimizer.lr=0.001,0.01", "seed=range(6)")
SWEEP = ("-m", "data=simulated", "data.rows=2000", "model.hidden=[64,64]", *_VARIED)
N_JOBS = 24
FEW = ("-m", "data=simulated", "data.rows=200", "train.epochs=40", "model.hidden=[64,64]", "seed=range(8)")
PATIENCE = 120.0
"""Seconds after which a process counts as hanging, on a busy machine."""


def start(folder: Path, *words: str, limit: int | None = None) -> "subprocess.Popen[str]":
    """Start `sweepgrad train WORDS` in a process of its own.

    Arguments:
        limit: bytes of address space that it may have.
    """

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # background processes of a script ignore it
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return subprocess.Popen(
        [console_script(), "train", *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def ended(process: "subprocess.Popen[str]") -> Result:
    """Wait for a process and return its result."""
    out, err = process.communicate(timeout=PATIENCE)
    return Result(process.returncode, out, err)


def again(folder: Path, *words: str) -> Result:
    """Run `sweepgrad train WORDS`."""
    return ended(start(folder, *words))


def sync(folder: Path) -> Result:
    done = subprocess.run(
        [console_script(), "sync"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def until(holds: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> bool:
    """Wait until a condition holds; return False if the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if process is not None and process.poll() is not None:
            return holds()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def left(folder: Path, name: str = records.RECORD) -> list[Path]:
    """Return the folders of jobs that have a file of this name."""
    return sorted(path.parent for path in folder.glob(f"runs/sweeps/*/*/{name}"))


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'runs' / 'mlflow.db'}"


def runs(uri: str) -> list[Run]:
    client = mlflow.MlflowClient(uri, uri)
    found = client.get_experiment_by_name("sweepgrad")
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def sweeps(uri: str) -> dict[str, tuple[Run, list[Run]]]:
    """Return parents and children by the name of the sweep; assert that each sweep has one parent."""
    found = runs(uri)
    parents = [run for run in found if run.data.tags["sweepgrad.kind"] == "sweep"]
    names = [run.data.tags["sweepgrad.sweep"] for run in parents]
    assert len(set(names)) == len(names), "a sweep has two parents"
    return {
        name: (
            parent,
            [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id],
        )
        for name, parent in zip(names, parents, strict=True)
    }


def assert_whole(folder: Path, uri: str | None = None, n_jobs: int = N_JOBS) -> list[Path]:
    """Assert that one sweep has each job once on disk and once in MLflow, FINISHED; return the folders."""
    uri = uri or store(folder)
    ((name, (parent, children)),) = sweeps(uri).items()
    jobs = left(folder)
    kept = {records.read(job).job: job for job in jobs}
    assert sorted(kept) == sorted(f"{name}/{number}" for number in range(n_jobs))
    assert sorted(run.data.tags["sweepgrad.job"] for run in children) == sorted(kept)
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert len(runs(uri)) == n_jobs + 1
    client = mlflow.MlflowClient(uri, uri)
    for run in children:
        job = kept[run.data.tags["sweepgrad.job"]]
        record = records.read(job)
        assert folders.sent_as(job, record) == run.info.run_id
        assert {key: run.data.metrics[key] for key in record.summary} == record.summary
        assert run.info.end_time == record.ended
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id, "bundle")}
        assert artifacts == {"bundle/bundle.json", "bundle/weights.npz"}
    points = client.get_metric_history(children[0].info.run_id, "val/nll")
    assert [point.step for point in points] == list(range(1, len(points) + 1))
    return jobs


def by_overrides(jobs: list[Path]) -> dict[tuple[str, ...], Path]:
    found = {job: records.read(job).overrides for job in jobs}
    return {
        tuple(line for line in overrides if not line.startswith("tracking.")): job
        for job, overrides in found.items()
    }


def assert_same_results(ones: list[Path], others: list[Path]) -> None:
    """Assert that history, summary and weights of each job are equal, bit for bit."""
    first, second = by_overrides(ones), by_overrides(others)
    assert first.keys() == second.keys()
    for overrides, one in first.items():
        other = second[overrides]
        a, b = records.read(one), records.read(other)
        assert (a.history, a.summary, a.best_epoch) == (b.history, b.summary, b.best_epoch)
        assert a.files == b.files
        assert (one / "model/weights.npz").read_bytes() == (other / "model/weights.npz").read_bytes()


def kill_all(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Kill the process and all processes that write to MLflow for this folder, including earlier ones."""
    process.kill()
    for writer in writers(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            writer.kill()
    process.communicate(timeout=PATIENCE)


def writers(folder: Path) -> list[psutil.Process]:
    """Return the processes that write to MLflow for a folder, also if their parent is dead."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if "sweepgrad.tracking.writer" in (process.info["cmdline"] or ()) and process.cwd() == str(
                folder
            ):
                found.append(process)
    return found


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Path:
    """Create a folder with an empty store at `runs/mlflow.db`."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> list[Path]:
    """Train `SWEEP` without interruption and return the folders of its jobs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with inside(folder, empty_store):
        assert command("train", *SWEEP).code == 0
    return left(folder)


# Killed


INSTANTS = ("starting", "claimed", "training", "sending")


@pytest.mark.slow
def test_twenty_kills_leave_the_same_sweep_as_none(place, undisturbed):
    generator = np.random.default_rng(20)
    rounds = [(INSTANTS[number % 4], generator.random(), bool(number % 3)) for number in range(20)]
    generator.shuffle(rounds)
    killed = 0
    for instant, share, alone in rounds:
        # The writer of the killed process may still run, as when a user restarts at once.
        trained, sent = len(left(place)), len(left(place, records.SENT))
        process = start(place, *SWEEP)
        if instant == "starting":
            time.sleep(share * 3)
        elif instant == "claimed":
            until(partial(running_by, place, process.pid), process)
            time.sleep(share * 0.3)
        elif instant == "training":
            until(partial(more_than, trained, place, records.RECORD), process)
            time.sleep(share * 0.2)
        else:
            until(partial(more_than, sent, place, records.SENT), process)
            time.sleep(share * 0.2)
        killed += process.poll() is None
        if alone:
            process.kill()
            process.communicate(timeout=PATIENCE)
        else:
            kill_all(process, place)
    assert killed > 15
    result = again(place, *SWEEP)
    assert result.code == 0, result.err
    assert_same_results(assert_whole(place), undisturbed)


def more_than(n_jobs: int, folder: Path, name: str) -> bool:
    return len(left(folder, name)) > n_jobs


def running_by(folder: Path, pid: int) -> bool:
    """Return whether the process has claimed a sweep."""
    found = [sweep_record.read(path.parent) for path in folder.glob("runs/sweeps/*/sweep.json")]
    return any(note.process.startswith(f"{pid}@") for note in found)


# A tracking server that stops


@pytest.fixture
def own_server(tmp_path: Path, empty_store: Path) -> Iterator[MlflowServer]:
    """Start a server that the test may stop."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}") as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_comes_back_has_every_run_once(how, own_server, tmp_path, undisturbed):
    process = start(tmp_path, *SWEEP, f"tracking.uri={own_server.uri}")
    assert until(lambda: len(left(tmp_path, records.SENT)) >= 3, process)
    getattr(own_server, how)()
    assert until(lambda: len(left(tmp_path)) == N_JOBS, process)  # training continues
    own_server.start()
    result = ended(process)
    if result.code:
        assert (result.code, "sweepgrad sync" in result.err) == (2, True), result.err
        assert sync(tmp_path).code == 0
    assert "Traceback" not in result.err
    assert_same_results(assert_whole(tmp_path, own_server.uri), undisturbed)
    assert sync(tmp_path).out == "0 runs sent\n"


@pytest.mark.slow
def test_a_server_that_stays_away_costs_nothing_but_a_sync(own_server, tmp_path, undisturbed):
    process = start(tmp_path, *SWEEP, f"tracking.uri={own_server.uri}")
    assert until(lambda: len(left(tmp_path, records.SENT)) >= 3, process)
    own_server.kill()
    assert until(lambda: len(left(tmp_path)) == N_JOBS, process)
    since = time.monotonic()
    result = ended(process)
    assert time.monotonic() - since < PATIENCE
    assert result.code == 2
    assert "sweepgrad sync" in result.err
    assert own_server.uri in result.err
    assert "Traceback" not in result.err
    assert sync(tmp_path).code == 2
    own_server.start()
    assert sync(tmp_path).code == 0
    assert sync(tmp_path).out == "0 runs sent\n"
    assert_same_results(assert_whole(tmp_path, own_server.uri), undisturbed)


@pytest.mark.slow
def test_a_run_whose_making_was_not_answered_is_not_made_twice(own_server, tmp_path):
    with losing_answers(own_server.uri) as uri:
        result = again(tmp_path, *FEW, f"tracking.uri={uri}")
    assert result.code == 0, result.err
    assert_whole(tmp_path, own_server.uri, 8)


# Disks


@pytest.fixture
def tmpfs() -> Iterator[Callable[[Path, str], Path]]:
    """Mount small disks at new folders; they are unmounted after the test."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0:
            pytest.skip("only root may mount a disk")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"root may not mount a disk here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, spare: int) -> Path:
    """Fill a disk except for some bytes."""
    ballast = folder / "ballast"
    size = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - spare
    ballast.write_bytes(bytes(size))
    return ballast


@pytest.mark.slow
def test_a_full_disk_below_the_store_loses_nothing(tmpfs, tmp_path, empty_store):
    disk = tmpfs(tmp_path / "small", "16m")
    shutil.copy(empty_store, disk / "mlflow.db")
    ballast = fill(disk, 400_000)
    words = (*FEW, f"tracking.uri=sqlite:///{disk}/mlflow.db")
    result = again(tmp_path, *words)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert str(disk) in result.err
    assert "sweepgrad sync" in result.err
    assert len(left(tmp_path)) == 8
    ballast.unlink()
    assert sync(tmp_path).code == 0
    before = assert_whole(tmp_path, f"sqlite:///{disk}/mlflow.db", 8)
    times = [(job / records.RECORD).stat().st_mtime_ns for job in before]
    assert again(tmp_path, *words).code == 0
    after = assert_whole(tmp_path, f"sqlite:///{disk}/mlflow.db", 8)
    assert [(job / records.RECORD).stat().st_mtime_ns for job in after] == times


@pytest.mark.slow
@pytest.mark.parametrize("spare", [0, 150_000])
def test_a_full_disk_below_the_results_ends_the_sweep_and_the_same_command_goes_on(
    spare, tmpfs, tmp_path, empty_store
):
    disk = tmpfs(tmp_path / "runs", "32m")
    shutil.copy(empty_store, disk / "mlflow.db")
    ballast = fill(disk, spare)
    result = again(tmp_path, *FEW)
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    assert "No space left on device" in result.err
    assert "runs/" in result.err
    for job in left(tmp_path):
        assert folders.damage(job, records.read(job)) is None
    assert len(left(tmp_path)) < 8
    ballast.unlink()
    result = again(tmp_path, *FEW)
    assert result.code == 0, result.err
    assert_whole(tmp_path, n_jobs=8)


@pytest.mark.slow
def test_results_that_cannot_be_kept_are_refused_before_any_work(tmpfs, tmp_path, empty_store):
    disk = tmpfs(tmp_path / "runs", "32m")
    shutil.copy(empty_store, disk / "mlflow.db")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    result = again(tmp_path, *FEW)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert str(Path("runs", "sweeps")) in result.err
    assert "begins" not in result.err
    assert [path.name for path in disk.iterdir()] == ["mlflow.db"]


# Two at once


@pytest.mark.slow
def test_two_sweeps_at_once_where_there_was_no_store(tmp_path):
    both = [start(tmp_path, *FEW, f"optimizer.lr={lr}") for lr in (0.01, 0.02)]
    for result in [ended(process) for process in both]:
        assert result.code == 0, result.err
    found = sweeps(store(tmp_path))
    assert len(found) == 2
    assert len(left(tmp_path)) == 16
    for name, (parent, children) in found.items():
        assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
        assert sorted(run.data.tags["sweepgrad.job"] for run in children) == [f"{name}/{n}" for n in range(8)]
        assert len({run.data.params["optimizer.lr"] for run in children}) == 1


@pytest.mark.slow
def test_the_same_sweep_twice_at_once_is_trained_once(tmp_path):
    both = [start(tmp_path, *FEW) for _ in range(2)]
    results = sorted((ended(process) for process in both), key=lambda result: result.code)
    assert results[0].code == 0, results
    if results[1].code:
        assert results[1].code == 2
        assert "is running this sweep as" in results[1].err
    assert_whole(tmp_path, n_jobs=8)


# Memory


@pytest.mark.slow
def test_a_job_too_large_for_the_memory_is_refused_before_the_sweep(place):
    limit = 6 * 1024**3
    words = [*FEW[:4], "train.batch_size=100", "model.hidden=[8],[1000000],[9]"]
    with start(place, *words, limit=limit) as process:
        assert process.stderr
        err = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    assert "model.hidden: [1000000] needs about" in err
    assert used.ru_maxrss * 1024 < 3 * 1024**3  # it begins as large as the process that started it
    assert not (place / "runs" / "sweeps").exists()


# Damage


def truncate(job: Path) -> Path:
    file = job / records.RECORD
    file.write_bytes(file.read_bytes()[:200])
    return file


def flip(job: Path) -> Path:
    file = job / "model" / "weights.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def remove(job: Path) -> Path:
    file = job / "model" / "bundle.json"
    file.unlink()
    return file


@pytest.mark.parametrize(
    "damage", [flip, *(pytest.param(f, marks=pytest.mark.slow) for f in (truncate, remove))]
)
def test_a_damaged_job_is_trained_again_and_no_other(damage, folder):
    words = [*SMALL, "-m", "model=wide,linear", "seed=1,2"]
    assert command("train", *words).code == 0
    jobs = left(folder)
    shutil.copytree(jobs[1], folder / "kept")
    times = [(job / records.RECORD).stat().st_mtime_ns for job in jobs]
    file = damage(jobs[1])
    result = command("train", *words)
    assert result.code == 0, result.err
    assert str(file.relative_to(folder)) in result.err
    assert "3 runs had been trained before" in result.err
    assert assert_whole(folder, n_jobs=4) == jobs
    now = [(job / records.RECORD).stat().st_mtime_ns for job in jobs]
    assert [a == b for a, b in zip(times, now, strict=True)] == [True, False, True, True]
    assert_same_results([folder / "kept"], [jobs[1]])


# Ctrl-C


@pytest.mark.slow
def test_ctrl_c_says_how_far_it_is_and_the_same_command_goes_on(place, undisturbed):
    process = start(place, *SWEEP)
    assert until(lambda: len(left(place)) >= 6, process)
    process.send_signal(signal.SIGINT)
    result = ended(process)
    assert result.code == 130
    assert "Traceback" not in result.err
    trained = len(left(place))
    assert f"interrupted; {trained} of {N_JOBS} runs finished and kept in runs/sweeps/" in result.err
    assert "run the same command again to train what is missing" in result.err
    ((parent, children),) = sweeps(store(place)).values()
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in children} == {"FINISHED"}
    assert len(children) == trained < N_JOBS
    result = again(place, *SWEEP)
    assert result.code == 0
    assert f"{trained} runs had been trained before" in result.err
    assert_same_results(assert_whole(place), undisturbed)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_mlflow(own_server, tmp_path):
    words = (*SWEEP, f"tracking.uri={own_server.uri}")
    process = start(tmp_path, *words)
    assert until(lambda: len(left(tmp_path, records.SENT)) >= 1, process)
    own_server.pause()
    process.send_signal(signal.SIGINT)
    time.sleep(3)
    assert process.poll() is None  # it waits
    assert len(left(tmp_path)) < N_JOBS
    process.send_signal(signal.SIGINT)
    result = ended(process)  # while the server is paused
    assert result.code == 130
    assert "interrupted while writing to MLflow: sweepgrad sync sends the rest" in result.err
    assert "Traceback" not in result.err
    own_server.go_on()
    assert again(tmp_path, *words).code == 0
    until(lambda: not writers(tmp_path))
    assert_whole(tmp_path, own_server.uri)


# Failing


FAILING = ("-m", *SMALL, "optimizer=sgd", "optimizer.lr=1e300,0.1,0.05")


def test_what_failed_is_tried_again_by_the_same_command(folder):
    assert command("train", *FAILING).code == 1
    jobs = left(folder)
    times = [(job / records.RECORD).stat().st_mtime_ns for job in jobs]
    result = command("train", *FAILING)
    assert result.code == 1
    assert "2 runs had been trained before" in result.err
    now = [(job / records.RECORD).stat().st_mtime_ns for job in jobs]
    assert [a == b for a, b in zip(times, now, strict=True)] == [False, True, True]
    ((parent, children),) = sweeps(store(folder)).values()
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", "FINISHED"]
    assert parent.info.status == "FAILED"
    (bad,) = [run for run in children if run.info.status == "FAILED"]
    assert bad.info.end_time == records.read(jobs[0]).ended
    client = mlflow.MlflowClient(store(folder), store(folder))
    assert "error.txt" in {file.path for file in client.list_artifacts(bad.info.run_id)}
    assert "diverged" in bad.data.tags["sweepgrad.error"]


def test_fail_fast_ends_a_sweep_at_its_first_failure(folder):
    rates = ",".join(["1e300", *(f"0.0{digit}" for digit in range(1, 10))])
    words = (f"optimizer.lr={rates}", "train.epochs=400", "sweep.fail_fast=true")
    result = command("train", *FAILING[:-1], *words)
    assert result.code == 1
    assert "sweep.fail_fast" in result.err
    assert 1 <= len(left(folder)) < 10
    ((parent, children),) = sweeps(store(folder)).values()
    assert parent.info.status == "FAILED"
    assert len(children) == len(left(folder))
    assert not [run for run in children if run.info.status == "RUNNING"]


# The same again


def test_a_finished_sweep_is_not_trained_again_unless_asked(folder):
    words = ("-m", *SMALL, "seed=1,2")
    assert command("train", *words).code == 0
    jobs = assert_whole(folder, n_jobs=2)
    times = [(job / records.RECORD).stat().st_mtime_ns for job in jobs]
    result = command("train", *words)
    assert result.code == 0
    assert "2 runs had been trained before (sweep.resume=false trains them again)" in result.err
    assert assert_whole(folder, n_jobs=2) == jobs
    assert [(job / records.RECORD).stat().st_mtime_ns for job in jobs] == times
    assert command("train", *words, "sweep.resume=false").code == 0
    assert len(sweeps(store(folder))) == 2
    assert len(left(folder)) == 4
    assert not [job for job in left(folder) if records.read(job).reused]


@pytest.mark.parametrize("single", [False, True])
def test_a_wider_sweep_takes_over_what_was_trained_before(single, folder):
    if single:
        for seed in (1, 2):
            assert command("train", *SMALL, f"seed={seed}").code == 0
    else:
        assert command("train", "-m", *SMALL, "seed=1,2").code == 0
    earlier = {record.config["seed"]: record for record in kept(folder)}
    assert command("train", "-m", *SMALL, "seed=3,2,1").code == 0
    (wider,) = [path for path in folder.glob("runs/sweeps/*") if sweep_record.read(path).jobs == 3]
    found = {record.config["seed"]: record for record in kept(wider)}
    assert {seed: record.reused for seed, record in found.items()} == {
        1: earlier[1].job,
        2: earlier[2].job,
        3: None,
    }
    for seed, record in earlier.items():
        assert (found[seed].history, found[seed].files) == (record.history, record.files)
        assert (found[seed].started, found[seed].ended) == (record.started, record.ended)
    parent, children = sweeps(store(folder))[wider.name]
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert sorted(run.data.params["seed"] for run in children) == ["1", "2", "3"]


def kept(folder: Path) -> list[Record]:
    return [records.read(path.parent) for path in folder.rglob(records.RECORD)]
