"""Verifying runs: unchanged ones are bit-equal, and every change is found."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tests.support import CSV, SMALL, Sweep, command, people

from sweepgrad.compose.plan import plan
from sweepgrad.runs import record as records
from sweepgrad.sweeps.job import Job, Trial
from sweepgrad.verify.compare import _of_itself
from sweepgrad.verify.sources import Copy


@pytest.fixture
def copied(sweep, tmp_path, monkeypatch) -> Sweep:
    """Copy the sweep that tests share to a folder of this test."""
    folder = shutil.copytree(sweep.folder, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return Sweep(folder, sweep.uri, sweep.name, sweep.result)


def changed(job: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record by hand, and compute its checksum again."""
    record = json.loads((job / "record.json").read_text())
    change(record)
    (job / "record.json").write_bytes(records.seal(json.dumps(record).encode()))


def test_a_sweep_is_bit_equal_in_mlflow_and_in_its_folders(sweep, monkeypatch):
    monkeypatch.chdir(sweep.folder)
    result = command("verify", sweep.name)
    assert result.code == 0, result.err
    assert result.out.splitlines() == ["4 of 4 bit-equal"]


def test_a_job_is_found_by_the_beginning_of_its_id(sweep, monkeypatch):
    monkeypatch.chdir(sweep.folder)
    run_id = json.loads((sweep.jobs[2] / "mlflow.json").read_text())["run_id"]
    result = command("verify", run_id[:12], "--json")
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    assert [run["run"] for run in printed["runs"]] == [run_id]
    assert (printed["bit_equal"], printed["differ"]) == (1, 0)


def test_a_flipped_bit_of_the_weights_is_found(copied):
    path = copied.jobs[0] / "model" / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    result = command("verify", str(copied.jobs[0]))
    assert result.code == 1
    assert "weights.npz was changed after it was written" in result.out


def test_weights_that_were_changed_together_with_their_digest_are_found(copied):
    job = copied.jobs[0]
    with np.load(job / "model" / "weights.npz") as file:
        weights = {name: file[name] for name in file.files}
    weights["w2"] = np.nextafter(weights["w2"], 9)
    np.savez(job / "model" / "weights.npz", **weights)
    from sweepgrad.files import digest

    changed(job, lambda r: r["files"].update({"weights.npz": digest(job / "model" / "weights.npz")}))
    result = command("verify", str(job))
    assert result.code == 1
    (finding,) = [line for line in result.out.splitlines() if "layer" in line]
    n = weights["w2"].size
    assert f"weights of layer 2: {n} of {n} numbers differ" in finding


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda r: r["history"][1].update(val_nll=0.5), "val/nll after epoch 2 is 0.5; retrained: 1."),
        (
            lambda r: r["summary"].update({"best/val/accuracy": 0.99}),
            "best/val/accuracy is 0.99; retrained: 0.",
        ),
        (
            lambda r: r.update(history=r["history"][:2]),
            "ends after epoch 2; training would end after epoch 3",
        ),
        (lambda r: r["config"].update(seed=9), "config.yaml and record.json differ in seed"),
        (lambda r: r["data"].update(n_test=41), "data.n_test is 41; retrained: 40"),
        (lambda r: r.update(best_epoch=1), "best_epoch is 1"),
    ],
)
def test_a_record_that_was_changed_by_hand_is_found(change, finding, copied):
    job = copied.jobs[0]
    changed(job, change)
    result = command("verify", str(job))
    assert result.code == 1, result.err
    assert finding in result.out


def test_whatever_was_added_or_changed_in_a_folder_is_found(copied):
    job = copied.jobs[0]
    changed(
        job,
        lambda r: (
            r["summary"].update({"best/test/accuracy": 0.99}),
            r["certificate"].update(leaks=["of course not"]),
            r.update(diagnosis="a triumph", status="KILLED"),
            r["files"].pop("state.npy"),
            r["files"].pop("validation.npy"),
        ),
    )
    with (job / "config.yaml").open("a") as file:
        file.write("tested: true\n")
    certificate = json.loads((job / "certificate.json").read_text())
    (job / "certificate.json").write_text(json.dumps(certificate | {"leaks": ["none at all"]}))
    result = command("verify", str(job))
    assert result.code == 1, result.err
    for finding in (
        "best/test/accuracy is present; retrained: missing",
        "certificate.leaks (length) is 1; retrained: 0",
        "diagnosis is 'a triumph'; retrained: ''",
        "its status is KILLED, but it has all its epochs",
        "its files are bundle.json, weights.npz; retrained: bundle.json, weights.npz, state.npy,"
        " validation.npy",
        "config.yaml and record.json differ in tested",
        "certificate.json.leaks[0] is 'none at all'; in record.json: 'of course not'",
    ):
        assert finding in result.out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"- a\n- list\n", b"a: [\n"])
