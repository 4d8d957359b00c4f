"""Training jobs for real: what they leave on disk and in MLflow, also when they fail or are killed."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
import yaml
from matplotlib.image import imread
from mlflow.entities import Run
from tests.support import GRID, SMALL, Result, command, console_script, drawn, environment

from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record
from sweepgrad.tracking.store import Store


def here() -> str:
    """Return the absolute URI of the store, since MLflow caches stores by URI."""
    return f"sqlite:///{Path('runs', 'mlflow.db').absolute()}"


def runs(uri: str | None = None, experiment: str = "sweepgrad") -> list[Run]:
    """Return all runs of an experiment, in the order of their start."""
    uri = uri or here()
    client = mlflow.MlflowClient(uri, uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))[::-1]


def parent_and_children(uri: str | None = None) -> tuple[Run, list[Run]]:
    found = runs(uri)
    (parent,) = [run for run in found if run.data.tags["sweepgrad.kind"] == "sweep"]
    children = [run for run in found if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    return parent, sorted(children, key=lambda run: int(run.data.tags["sweepgrad.job"].rpartition("/")[2]))


def weights(folder: Path) -> list[np.ndarray]:
    with np.load(folder / "model" / "weights.npz", allow_pickle=False) as file:
        return [file[name] for name in file.files]


def assert_same_result(one: Path, other: Path) -> None:
    first, second = records.read(one), records.read(other)
    assert first.history == second.history
    assert first.summary == second.summary
    for a, b in zip(weights(one), weights(other), strict=True):
        assert a.tobytes() == b.tobytes()


def single() -> list[Path]:
    return sorted(path.parent for path in Path("runs", "single").glob("*/record.json"))


def train(*overrides: str) -> Result:
    return command("train", *overrides)


# What a sweep leaves


def test_a_jobs_folder_holds_all_that_is_needed(sweep):
    assert len(sweep.jobs) == 4
    for job in sweep.jobs:
        names = {str(path.relative_to(job)) for path in job.rglob("*") if path.is_file()}
        assert names == {
            "record.json",
            "config.yaml",
            "mlflow.json",
            "model/bundle.json",
            "model/weights.npz",
            "state.npy",
            "validation.npy",
            "certificate.json",
        }


def test_a_run_on_its_own_has_pictures_too(folder):
    with drawn():
        assert train(*SMALL).code == 0
    (job,) = single()
    for name in ("learning_curve.png", "decision_boundary.png"):
        assert imread(job / name).shape[0] > 300  # pixels


def test_a_jobs_record_says_what_ran_and_how_it_went(sweep):
    record = records.read(sweep.jobs[0])
    assert record.status == "FINISHED"
    assert record.error is None
    assert record.started <= record.ended
    assert len(record.history) == 3
    assert record.summary["best/val/nll"] == min(epoch.val_loss for epoch in record.history)
    assert record.best_epoch == record.summary["best/epoch"]
    assert record.sweep == sweep.name
    assert record.data is not None
    assert (record.data.n_train, record.data.n_val, record.data.n_test) == (120, 40, 40)
    assert record.config["model"]["hidden"] == [9]
    assert record.n_parameters == 2 * 9 + 9 + 9 + 1


def test_every_jobs_configuration_is_the_one_that_was_asked_for(sweep):
    configs = [yaml.safe_load((job / "config.yaml").read_text()) for job in sweep.jobs]
    assert [(tuple(c["model"]["hidden"]), c["seed"]) for c in configs] == [
        ((9,), 1),
        ((9,), 2),
        ((), 1),
        ((), 2),
    ]
    # Absolute, so that `sweepgrad sync` finds the store from any folder.
    assert {config["tracking"]["uri"] for config in configs} == {sweep.uri}


def test_a_sweep_is_one_parent_with_a_child_for_each_job(sweep):
    parent, children = parent_and_children(sweep.uri)
    assert parent.info.run_name == sweep.name
    assert len(children) == 4
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {run.data.tags["sweepgrad.sweep"] for run in (parent, *children)} == {sweep.name}
    assert json.loads(parent.data.tags["sweepgrad.varying"]) == ["model", "seed"]
    assert len({run.info.run_name for run in children}) == 4


def test_mlflow_has_every_setting_as_a_parameter(sweep):
    _, children = parent_and_children(sweep.uri)
    for run, job in zip(children, sweep.jobs, strict=True):
        params, config = run.data.params, records.read(job).config
        assert json.loads(params["model.hidden"]) == config["model"]["hidden"]
        assert float(params["optimizer.lr"]) == config["optimizer"]["lr"]
        assert int(params["seed"]) == config["seed"]
        assert int(params["n_parameters"]) == records.read(job).n_parameters
        for section in ("data", "split", "model", "optimizer", "train"):
            assert {f"{section}.{key}" for key in config[section]} <= params.keys()


def test_mlflow_has_the_metrics_of_every_epoch(sweep):
    client = mlflow.MlflowClient(sweep.uri, sweep.uri)
    _, children = parent_and_children(sweep.uri)
    for run, job in zip(children, sweep.jobs, strict=True):
        record = records.read(job)
        for metric in ("train/nll", "train/accuracy", "val/nll", "val/accuracy"):
            history = client.get_metric_history(run.info.run_id, metric)
            assert [point.step for point in history] == [1, 2, 3]
            expected = [epoch.to_json()[metric.replace("/", "_")] for epoch in record.history]
            assert [point.value for point in history] == expected
        assert {key: run.data.metrics[key] for key in record.summary} == record.summary


def test_mlflow_knows_no_test_metric_of_a_job(sweep):
    parent, children = parent_and_children(sweep.uri)
    assert not [name for run in (parent, *children) for name in run.data.metrics if "test" in name]


def test_mlflow_knows_the_rows_and_has_the_files_of_each_run(sweep):
    client = mlflow.MlflowClient(sweep.uri, sweep.uri)
    _, children = parent_and_children(sweep.uri)
    for run in children:
        assert run.inputs
        inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
        assert inputs.keys() == {"training", "validation"}
        assert {dataset.name for dataset in inputs.values()} == {"simulated"}
        assert json.loads(inputs["training"].profile or "")["num_rows"] == 120
        assert inputs["training"].digest != inputs["validation"].digest
        artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert artifacts == {
            "config.yaml",
            "environment.json",
            "run.json",
            "state.npy",
            "validation.npy",
            "certificate.json",
            "bundle",
        }
        assert {"train", "val", "test", "table"} == {
            key.rpartition(".")[2] for key in run.data.tags if key.startswith("sweepgrad.digest.")
        }
    splits = {run.data.tags["sweepgrad.digest.val"] for run in children}
    assert len(splits) == 1


def test_the_environment_is_kept(sweep):
    record = records.read(sweep.jobs[0])
    assert {"python", "platform", "sweepgrad", "numpy", "pandas"} <= record.environment.keys()
    assert record.overrides == (*SMALL, "model=wide", "seed=1")
    assert sweep_record.read(sweep.jobs[0].parent).command == f"sweepgrad train -m {' '.join(SMALL)} {GRID}"


# The same again


def test_a_job_alone_equals_itself_in_a_sweep_and_the_same_command_gives_the_same_bits(sweep, folder):
    for _ in range(2):
        assert train(*SMALL, "model=wide", "seed=2", "model.dropout=0.0").code == 0
    first, second = single()
    assert_same_result(first, second)
    assert_same_result(first, sweep.jobs[1])
    assert not np.array_equal(weights(sweep.jobs[0])[0], weights(sweep.jobs[1])[0])
    assert len(runs()) == 2
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs())


def test_dropout_and_minibatches_repeat_to_the_bit(folder):
    for _ in range(2):
        assert train(*SMALL, "model=deep", "model.dropout=0.5", "train.batch_size=7").code == 0
    assert_same_result(*single())


# Where a run is kept


def test_a_run_goes_where_hydra_is_told(folder):
    assert train(*SMALL, "hydra.run.dir=elsewhere/mine").code == 0
    assert records.read(Path("elsewhere", "mine")).status == "FINISHED"
    assert not Path("runs", "single").exists()


def test_a_second_run_in_the_same_folder_is_a_run_of_its_own(folder):
    assert train(*SMALL, "hydra.run.dir=runs/mine").code == 0
    assert train(*SMALL, "hydra.run.dir=runs/mine", "seed=9").code == 0
    assert [run.data.params["seed"] for run in runs()] == ["0", "9"]


def test_a_failure_does_not_inherit_the_model_of_an_earlier_run(folder):
    assert train(*SMALL, "hydra.run.dir=runs/mine").code == 0
    assert train(*SMALL, "hydra.run.dir=runs/mine", "optimizer=sgd", "optimizer.lr=1e300").code == 1
    good, bad = runs()
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert not (bad.outputs and bad.outputs.model_outputs)


# Failing


def test_a_run_that_learned_nothing_is_told_though_it_ended_well(folder):
    result = train("-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.1,100000")
    assert result.code == 0
    assert [line for line in result.err.splitlines() if "worse than a coin flip" in line] == [
        "lr=100000: worse than a coin flip, whose nll is 0.693; try a lower optimizer.lr"
    ]


def test_a_job_that_diverges_does_not_stop_the_others(folder):
    result = train("-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e300,0.05")
    assert result.code == 1
    assert "1 of 3 runs failed" in result.err
    assert "lr=1e+300" in result.err
    assert "Traceback" not in result.err
    parent, children = parent_and_children()
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED"]
    assert parent.info.status == "FAILED"
    bad = children[1]
    client = mlflow.MlflowClient(here(), here())
    assert "error.txt" in {artifact.path for artifact in client.list_artifacts(bad.info.run_id)}
    assert "diverged" in bad.data.tags["sweepgrad.error"]
    (job,) = [path.parent for path in Path("runs").rglob("record.json") if records.read(path.parent).error]
    assert "Traceback" in (records.read(job).error or "")
    listed = command("leaderboard", "--json")
    assert [entry["runs"] for entry in json.loads(listed.out)["entries"]] == [1, 1]


def test_when_every_job_fails_there_is_nothing_to_rank(folder):
    assert train(*SMALL, "optimizer=sgd", "optimizer.lr=1e300").code == 1
    result = command("leaderboard")
    assert result.code == 2
    assert "the run did not finish" in result.err


# Killing


def started(*overrides: str) -> "subprocess.Popen[str]":
    """Start a sweep in a process of its own, and return after its first run has finished."""
    process = subprocess.Popen(
        [console_script(), "train", "-m", "data=simulated", "data.rows=200", "seed=1,2,3", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        # What runs in the background of a script inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(Path("runs").glob("sweeps/*/0/mlflow.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # within the second run
    return process


def first_short_then_long() -> "subprocess.Popen[str]":
    return started("train.epochs=2,100000")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_keeps_what_finished_and_leaves_nothing_running(how, folder):
    process = first_short_then_long()
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "interrupted" in err
    parent, children = parent_and_children()
    assert parent.info.status == "KILLED"
    assert [run.info.status for run in children].count("FINISHED") >= 1
    assert {run.info.status for run in children} == {"FINISHED"}  # what was under way is not kept
    assert not [run for run in runs() if run.info.status == "RUNNING"]
    assert json.loads(command("leaderboard", "--json").out)["entries"][0]["runs"] >= 1


@pytest.mark.slow
def test_what_a_killed_process_left_running_is_closed_by_the_next(folder):
    process = first_short_then_long()
    both = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for each in both:  # the writer would close the sweep by itself
        each.kill()
    process.communicate(timeout=120)
    assert [run.info.status for run in runs()].count("RUNNING") >= 1
    result = train(*SMALL)
    assert result.code == 0
    assert "KILLED" in result.err
    assert not [run for run in runs() if run.info.status == "RUNNING"]


def test_a_living_process_is_left_alone_by_the_next(folder):
    store = Store(here(), "sweepgrad")
    parent = store.sweep_run("mine")
    assert train(*SMALL).code == 0
    assert mlflow.MlflowClient(here(), here()).get_run(parent).info.status == "RUNNING"


@pytest.mark.slow
def test_two_at_once_on_a_fresh_folder_both_succeed(tmp_path):
    both = [
        subprocess.Popen(
            [console_script(), "train", *SMALL, f"seed={seed}"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert sorted(run.data.params["seed"] for run in runs(uri)) == ["1", "2"]
    assert {run.info.status for run in runs(uri)} == {"FINISHED"}


# A store that does not answer


def answering() -> list[Path]:
    """Have the records of a sweep name a store of ours, as if the server that was away answered."""
    jobs = [path.parent for path in sorted(Path("runs", "sweeps").rglob("record.json"))]
    for job in jobs:
        record = json.loads((job / "record.json").read_text())
        record["config"]["tracking"]["uri"] = here()
        (job / "record.json").write_bytes(records.seal(json.dumps(record).encode()))
    return jobs


def test_a_server_that_is_away_loses_nothing_and_sync_sends_once(tmp_path, monkeypatch, empty_store):
    monkeypatch.chdir(tmp_path)
    result = train("-m", *SMALL, "seed=1,2", "tracking.uri=http://127.0.0.1:9")
    assert result.code == 2
    assert "http://127.0.0.1:9 does not answer" in result.err
    assert "sweepgrad sync" in result.err
    (kept,) = Path("runs", "sweeps").iterdir()
    assert str(kept) in result.err
    jobs = [path.parent for path in sorted(kept.rglob("record.json"))]
    assert len(jobs) == 2
    assert all(
        (job / "model" / "weights.npz").exists() and not (job / "mlflow.json").exists() for job in jobs
    )
    assert command("sync").code == 2  # still away
    assert answering() == jobs
    shutil.copy(empty_store, "runs/mlflow.db")
    assert "2 runs sent" in command("sync").out
    assert "0 runs sent" in command("sync").out
    parent, children = parent_and_children()
    assert len(children) == 2
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}


@pytest.mark.slow
def test_a_server_gets_the_same_as_a_file_would(server, sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["-m", *SMALL, "model=wide,linear", "seed=1,2", f"tracking.uri={server}"]
    assert train(*overrides).code == 0
    (_, local), (parent, remote) = parent_and_children(sweep.uri), parent_and_children(server)
    assert parent.info.status == "FINISHED"
    for one, other in zip(local, remote, strict=True):
        assert one.data.params == other.data.params
        assert one.info.run_name == other.info.run_name
        assert one.data.metrics == other.data.metrics
        assert one.info.status == other.info.status
    assert not os.path.exists("runs/mlflow.db")


def test_a_folder_that_is_somebodys_keeps_what_is_in_it(folder):
    Path("model").mkdir()
    Path("model/mine.txt").write_text("mine")
    Path("figure.png").write_text("mine")
    for _ in range(2):
        assert train(*SMALL, "hydra.run.dir=.").code == 0
    assert Path("model/mine.txt").read_text() == Path("figure.png").read_text() == "mine"


def test_a_damaged_record_does_not_keep_the_others_from_being_sent(tmp_path, monkeypatch, empty_store):
    monkeypatch.chdir(tmp_path)
    assert train("-m", *SMALL, "seed=1,2,3", "tracking.uri=http://127.0.0.1:9").code == 2  # it is away
    first, second, third = answering()
    (second / "record.json").write_text("{")
    shutil.copy(empty_store, "runs/mlflow.db")
    result = command("sync")
    assert result.code == 2
    assert "2 runs sent, 1 failed:" in result.err
    assert str(second / "record.json") in result.err
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    assert {run.info.run_name for run in children} == {records.read(job).name for job in (first, third)}


def test_word_of_the_sweep_is_left_where_its_runs_are(folder):
    result = train("-m", *SMALL, "seed=1,2", "hydra.sweep.dir=my/out")
    assert result.code == 0
    assert "kept in my/out" in result.out
    assert sweep_record.read(Path("my/out")).jobs == 2
    assert sweep_record.read(Path("my/out")).status == "FINISHED"
