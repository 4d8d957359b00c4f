"""From a command line to its jobs trained: what is said first and last, and what every launcher has alike."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from tests.support import CSV, SMALL, command, environment, people
from tests.sweeps.support import weights

from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record
from sweepgrad.runs.record import Record
from sweepgrad.sweeps import preflight
from sweepgrad.tracking.store import Store


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all files and folders with their times and sizes."""
    found = sorted(folder.rglob("*"))
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def sweeps() -> list[Path]:
    """Return the sweeps, the oldest first."""
    return sorted(Path("runs", "sweeps").iterdir(), key=lambda path: path.stat().st_ctime_ns)


def kept(sweep: Path) -> list[Record]:
    """Return the records of a sweep, in the order of its jobs."""
    folders = sorted((path.parent for path in sweep.glob("*/record.json")), key=lambda path: int(path.name))
    return [records.read(folder) for folder in folders]


# A rehearsal


def test_a_rehearsal_lists_the_jobs_and_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("train", "-m", *SMALL, "model=wide,linear", "seed=1,2", "optimizer.lr=0.1", "--dry-run")
    assert result.code == 0
    assert result.out.splitlines() == [
        "[1/4] model=wide seed=1",
        "[2/4] model=wide seed=2",
        "[3/4] model=linear seed=1",
        "[4/4] model=linear seed=2",
    ]
    said = result.err.splitlines()
    assert "simulated: 120 training and 40 validation rows; 40 test rows stay sealed" in said
    assert [
        line for line in said if re.fullmatch(r"4 runs, (about|less than) .+ of training on \d+ cores?", line)
    ]
    assert said[-1] == "nothing was run"
    assert everything(tmp_path) == {}


def test_a_rehearsal_beside_results_changes_none_and_says_what_is_there(folder):
    assert command("train", "-m", *SMALL, "seed=1,2").code == 0
    before = everything(folder)
    result = command("train", "-m", "--dry-run", *SMALL, "seed=1,2,3")
    assert result.out.splitlines() == [
        "[1/3] seed=1  (trained before)",
        "[2/3] seed=2  (trained before)",
        "[3/3] seed=3",
    ]
    assert "2 of 3 runs were trained before" in result.err
    assert everything(folder) == before


def test_a_rehearsal_needs_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("train", "--dry-run", *SMALL, "tracking.uri=http://127.0.0.1:9").code == 0
    assert everything(tmp_path) == {}


def test_all_faults_are_told_at_once_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invalid = ("train.epochs=0", "optimizer.lr=-1", "model.wdith=3", "seed=1,x")
    for dry in ((), ("--dry-run",)):
        result = command("train", "-m", *SMALL, *invalid, *dry)
        assert result.code == 2
        assert re.search(r"\d configuration errors; nothing was run", result.err)
        for key in ("train.epochs", "optimizer.lr", "model.wdith", "seed"):
            assert key in result.err
        assert everything(tmp_path) == {}


def test_a_rehearsal_finds_an_unfit_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().drop(columns="left").to_csv("people.csv", index=False)
    before = everything(tmp_path)
    result = command("train", "-m", "--dry-run", *CSV, "seed=1,2")
    assert result.code == 2
    assert "left" in result.err
    assert everything(tmp_path) == before


# What is said


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_the_quiet_hear_nothing_when_all_is_well(flag, folder):
    result = command("train", flag, "-m", *SMALL, "seed=1,2")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert len(kept(sweeps()[0])) == 2


def test_the_quiet_hear_of_failures(folder):
    result = command("train", "-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e300", "-q")
    assert (result.code, result.out) == (1, "")
    first, *rest = result.err.splitlines()
    assert first.startswith("[2/2] lr=1e+300  FAILED: training diverged in epoch 1")
    assert rest[0].startswith("1 of 2 runs failed")
    assert rest[1].split()[:2] == ["sweepgrad", "train"]
    assert "optimizer.lr=1e+300" in rest[1]


def test_the_line_that_is_given_for_a_failure_runs_it_alone(folder):
    result = command("train", "-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e300", "-q")
    (line,) = [line for line in result.err.splitlines() if line.strip().startswith("sweepgrad train")]
    again = command(*line.split()[1:])
    assert again.code == 1
    assert "diverged" in again.err


def test_the_first_failure_ends_the_sweep_if_asked(folder):
    space = ("optimizer=sgd", "optimizer.lr=1e300,0.1,0.2", "train.epochs=100000")
    result = command("train", "-m", *SMALL, *space, "sweep.fail_fast=true")
    assert result.code == 1
    assert "sweep.fail_fast: ended at the first failure; 0 of 3 runs finished" in result.err
    assert "run the same command again to train what is missing" in result.err
    assert sweep_record.read(sweeps()[0]).status == "FAILED"


def test_what_a_sweep_is_must_be_the_same_for_all_its_runs(folder):
    result = command("train", "-m", *SMALL, "select.metric=accuracy,nll")
    assert result.code == 2
    assert "select: must be the same for all runs of a sweep" in result.err


