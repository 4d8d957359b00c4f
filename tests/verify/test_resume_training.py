"""Continuing a run gives the bits of training all epochs at once, or is refused with a reason."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from tests.support import SMALL, command
from tests.verify.test_verify import changed, left

from sweepgrad.runs import record as records


def continued(which: object, *changes: str) -> records.Record:
    before = set(Path("runs", "single").glob("*"))
    result = command("continue", str(which), *changes)
    assert result.code == 0, result.err
    (folder,) = set(Path("runs", "single").glob("*")) - before
    return records.read(folder)


def test_continuing_gives_what_training_all_epochs_at_once_gives(folder):
    run = ("optimizer=adam", "model.dropout=0.3", "engine.dtype=float32", *SMALL)
    assert command("train", *run).code == 0
    (short,) = Path("runs", "single").iterdir()
    long = continued(short.name, "train.epochs=7")
    assert command("train", *run, "train.epochs=7").code == 0
    straight = records.read(max(Path("runs", "single").iterdir()))
    for name in ("digest", "history", "best_epoch", "summary", "files"):
        assert getattr(long, name) == getattr(straight, name)
    origin = records.read(short)
    assert (origin.continued, long.continued, len(long.history)) == (None, origin.job, 7)
    uri = f"sqlite:///{Path('runs', 'mlflow.db').absolute()}"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("sweepgrad")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`sweepgrad.continued` = '{origin.job}'")
    assert found.info.status == "FINISHED"
    shutil.rmtree("runs/single")  # MLflow has everything that is needed
    again = continued(found.info.run_id[:10], "train.epochs=9")
    assert len(again.history) == 9
    assert command("verify", found.info.run_id).code == 0


def test_what_ctrl_c_ended_continues_to_its_end_though_its_schedule_depends_on_it(folder):
    job = left(Path("ended"), 2, "KILLED", "schedule=cosine")
    whole = records.read(left(Path("whole"), 5, None, "schedule=cosine"))
    assert continued(job).history == whole.history


def test_a_job_of_a_sweep_continues_as_a_single_run(sweep, tmp_path, monkeypatch, empty_store):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    shutil.copy(empty_store, "runs/mlflow.db")
    record = continued(sweep.jobs[0], "train.epochs=4")
    assert record.sweep is None
    assert len(record.history) == 4


def test_what_patience_ended_continues_only_with_more_of_it(folder):
    job = left(Path("ended"), 40, None, "optimizer.lr=0.3", "train.epochs=40", "train.patience=2")
    done = len(records.read(job).history)
    assert done < 40
    result = command("continue", str(job), "train.epochs=50")
    assert result.code == 2
    assert f"train.patience: 2 ends training after epoch {done}" in result.err
    assert len(continued(job, "train.patience=null", f"train.epochs={done + 2}").history) == done + 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["train.epochs=3"], "train.epochs: 3 is not more than the 3 epochs of ended"),
        (["train.epochs=9", "optimizer.lr=1"], "only train.epochs and train.patience"),
        (["train.epochs=x"], "train.epochs: 'x' should be a valid integer"),
        (["train.epochs"], "not of the form KEY=VALUE"),
        (["train.epochs=9", "train.patience=9"], "has no effect"),
    ],
)
def test_changes_that_are_refused(changes, problem, folder):
    result = command("continue", str(left(Path("ended"), 3, "KILLED")), *changes)
    assert result.code == 2
    assert problem in result.err
    assert not Path("runs", "single").exists()


def test_another_number_of_epochs_is_refused_if_the_schedule_depends_on_it(folder):
    result = command("continue", str(left(Path("ended"), 5, None, "schedule=cosine")), "train.epochs=9")
    assert result.code == 2
    assert "the learning rates of cosine depend on train.epochs" in result.err


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: r["environment"].update(code="0"), "trained by another version"),
        (lambda r: r["data"]["digests"].update(train="0"), "is not what ended was trained on"),
        (lambda r: r["files"].pop("state.npy"), "has no state.npy"),
        (lambda r: r["files"].update({"state.npy": "0"}), "state.npy was changed after it was written"),
        (lambda r: r.update(status="FAILED"), "failed, so it cannot be continued: train it from scratch"),
        (lambda r: r["history"][0].update(val_nll=0.0), "but epoch 1 has the lowest validation loss"),
        (lambda r: r["history"][2].update(val_nll=0.1), "val_nll after epoch 3 is 0.1, but "),
        (lambda r: r["history"][2].update(train_accuracy=0.1), "train_accuracy after epoch 3 is 0.1, but "),
    ],
)
def test_a_run_that_cannot_be_continued_is_refused(change, problem, folder):
    job = left(Path("ended"), 3, "KILLED")
    changed(job, change)
    result = command("continue", str(job), "train.epochs=9")
    assert result.code == 2
    assert problem in result.err


def test_a_record_that_is_older_than_continuing_can_be_read(folder):
    job = left(Path("ended"), 3, "KILLED")
    changed(
        job,
        lambda r: (
            r.pop("continued"),
            r["files"].pop("state.npy"),
            r["files"].pop("validation.npy"),
            r["environment"].update(code="0"),
        ),
    )
    assert json.loads((job / "record.json").read_text())["files"].keys() == {"bundle.json", "weights.npz"}
    (job / "state.npy").unlink()
    assert records.read(job).continued is None
    assert command("verify", str(job)).code == 0


def test_a_run_whose_record_was_changed_is_continued_from_its_other_copy_or_not_at_all(folder):
    assert command("train", *SMALL).code == 0
    (job,) = Path("runs", "single").iterdir()
    file = job / "record.json"
    run_id = json.loads((job / "mlflow.json").read_text())["run_id"]
    file.write_text(file.read_text().replace('"best_epoch": 3', '"best_epoch": 2'))
    result = command("continue", str(job), "train.epochs=4")
    assert result.code == 2
    assert "record.json was changed after it was written: its checksum does not match" in result.err
    shutil.copy(job / "validation.npy", job / "state.npy")  # MLflow's copy is intact
    assert len(continued(run_id, "train.epochs=4").history) == 4