def test_a_config_that_is_none_is_a_finding(content, tmp_path):
    job = left(tmp_path / "run", 1, "KILLED")
    (job / "config.yaml").write_bytes(content)
    result = command("verify", str(job))
    assert result.code == 1, result.err
    assert "config.yaml holds no configuration" in result.out or "config.yaml cannot be read" in result.out


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(["a0: &a [1, 2]", *(f"a{i}: &a [{', '.join(['*a'] * 9)}]" for i in range(1, 20))]),
        "x" * 2_000_000,
        "a: " + "[" * 1_000,
    ],
    ids=["aliases", "size", "depth"],
)
def test_a_config_that_exceeds_the_limits_is_a_finding(content, sweep, tmp_path):
    record = records.read(sweep.jobs[0])
    (tmp_path / "config.yaml").write_text(content)
    first = next(_of_itself(Copy("here", tmp_path, "model", record)))
    assert first.startswith("config.yaml cannot be read: ")
    assert len(first) < 1_000


def test_statistics_of_a_layer_too_many_are_found(tmp_path):
    job = left(tmp_path / "run", 1, "KILLED", "train.diagnose=true")

    def repeat_last(record):
        layers = record["history"][0]["layer_statistics"]["layers"]
        layers.append(layers[-1])

    changed(job, repeat_last)
    result = command("verify", str(job))
    assert result.code == 1, result.err
    assert "layer3/gradient_norm after epoch 1 is present; retrained: missing" in result.out


def test_whatever_was_added_or_changed_in_the_store_is_found(copied):
    run_id = json.loads((copied.jobs[0] / "mlflow.json").read_text())["run_id"]
    with closing(sqlite3.connect(copied.folder / "runs" / "mlflow.db")) as connection:
        for table in ("metrics", "latest_metrics"):
            columns = "key, value, timestamp, step, is_nan, run_uuid"
            connection.execute(
                f"INSERT INTO {table} ({columns}) VALUES ('test/accuracy', 1, 0, 0, 0, '{run_id}')"
            )
        for change in (
            "UPDATE params SET value = '7' WHERE key = 'seed'",
            "UPDATE tags SET value = 'none at all' WHERE key = 'sweepgrad.leaks'",
            "UPDATE runs SET status = 'KILLED' WHERE TRUE",
        ):
            connection.execute(f"{change} AND run_uuid = '{run_id}'")
        connection.commit()
    result = command("verify", run_id)
    assert result.code == 1, result.err
    for finding in (
        "metrics in MLflow: test/accuracy is present; recorded: missing",
        "params in MLflow.seed is '7'; recorded: '1'",
        "tags in MLflow.sweepgrad.leaks is 'none at all'; recorded: 'none found'",
        "status in MLflow is KILLED; recorded: FINISHED",
    ):
        assert finding in result.out


def test_the_model_that_mlflow_serves_is_looked_at_and_what_finalize_adds_is_not_a_finding(folder):
    assert command("train", *SMALL).code == 0
    (job,) = Path("runs", "single").iterdir()
    run_id = json.loads((job / "mlflow.json").read_text())["run_id"]
    (served,) = Path("runs", "mlartifacts", "models").glob("*/artifacts/artifacts/*/weights.npz")
    assert command("finalize").code == 0
    result = command("verify", run_id)
    assert result.code == 0, result.out + result.err
    served.write_bytes(served.read_bytes()[:-40])
    result = command("verify", run_id)
    assert result.code == 1, result.err
    assert "the model in MLflow: weights.npz changed after being written" in result.out


