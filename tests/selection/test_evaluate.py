"""Choosing and judging on each split of a sweep, against the same done by hand."""

import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from tests.support import CSV, SMALL, Result, Sweep, command, inside, people

from sweepgrad.config.split import Split
from sweepgrad.data.split import Parts, split_rows, units_of
from sweepgrad.runs import ledger
from sweepgrad.selection import seals
from sweepgrad.selection.evaluate import evaluate
from sweepgrad.selection.score_card import baselines
from sweepgrad.tracking.mapping import BUNDLE, Logged
from sweepgrad.tracking.store import Store
from sweepgrad.training.bundle import Bundle

SEEDS = (11, 12, 13)
OVERRIDES = (
    *CSV,
    "data.group=person",
    "train.epochs=4",
    "optimizer.lr=0.02",
    "model=wide,linear",
    "seed=1,2",
)


@dataclass(frozen=True)
class Evaluated:
    """A sweep over three splits that was evaluated twice."""

    folder: Path
    first: Result
    second: Result

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/runs/mlflow.db", "sweepgrad")

    @property
    def said(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.first.out)
        return values

    @property
    def page(self) -> Path:
        return self.folder / "runs" / "evaluations" / str(self.said["sweep"])


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluated")
    people(300, seed=1).to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        assert command("train", "-m", *OVERRIDES, f"split.seed={','.join(map(str, SEEDS))}").code == 0
        return Evaluated(folder, command("evaluate", "--json"), command("evaluate", "--json"))


def rows_of(table: pd.DataFrame, **split: Any) -> tuple[pd.DataFrame, np.ndarray, Parts]:
    """Return features, labels and parts of the table, read independently of the package."""
    y = (table["left"] == "yes").to_numpy().astype(float)
    config = Split(train=0.6, val=0.2, test=0.2, stratify=True, **split)
    parts = split_rows(y, units_of(table, (("person",),)), config)
    return table.drop(columns=["left", "person"]), y, parts


def by_hand(
    runs: list[Logged], store: Store, table: pd.DataFrame, folder: Path, **split: Any
) -> dict[str, Any]:
    """Choose by the plain mean over all runs of an architecture, then the best seed on the first fold."""
    X, y, parts = rows_of(table, **split)
    by_hidden: dict[str, list[Logged]] = {}
    for run in runs:
        by_hidden.setdefault(run.params["model.hidden"], []).append(run)
    means = {
        hidden: np.mean([run.metrics["best/val/accuracy"] for run in same])
        for hidden, same in by_hidden.items()
    }
    assert len(set(means.values())) == len(means), "a draw shows nothing: take another seed"
    best = by_hidden[max(means, key=lambda hidden: means[hidden])]
    first = [run for run in best if run.params["split.fold"] in ("null", "0")]
    chosen = max(first, key=lambda run: (run.metrics["best/val/accuracy"], -run.metrics["best/val/nll"]))

    def accuracy(run: Logged) -> float:
        bundle = Bundle.load(store.download(run, BUNDLE, folder / run.run_id))
        said = bundle.predict(X.iloc[parts.test])["prediction"] == "yes"
        return float(accuracy_score(y[parts.test], said))

    for run in best:
        (folder / run.run_id).mkdir()
    return {
        "run_id": chosen.run_id,
        "mean": max(means.values()),
        "test": accuracy(chosen),
        "test_mean": np.mean([accuracy(run) for run in best]),
        "majority": max(np.mean(y[parts.test]), 1 - np.mean(y[parts.test])),
        "n": len(parts.test),
    }


def assert_judged(split: dict[str, Any], expected: dict[str, Any]) -> None:
    assert split["run_id"] == expected["run_id"]
    assert split["mean"] == pytest.approx(expected["mean"], rel=1e-12)
    assert split["test"]["accuracy"] == pytest.approx(expected["test"], rel=1e-12)
    assert split["test_mean"] == pytest.approx(expected["test_mean"], rel=1e-12)
    assert split["baselines"]["majority"]["accuracy"] == pytest.approx(expected["majority"], rel=1e-12)
    assert split["test"]["n"] == expected["n"]