@pytest.mark.parametrize("splits", ["split.seed=1,2,3", "split.seed=1 split.outer_fold=0,1,2"])
def test_configurations_are_counted_once_however_many_splits_there_are(folder, splits):
    ensemble = "select.ensemble={kind: best, size: 3}"
    result = command("train", "-m", *SMALL, "model=wide,linear", *splits.split(), ensemble)
    assert result.code == 2
    assert "cannot average the 3 best of 2 configurations" in result.err


@pytest.mark.parametrize(
    ("ensemble", "said"),
    [
        ("seeds", "select.ensemble: no configuration has two seeds to average"),
        ("{kind: best, size: 3}", "select.ensemble: cannot average the 3 best of 2 configurations"),
    ],
)
def test_an_ensemble_that_no_job_can_be_part_of_is_refused(folder, ensemble, said):
    result = command("train", "-m", *SMALL, "model=wide,linear", f"select.ensemble={ensemble}")
    assert result.code == 2
    assert said in result.err
    assert not Path("runs", "sweeps").exists()


def test_an_average_of_more_networks_than_a_model_can_hold_is_refused(folder, monkeypatch):
    monkeypatch.setattr(preflight, "MOST_MEMBERS", 3)
    result = command(
        "train", "-m", *SMALL, "model=wide,linear", "seed=1,2", "select.ensemble={kind: best, size: 2}"
    )
    assert result.code == 2
    assert "would average 4 networks, and at most 3 are allowed" in result.err


# Halving


def test_halving_of_a_single_run_is_refused(folder):
    result = command("train", *SMALL, "sweep.halving={first:1,factor:3}")
    assert result.code == 2
    assert (
        "sweep.halving: has no effect on a single run. Add --multirun, or set sweep.halving=null"
        in result.err
    )


def test_halving_from_the_command_line_says_what_it_saved(folder):
    space = ("optimizer=sgd", "optimizer.lr=0.001,0.003,0.01,0.03,0.1,0.3", "seed=1,2", "train.epochs=9")
    result = command("train", "-m", *SMALL, *space, "sweep.halving={first:1,factor:3}")
    assert result.code == 0
    (sweep,) = sweeps()
    found = kept(sweep)
    trained = sum(len(record.history) for record in found)
    assert [len(record.history) for record in found].count(1) == 8  # of 6 candidates 2 go on
    assert [len(record.history) for record in found].count(3) == 2
    assert [len(record.history) for record in found].count(9) == 2
    assert trained == 8 * 1 + 2 * 3 + 2 * 9
    words = "halving stopped 10 of 12 runs early, which saved 70% of all epochs (76 of 108)"
    assert words in result.err.splitlines()
    assert sweep_record.read(sweep).halving == words
    assert "stopped after epoch 1" in result.err
    listed = json.loads(command("leaderboard", "--json").out)["entries"]
    assert len(listed) >= 1
    again = command("train", "-m", *SMALL, *space, "sweep.halving={first:1,factor:3}")
    assert "12 runs had been trained before" in again.err
    assert kept(sweep) == found


# Whatever the launcher


def test_every_launcher_and_number_of_workers_gives_the_same_bits(folder):
    space = ("model=wide,deep", "model.dropout=0.0,0.3", "seed=1", "sweep.resume=false")
    for launcher in (
        "hydra/launcher=basic",
        "hydra/launcher=threads",
        "hydra.launcher.workers=1",
        "hydra.launcher.workers=3",
    ):
        assert command("train", "-q", "-m", *SMALL, *space, launcher).code == 0
    first, *others = sweeps()
    assert len(others) == 3
    assert len(kept(first)) == 4
    for other in others:
        for one, two in zip(kept(first), kept(other), strict=True):
            assert one.history == two.history
            assert one.summary == two.summary
            assert one.config["model"] == two.config["model"]
            assert one.name == two.name
            assert one.overrides == two.overrides
        for number in range(4):
            assert weights(first / str(number)) == weights(other / str(number))


def test_one_launchers_results_are_taken_over_by_another(folder):
    assert command("train", "-m", *SMALL, "seed=1,2", "hydra/launcher=basic").code == 0
    result = command("train", "-m", *SMALL, "seed=1,2,3")
    assert result.code == 0
    assert "2 runs had been trained before" in result.err