def test_a_metric_that_was_changed_in_the_store_is_found(copied):
    with closing(sqlite3.connect(copied.folder / "runs" / "mlflow.db")) as connection:
        connection.execute("UPDATE metrics SET value = 0.25 WHERE key = 'val/nll' AND step = 2")
        connection.execute("UPDATE latest_metrics SET value = 1 WHERE key = 'best/val/roc_auc'")
        connection.commit()
    result = command("verify", copied.name)
    assert result.code == 1
    assert result.out.count("metrics in MLflow: val/nll after epoch 2 is 0.25") == 4
    assert result.out.count("; 2 of 18 numbers are affected") == 4
    assert result.out.splitlines()[-1] == "0 of 4 bit-equal, 4 differ"


def test_another_environment_is_named_and_rounding_forgiven(copied):
    job = copied.jobs[0]
    changed(job, lambda r: r["environment"].update(numpy="1.0"))
    result = command("verify", str(job))
    assert result.code == 0
    assert "numpy: was 1.0," in result.out
    assert "1 of 1 bit-equal, despite the differences above" in result.out
    changed(job, lambda r: r["history"][0].update(train_nll=r["history"][0]["train_nll"] + 1e-9))
    result = command("verify", str(job))
    assert result.code == 0
    assert "equal to rounding" in result.out
    changed(job, lambda r: r["history"][0].update(train_nll=r["history"][0]["train_nll"] + 1e-4))
    assert command("verify", str(job)).code == 1


def test_a_changed_cell_of_the_table_is_reported_before_anything_is_trained(folder):
    people().to_csv("people.csv", index=False)
    assert command("train", *CSV, "train.epochs=2", "data.drop=[person]").code == 0
    (job,) = Path("runs", "single").iterdir()
    assert command("verify", str(job)).code == 0
    frame = people()
    frame["age"] = frame["age"].where(frame.index != 3, 33.3)
    frame.to_csv("people.csv", index=False)
    result = command("verify", job.name)
    assert result.code == 2
    assert "people.csv has changed since" in result.err
    assert "Restore the old table" in result.err


def left(
    folder: Path, epochs: int, status: records.Status | None, *overrides: str, stopped: bool = False
) -> Path:
    """Train a run, end it after some epochs, and return its folder."""
    (planned,) = plan([*SMALL, "train.epochs=5", *overrides], multirun=False).jobs
    trial = Trial(Job(0, "ended", (), planned.config, folder, "ended"), Event())
    trial.prepare()
    for _ in range(epochs):
        trial.advance()
    trial.close(status, stopped=stopped)
    return folder


@pytest.mark.parametrize(("status", "stopped"), [("KILLED", False), (None, True)])
def test_a_run_that_was_ended_early_is_trained_again_as_far(status, stopped, tmp_path):
    job = left(tmp_path / "run", 3, status, "schedule=cosine", stopped=stopped)
    result = command("verify", str(job))
    assert result.code == 0, result.out + result.err
    assert "3 epochs: bit-equal" in result.out


def test_a_run_that_patience_ended_is_trained_again_to_the_same_epoch(tmp_path):
    job = left(tmp_path / "run", 40, None, "optimizer.lr=0.3", "train.epochs=40", "train.patience=2")
    assert len(records.read(job).history) < 40
    assert command("verify", str(job)).code == 0


def test_what_cannot_be_found_is_reported(folder):
    for which, problem in (
        ("nothing", "no runs"),
        (".", "has no record.json"),
        ("runs", "has no record.json"),
    ):
        result = command("verify", which)
        assert result.code == 2
        assert problem in result.err


@pytest.mark.parametrize("name", ["record.json", "validation.npy"])
def test_a_change_of_one_byte_is_found(name, copied):
    file = copied.jobs[0] / name
    content = file.read_bytes()
    changed = (
        content.replace(b'"stopped": false', b'"stopped":false') if name == "record.json" else content + b" "
    )
    file.write_bytes(changed)
    result = command("verify", str(copied.jobs[0]))
    assert result.code == 1, result.err
    assert f"{name} was changed after it was written" in result.out


def test_validation_scores_that_were_changed_together_with_their_digest_are_found(copied):
    from sweepgrad.files import digest

    file = copied.jobs[0] / "validation.npy"
    scores = np.load(file)
    scores[3] += 0.5
    np.save(file, scores)
    changed(copied.jobs[0], lambda r: r["files"].update({"validation.npy": digest(file)}))
    result = command("verify", str(copied.jobs[0]))
    assert result.code == 1, result.err
    assert f"validation scores: 1 of {scores.size} numbers differ, by up to 0.5" in result.out