def test_each_split_is_chosen_from_and_judged_as_by_hand(done, tmp_path):
    assert done.first.code == 0, done.first.err
    table = pd.read_csv(done.folder / "people.csv")
    children = done.store.children(done.store.sweep(None))
    assert [split["split"] for split in done.said["splits"]] == [f"split.seed={seed}" for seed in SEEDS]
    for seed, split in zip(SEEDS, done.said["splits"], strict=True):
        runs = [run for run in children if run.params["split.seed"] == str(seed)]
        assert len(runs) == 4
        assert_judged(split, by_hand(runs, done.store, table, tmp_path, seed=seed))


def test_nested_cross_validation_is_chosen_from_and_judged_as_by_hand(folder, tmp_path):
    people(300, seed=1).to_csv("people.csv", index=False)
    nested = ("split.outer_fold=range(5)", "split.folds=2", "split.fold=range(2)")
    assert command("train", "-m", *OVERRIDES[:-1], "train.epochs=2", *nested).code == 0
    result = command("evaluate", "--json")
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert said["outer_folds"] == 5
    assert [split["split"] for split in said["splits"]] == [f"split.outer_fold={fold}" for fold in range(5)]
    assert sum(split["test"]["n"] for split in said["splits"]) == 300
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    children, table = store.children(store.sweep(None)), pd.read_csv("people.csv")
    for fold, split in enumerate(said["splits"]):
        runs = [run for run in children if run.params["split.outer_fold"] == str(fold)]
        expected = by_hand(runs, store, table, tmp_path, seed=0, outer_fold=fold, folds=2, fold=0)
        assert_judged(split, expected)