@pytest.mark.slow
def test_a_longer_sweep_takes_no_more_memory():
    """Check that a further job adds at most 50 kB to the memory at the end of a sweep."""
    code = f"""if True:
        import sys, tempfile, os
        os.chdir(tempfile.mkdtemp())
        from sweepgrad.cli.main import main
        code = main(["train", "-q", "-m", *{SMALL!r}, f"seed=range({{sys.argv[1]}})"])
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(code, status["VmHWM"].split()[0])
    """
    peaks = {}
    for n_jobs in (50, 200):
        said = subprocess.run(
            [sys.executable, "-c", code, str(n_jobs)],
            env={**environment(), "MALLOC_ARENA_MAX": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert said[0] == "0"
        peaks[n_jobs] = int(said[1])  # kB
    assert (peaks[200] - peaks[50]) / 150 < 50


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_a_job_leaves_nothing_open(folder):
    assert command("train", "-q", "-m", *SMALL, "seed=1").code == 0
    before = len(os.listdir("/proc/self/fd"))
    assert command("train", "-q", "-m", *SMALL, "seed=range(1,13)").code == 0
    assert len(os.listdir("/proc/self/fd")) - before < 8


@pytest.mark.parametrize("launcher", ["threads", "basic"])
def test_fail_fast_ends_with_the_first_failure_whoever_launches(launcher, folder):
    rates = "optimizer.lr=1e300,0.1,0.2"
    words = [*SMALL, "optimizer=sgd", rates, f"hydra/launcher={launcher}", "sweep.fail_fast=true"]
    result = command("train", "-m", *words, *(["hydra.launcher.workers=1"] if launcher == "threads" else []))
    assert result.code == 1
    assert "ended at the first failure" in result.err
    assert len(list(Path("runs").rglob("record.json"))) == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("  sweepgrad train")]
    assert "sweep.fail_fast" not in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.sweep.subdir=x"], "hydra.sweep.subdir: 'x' would be the folder of"),
        (["hydra.sweep.subdir=${nix}"], "nix"),
        (["hydra.launcher.workers=0"], "hydra.launcher.workers: must be 1 to 256"),
        (["hydra.job.chdir=true"], "hydra.job.chdir: is not possible for jobs that share a process"),
        (["sweep.halving={first: 1, factor: 2}", "hydra.sweeper.max_batch_size=1"], "max_batch_size"),
        (["sweep.halving={first: 1, factor: 2}", "hydra/launcher=basic"], "Set hydra/launcher=threads"),
        (["sweep.halving={first: 3, factor: 2}"], "sweep.halving.first: 3 has no effect within 3 epochs"),
        (["sweep.halving={frist: 1, factor: 2}"], "Did you mean sweep.halving.first?"),
        (["sweep.halving=true"], "should be null, or keys and values"),
        (["hydra/sweeper=optuna", "hydra.sweeper.trials=0"], "hydra.sweeper.trials: must be at least 1"),
        (["hydra/sweeper=optuna", "hydra.sweeper.batch=-1"], "hydra.sweeper.batch: must be at least 1"),
        (["optimizer.lr=interval(0.1, 0.2)"], "add hydra/sweeper=optuna"),
    ],
)
@pytest.mark.parametrize("rehearsal", [[], ["--dry-run"]])
def test_settings_of_hydras_that_do_not_go_are_refused_beforehand(words, said, rehearsal, folder):
    result = command("train", "-m", *SMALL, "seed=1,2", *words, *rehearsal)
    assert result.code == 2
    assert said in result.err
    assert not Path("runs", "sweeps").exists()


def test_what_is_about_sweeps_is_refused_for_a_run_on_its_own(folder):
    result = command("train", *SMALL, "sweep.fail_fast=true")
    assert result.code == 2
    assert "sweep.fail_fast: has no effect on a single run" in result.err


def test_a_sweep_whose_folder_is_called_by_the_time_is_in_one_place(folder):
    assert command("train", "-m", *SMALL, "seed=1,2", "hydra.sweep.dir=out/${now:%H-%M-%S-%f}").code == 0
    (place,) = Path("out").iterdir()
    assert {path.name for path in place.iterdir()} >= {"0", "1", "sweep.json"}


def test_sync_closes_a_sweep_of_which_only_the_end_was_not_sent(folder):
    assert command("train", "-m", *SMALL, "seed=1,2").code == 0
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    client = mlflow.MlflowClient(store.uri, store.uri)
    client.update_run(store.sweep(None).run_id, "RUNNING")
    assert "0 runs sent" in command("sync").out
    assert store.sweep(None).status == "FINISHED"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("table.csv", "is not an SQLite database, so it is no MLflow store: if it is another file, choose"),
        ("other.db", "is an SQLite database, but no MLflow store: choose another tracking.uri"),
        ("table.csv/mlflow.db", "table.csv is a file. Choose another tracking.uri"),
        ("folder", "folder is not a file: choose another tracking.uri"),
        ("folder/mlflow.db", "mlartifacts is a file, where the store keeps files of runs"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--dry-run"]], ids=["train", "dry-run"])
def test_a_store_that_cannot_be_is_refused_before_training_and_nothing_is_left(
    tmp_path, monkeypatch, flags, uri, problem
):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("a,b\n1,2\n")
    with contextlib.closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE songs (name)")
    Path("folder").mkdir()
    Path("folder/mlartifacts").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = command("train", *flags, *SMALL, f"tracking.uri=sqlite:///{uri}")
    assert (done.code, done.out) == (2, "")
    assert done.err.count(problem) == 1
    assert sorted(tmp_path.rglob("*")) == before
