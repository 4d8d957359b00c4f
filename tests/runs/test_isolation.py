"""The isolation test passes, and fails if training looks at validation rows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support import CSV, SMALL, command, people

from sweepgrad.compose.plan import plan
from sweepgrad.runs import capture, isolation
from sweepgrad.runs import record as records
from sweepgrad.runs.isolation import isolation_test
from sweepgrad.tracking import tags
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import Examples, fit


def experiment(*overrides):
    (job,) = plan([*SMALL, *overrides], multirun=False).jobs
    return prepare(job.config)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("optimizer=sgd", "engine.name=numpy"),
        ("engine.name=numpy", "engine.dtype=float32", "model=linear"),
    ],
)
def test_garbage_for_validation_rows_moves_no_weight(more):
    found = isolation_test(experiment(*more))
    assert found.passed
    assert found.steps == 2 * -(-found.rows // 32)


def test_training_that_looks_at_validation_rows_is_found_out(monkeypatch):
    def peeking(network, optimizer, train, val, **settings):
        both = (np.concatenate([a, b[:1]]) for a, b in ((train.X, val.X), (train.y, val.y)))
        return fit(network, optimizer, Examples(*both), val, **settings)

    monkeypatch.setattr("sweepgrad.training.experiment.fit", peeking)
    monkeypatch.setattr(isolation, "_results", {})
    assert isolation_test(experiment()).passed is False


def test_training_that_looks_at_their_labels_alone_is_found_out(monkeypatch):
    def peeking(network, optimizer, train, val, **settings):
        y = train.y.copy()
        y[: len(val.y)] = val.y[: len(y)]
        return fit(network, optimizer, Examples(train.X, y), val, **settings)

    monkeypatch.setattr("sweepgrad.training.experiment.fit", peeking)
    monkeypatch.setattr(isolation, "_results", {})
    assert isolation_test(experiment()).passed is False


def test_networks_of_other_columns_have_a_test_of_their_own(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    table = [*CSV, f"data.path={tmp_path / 'people.csv'}", "train.epochs=2"]
    one, other = (
        prepare(plan([*table, f"data.drop=[person,{name}]"], multirun=False).jobs[0].config)
        for name in ("age", "income")
    )
    assert one.training.digests == other.training.digests
    assert isolation_test(one) is not isolation_test(other)


def test_an_error_in_the_isolation_test_does_not_lose_the_model(folder, monkeypatch):
    def out_of_memory(experiment):
        raise MemoryError("no room")

    monkeypatch.setattr(isolation, "_results", {})
    monkeypatch.setattr(isolation, "_tested", out_of_memory)
    assert command("train", *SMALL, "hydra.run.dir=runs/one").code == 0
    record = records.read(Path("runs", "one"))
    assert record.status == "FINISHED"
    assert Path("runs", "one", "model", "weights.npz").exists()
    assert record.certificate
    assert record.certificate["weights"]["unmoved"] is None
    assert "MemoryError: no room" in record.certificate["weights"]["proven"]
    assert tags.of_certificate(record)["sweepgrad.isolation_test"] == "not passed"


def test_a_run_that_is_stopped_is_not_tested():
    stopped = experiment("optimizer.lr=0.123")
    *_, last = stopped.fits()
    how: dict[str, Any] = {"job": "j", "name": "n", "overrides": (), "started": 0, "ended": 1}
    record = capture.of(stopped.config, status="KILLED", experiment=stopped, fit=last, **how)
    assert record.certificate
    assert record.certificate["weights"] == isolation.not_tested("the run was stopped")
    assert record.certificate["preprocessing"]["unmoved"]


def test_runs_that_differ_in_seed_and_rate_share_a_test():
    one, other = experiment("seed=1"), experiment("seed=2", "optimizer.lr=0.5", "train.epochs=2")
    assert isolation_test(one) is isolation_test(other)
    assert isolation_test(one) is not isolation_test(replace(one, config=experiment("model=deep").config))


def test_every_run_has_its_certificate_in_its_folder_and_in_the_store(folder):
    assert command("train", "-m", *SMALL, "seed=1,2").code == 0
    jobs = sorted(path.parent for path in Path("runs", "sweeps").rglob("certificate.json"))
    assert len(jobs) == 2
    certificates = [json.loads((job / "certificate.json").read_text()) for job in jobs]
    assert certificates[0] == certificates[1]
    assert certificates[0]["leaks"] == []
    assert certificates[0]["preprocessing"]["unmoved"]
    assert certificates[0]["weights"]["unmoved"]
    assert len(list(Path("runs").rglob("mlartifacts/**/certificate.json"))) == 2
    from sweepgrad.tracking.store import Store

    store = Store("sqlite:///runs/mlflow.db", "sweepgrad")
    for run in store.children(store.sweep(None)):
        assert run.tags["sweepgrad.leaks"] == "none found"
        assert run.tags["sweepgrad.isolation_test"] == "passed"