def test_the_whole_is_the_mean_of_the_splits(done):
    said = done.said
    accuracies = [split["test"]["accuracy"] for split in said["splits"]]
    assert said["test_accuracy"]["mean"] == pytest.approx(np.mean(accuracies), rel=1e-12)
    assert said["test_accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1), rel=1e-12)
    gaps = [split["mean"] - split["test_mean"] for split in said["splits"]]
    assert said["gap"]["mean"] == pytest.approx(np.mean(gaps), abs=1e-12)
    assert said["outer_folds"] is None
    assert said["grouped"]


def test_each_test_set_is_evaluated_once(done):
    entries = ledger.read(done.folder / "runs" / ledger.LEDGER)
    assert [str(entry) for entry in entries] == [split["evaluated"] for split in done.said["splits"]]
    assert [entry.run_id for entry in entries] == [split["run_id"] for split in done.said["splits"]]
    for split, entry in zip(done.said["splits"], entries, strict=True):
        assert entry.test == split["digest"]
        assert entry in done.store.test_evaluations(entry.table)
    assert done.second.out == done.first.out
    assert "the test sets were evaluated before" in done.second.err


def test_figures_are_on_the_sweeps_own_run_and_on_no_child(done):
    store = done.store
    sweep = store.sweep(None)
    assert sweep.metrics["evaluation/test_accuracy_mean"] == done.said["test_accuracy"]["mean"]
    assert sweep.metrics["evaluation/test_accuracy_low"] == done.said["test_accuracy"]["low"]
    for child in store.children(sweep):
        assert not [name for name in child.metrics if "test" in name or "evaluation" in name]
    sent = {each.path for each in mlflow.MlflowClient(store.uri).list_artifacts(sweep.run_id)}
    assert sent == {path.name for path in done.page.iterdir()}


def test_the_page_and_the_table_say_what_was_found(done):
    page = (done.page / "evaluation.md").read_text()
    mean = done.said["test_accuracy"]
    for said in (
        f"{mean['mean']:.1%}",
        f"{mean['low']:.1%} to {mean['high']:.1%}",
        "Do not use it for tuning",
    ):
        assert said in page
    assert "had been evaluated" not in page
    with contextlib.chdir(done.folder):
        shown, table = command("evaluate"), command("evaluate", "--csv")
    assert f"Mean test accuracy over 3 splits: {mean['mean']:.1%}" in shown.out
    assert table.out.splitlines()[0].startswith("split,model.hidden,")
    assert len(table.out.splitlines()) == 4


def test_a_lost_page_comes_back_from_the_store_without_a_test_set_evaluation(done):
    kept = {path.name: path.read_bytes() for path in done.page.iterdir() if path.suffix != ".png"}
    for path in done.page.iterdir():
        path.unlink()
    with contextlib.chdir(done.folder):
        assert command("evaluate", "--json").out == done.first.out
    assert {name: (done.page / name).read_bytes() for name in kept} == kept
    assert len(ledger.read(done.folder / "runs" / ledger.LEDGER)) == len(SEEDS)


def test_splits_evaluated_before_ctrl_c_are_not_evaluated_again(folder, caplog):
    assert command("train", "-m", *SMALL, "model=wide,linear", "split.seed=range(20,23)").code == 0
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")

    def interrupt(record: logging.LogRecord) -> bool:
        if "(2 of 3 splits evaluated)" in record.getMessage():
            raise KeyboardInterrupt
        return True

    caplog.set_level("INFO", "sweepgrad")
    caplog.handler.addFilter(interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(store, None, Path("runs"))
    caplog.handler.removeFilter(interrupt)
    before = ledger.read(Path("runs", ledger.LEDGER))
    assert len(before) == 2
    result = command("evaluate", "--json")
    assert result.code == 0, result.err
    entries = ledger.read(Path("runs", ledger.LEDGER))
    assert entries[:2] == before
    assert [str(entry) for entry in entries] == [s["evaluated"] for s in json.loads(result.out)["splits"]]


def test_an_interrupted_evaluation_is_resumed_and_named(folder, monkeypatch):
    assert command("train", "-m", *SMALL, "model=wide,linear", "split.seed=20,21").code == 0
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    judge, calls = baselines, iter(range(9))

    def interrupted(*rows: Any) -> Any:
        if next(calls) == 1:  # on the second split, whose rows are read by then
            raise KeyboardInterrupt
        return judge(*rows)

    monkeypatch.setattr("sweepgrad.selection.evaluate.baselines", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(store, None, Path("runs"))
    lost = ledger.read(Path("runs", ledger.LEDGER))[1]
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", interrupt_at("splits.png"))
        with pytest.raises(KeyboardInterrupt):
            evaluate(store, None, Path("runs"))
    sweep = store.sweep(None)
    assert not [tag for tag in sweep.tags if tag in ("sweepgrad.evaluated", ledger.JUDGED)]
    result = command("evaluate", "--json")
    assert result.code == 0, result.err
    first, second = json.loads(result.out)["splits"]
    assert first["interrupted_evaluations"] == first["earlier_evaluations"] == []
    assert second["earlier_evaluations"] == []
    assert second["interrupted_evaluations"] == [str(lost)]
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 3
    assert store.sweep(None).tags["sweepgrad.evaluated"] == "2"
    page = Path("runs", "evaluations", sweep.name, "evaluation.md").read_text()
    assert f"was interrupted, and no result of it was kept ({lost})" in page


def interrupt_at(name: str) -> Any:
    send = mlflow.MlflowClient.log_artifact

    def sending(client: mlflow.MlflowClient, run_id: str, path: str) -> None:
        if path.endswith(name):
            raise KeyboardInterrupt
        send(client, run_id, path)

    return sending


@pytest.mark.parametrize(
    ("kept", "said"), [("[{", "is damaged"), ('[{"split": "a"}]', "was written by another")]
)
def test_kept_figures_that_cannot_be_read_are_named_and_not_written_over(done, kept, said):
    file = done.page / "splits.json"
    before = file.read_bytes()
    try:
        file.write_text(kept)
        with contextlib.chdir(done.folder):
            for flag in ([], ["--again"]):
                refused = command("evaluate", *flag)
                assert refused.code == 2
                assert f"splits.json {said}" in refused.err
        assert file.read_text() == kept
    finally:
        file.write_bytes(before)
    assert len(ledger.read(done.folder / "runs" / ledger.LEDGER)) == len(SEEDS)


def test_results_of_splits_that_were_changed_are_refused_and_named(done):
    file = done.page / "splits.json"
    before = file.read_bytes()
    changed = json.loads(before)
    changed[0]["test"]["accuracy"] = 0.99
    unsealed = [{k: v for k, v in split.items() if k != "checksum"} for split in changed]
    sealed = [seals.sealed(split) for split in changed]
    other = [seals.sealed({**split, "tied": 7}) for split in json.loads(before)]
    try:
        for values, problem in (
            (changed, f"splits.json, {changed[0]['split']}: was changed after it was written: its checksum"),
            (unsealed, "its checksum was removed"),
            (sealed, "splits.json has test_accuracy_mean"),
            (other, "its digest is not the one in the MLflow store"),
        ):
            file.write_text(json.dumps(values, indent=1))
            with contextlib.chdir(done.folder):
                refused = command("evaluate", "--json")
            assert (refused.code, refused.out) == (2, "")
            assert problem in refused.err
    finally:
        file.write_bytes(before)
    with contextlib.chdir(done.folder):
        assert command("evaluate", "--json").out == done.first.out


def test_a_test_set_is_evaluated_again_only_with_a_flag(folder):
    splits = ("split.seed=range(20,22)",)
    assert command("train", "-m", *SMALL, *splits).code == 0
    first = json.loads(command("evaluate", "--json").out)
    assert first["earlier_of_table"] == 0
    assert command("train", "-m", *SMALL, *splits, "model=linear").code == 0
    refused = command("evaluate")
    assert refused.code == 2
    assert "the test sets of 2 of 2 splits were evaluated before:" in refused.err
    assert f"2 times, first {first['splits'][0]['evaluated']}" in refused.err
    assert f"result: runs/evaluations/{first['sweep']}/evaluation.md" in refused.err
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 2
    again = json.loads(command("evaluate", "--again", "--json").out)
    assert [split["earlier_evaluations"] for split in again["splits"]] == [
        [split["evaluated"]] for split in first["splits"]
    ]
    assert again["earlier_of_table"] == 2
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 4
    page = Path("runs", "evaluations", again["sweep"], "evaluation.md").read_text()
    assert "The test sets of 2 of these splits had been evaluated before." in page
    # Another split of the same table has rows in common: it is not refused, and the page names it.
    assert command("train", "-m", *SMALL, "split.seed=30,31").code == 0
    assert json.loads(command("evaluate", "--json").out)["earlier_of_table"] == 4


def test_finalize_and_evaluate_know_of_one_another(folder):
    assert command("train", *SMALL).code == 0
    assert command("finalize").code == 0
    assert (
        command("train", "-m", *SMALL, "split.outer_fold=0,1").code == 0
    )  # outer fold 0 has the test set that finalize evaluated
    refused = command("evaluate")
    assert "the test sets of 1 of 2 splits were evaluated before" in refused.err
    assert "result: runs/cards/" in refused.err


def test_leaderboard_and_finalize_point_here(done):
    with contextlib.chdir(done.folder):
        refused, shown = command("finalize"), command("leaderboard")
    assert refused.code == 2
    for said in (refused, shown):
        assert "cannot be compared" in said.err
        assert "evaluate its 3 splits with sweepgrad evaluate" in said.err


def test_one_split_is_refused(sweep: Sweep):
    with contextlib.chdir(sweep.folder):
        refused = command("evaluate")
    assert refused.code == 2
    assert "has one split" in refused.err
    assert "sweepgrad finalize" in refused.err
    assert not (sweep.folder / "runs" / ledger.LEDGER).exists()


def test_splits_with_the_same_test_rows_are_refused(folder):
    assert command("train", "-m", *SMALL, "split.outer_fold=null,0").code == 0
    refused = command("evaluate")
    assert refused.code == 2
    assert "two splits have the same test rows" in refused.err
    assert not Path("runs", ledger.LEDGER).exists()


def test_a_split_without_a_finished_run_is_named_and_nothing_is_evaluated(folder):
    given = (*SMALL, "optimizer=sgd", "split.seed=20,21", "optimizer.lr=0.1,1e300")
    assert command("train", "-m", *given).code == 1
    assert "2 of 4 runs finished" in command("evaluate").err
    assert len(json.loads(command("evaluate", "--incomplete", "--json").out)["splits"]) == 2
