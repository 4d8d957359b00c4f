"""Choose by validation, evaluate the test set once, and write a card whose figures are right."""

import contextlib
import getpass
import json
import shutil
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, roc_auc_score
from tests.support import CSV, Result, Sweep, command, inside, load_model, people

from sweepgrad.bounded import reading
from sweepgrad.compose.plan import plan
from sweepgrad.data.leakage.check import ColumnCheck
from sweepgrad.data.leakage.columns import COLUMN_CHECKS
from sweepgrad.data.split import split_rows, units_of
from sweepgrad.files import digest
from sweepgrad.runs import ledger
from sweepgrad.runs import record as records
from sweepgrad.selection import seals
from sweepgrad.selection.card import Calibrated, Card, Decisions, Scores
from sweepgrad.selection.card_markdown import markdown
from sweepgrad.selection.finalize import finalize
from sweepgrad.selection.ranking import comparable
from sweepgrad.tasks.wording import p_value_text
from sweepgrad.tracking.mapping import BUNDLE, Logged
from sweepgrad.tracking.store import Store
from sweepgrad.training.bundle import Bundle

OVERRIDES = (*CSV, "data.group=person", "train.epochs=4", "optimizer.lr=0.02")


@dataclass(frozen=True)
class Finalized:
    """A sweep over people.csv that was finalized three times, the last time with --again."""

    folder: Path
    uri: str
    first: Result
    second: Result
    third: Result

    @property
    def card(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.first.out)
        return values

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.uri, self.uri)


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store) -> Finalized:
    folder = tmp_path_factory.mktemp("finalized")
    people(300, seed=1).to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        assert command("train", "-m", *OVERRIDES, "model=wide,middle", "seed=1,2,3").code == 0
        results = (command("finalize", "--json", *again) for again in ([], [], ["--again"]))
        return Finalized(folder, f"sqlite:///{folder}/runs/mlflow.db", *results)


@pytest.fixture(scope="module")
def rows(done) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Raw rows and labels of each part, by the test's own reading of the file."""
    table = pd.read_csv(done.folder / "people.csv")
    (job,) = plan(OVERRIDES, multirun=False).jobs
    y = (table["left"] == "yes").to_numpy().astype(float)
    parts = split_rows(y, units_of(table, (("person",),)), job.config.split)
    features = table.drop(columns=["left", "person"])
    return {
        part: (features.iloc[getattr(parts, part)], y[getattr(parts, part)])
        for part in ("train", "val", "test")
    }


def digests(store: Store) -> dict[str, str]:
    """Return the digests of the rows of the latest sweep."""
    tags = store.children(store.sweep(None))[0].tags
    return {part: tags[f"sweepgrad.digest.{part}"] for part in ("table", "train", "val", "test")}


def load(done: Finalized, address: str) -> Any:
    return load_model(done.uri, address)


def model(store: Store, run: Logged, folder: Path) -> Bundle:
    (folder / run.run_id).mkdir()
    return Bundle.load(store.download(run, BUNDLE, folder / run.run_id))


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the interval of Wilson (1927) at 95 %."""
    z, p = 1.959963984540054, right / n
    middle, half = (p + z * z / (2 * n)), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def assert_scores(said: dict[str, Any], y: np.ndarray, p: np.ndarray) -> None:
    assert said["n"] == len(y)
    assert said["accuracy"] == pytest.approx(accuracy_score(y, p >= 0.5), rel=1e-12)
    assert said["accuracy_ci"] == pytest.approx(wilson(int(np.sum((p >= 0.5) == y)), len(y)), rel=1e-9)
    assert said["nll"] == pytest.approx(log_loss(y, p), rel=1e-9)
    assert said["roc_auc"] == pytest.approx(roc_auc_score(y, p), rel=1e-12)


def test_the_registered_model_has_the_figures_of_the_card(done, rows):
    model = load(done, "models:/sweepgrad-people@chosen")
    for part, name in (("val", "validation"), ("test", "test")):
        X, y = rows[part]
        assert_scores(done.card[name], y, model.predict(X)["probability"].to_numpy())
    X, y = rows["test"]
    p = model.predict(X)["probability"].to_numpy()
    (tn, fp), (fn, tp) = confusion_matrix(y, p >= 0.5)
    expected = {"true_positive": tp, "false_positive": fp, "true_negative": tn, "false_negative": fn}
    assert done.card["confusion"] == expected


def test_the_yardsticks_are_on_the_same_rows(done, rows):
    (X_train, y_train), (X_test, y_test) = rows["train"], rows["test"]
    assert_scores(done.card["baselines"]["majority"], y_test, np.full(len(y_test), y_train.mean()))

    def prepared(X: pd.DataFrame) -> np.ndarray:
        columns = [(X["age"] - X_train["age"].mean()) / X_train["age"].std(ddof=0)]
        columns.append(((X["income"] - X_train["income"].mean()) / X_train["income"].std(ddof=0)).fillna(0))
        columns.append(X["income"].isna())
        columns += [X["town"] == town for town in sorted(X_train["town"].unique())]
        columns += [X["member"] == value for value in (False, True)]
        return np.column_stack(columns).astype(float)

    logistic = LogisticRegression(max_iter=1000).fit(prepared(X_train), y_train)
    said = done.card["baselines"]["logistic"]
    p = logistic.predict_proba(prepared(X_test))[:, 1]
    assert said["accuracy"] == pytest.approx(accuracy_score(y_test, p >= 0.5), abs=1e-12)
    assert said["nll"] == pytest.approx(log_loss(y_test, p), rel=1e-3)


def test_the_card_says_all_that_was_promised(done):
    card = done.card
    assert {"sweep", "run_id", "n_candidates", "model", "validation", "test", "baselines"} <= card.keys()
    for scores in (card["validation"], card["test"], *card["baselines"].values()):
        assert {"accuracy", "accuracy_ci", "nll", "roc_auc"} <= scores.keys()
    promised = {
        "layers",
        "dropout",
        "scale",
        "learning_rate",
        "n_parameters",
        "activation",
        "optimizer",
        "seed",
    }
    assert promised <= card["model"].keys()
    assert card["n_candidates"] == 6
    assert card["n_configurations"] == 2
    assert card["model"]["learning_rate"] == 0.02
    layers = card["model"]["layers"]
    parameters = sum((a + 1) * b for a, b in pairwise(layers))
    assert card["model"]["n_parameters"] == parameters
    assert layers[-1] == 1
    assert card["verdict"]


def test_the_files_of_the_card_are_kept_and_sent(done):
    card = done.card
    folder = done.folder / "runs" / "cards" / card["sweep"]
    assert {path.name for path in folder.iterdir()} == {"card.md", "card.json", "calibration.png"}
    kept = json.loads((folder / "card.json").read_text())
    assert kept["test"] == card["test"]
    page = (folder / "card.md").read_text()
    for word in ("→", f"({card['model']['n_parameters']} parameters)", "dropout", "scale", "learning rate"):
        assert word in page
    for word in (f"{card['test']['accuracy']:.1%}", "95 % interval", "ROC AUC", "NLL", "calibration.png"):
        assert word in page
    for word in ("logistic regression", "majority class", card["run_id"], card["verdict"]):
        assert word in page
    parent = Store(done.uri, "sweepgrad").sweep(None)
    sent = {artifact.path for artifact in done.client.list_artifacts(parent.run_id)}
    assert sent == {"card.md", "card.json", "calibration.png"}


def test_what_was_judged_is_shown_again_with_its_test_rows_closed(done):
    assert done.second.code == 0
    assert done.second.out == done.first.out
    assert f"the test set was evaluated before, on {done.card['evaluated']}" in done.second.err


def test_every_test_set_evaluation_is_named(done):
    assert done.card["earlier_evaluations"] == []
    third = json.loads(done.third.out)
    assert third["earlier_evaluations"] == [done.card["evaluated"]]
    assert third["test"] == done.card["test"]
    page = (done.folder / "runs" / "cards" / done.card["sweep"] / "card.md").read_text()
    assert f"evaluated once before** ({done.card['evaluated']})" in page
    store = Store(done.uri, "sweepgrad")
    found = store.test_evaluations(digests(store)["table"])
    assert [str(entry) for entry in found] == [done.card["evaluated"], third["evaluated"]]
    for entry in found:
        assert entry.run_id == done.card["run_id"]
        assert entry.sweep == done.card["sweep"]
        assert entry.user == getpass.getuser()
    tags = store.sweep(None).tags
    assert {value for key, value in tags.items() if key.startswith("sweepgrad.test_evaluated.")} == {
        done.card["evaluated"],
        third["evaluated"],
    }
    assert ledger.read(done.folder / "runs" / ledger.LEDGER) == found


def test_a_test_set_is_evaluated_again_only_with_a_flag(folder):
    data = ("data=simulated", "data.rows=200", "train.epochs=1")
    assert command("train", "-m", *data, "seed=1,2").code == 0
    assert json.loads(command("finalize", "--json").out)["earlier_evaluations"] == []
    assert command("train", "-m", *data, "seed=3,4").code == 0
    refused = command("finalize")
    assert refused.code == 2
    assert "the test set of simulated was evaluated once before" in refused.err
    assert "--again" in refused.err
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 1
    assert len(json.loads(command("finalize", "--again", "--json").out)["earlier_evaluations"]) == 1
    assert command("train", *data, "split.seed=1").code == 0
    assert json.loads(command("finalize", "--json").out)["earlier_evaluations"] == []


@pytest.mark.parametrize("lost", ["runs/mlflow.db", "runs/test_evaluations.jsonl"])
def test_an_evaluation_is_known_though_the_store_or_the_ledger_is_lost(folder, empty_store, lost):
    data = ("data=simulated", "data.rows=200", "train.epochs=1")
    assert command("train", *data).code == 0
    assert command("finalize").code == 0
    Path(lost).unlink()
    if lost.endswith(".db"):
        for more in ("-wal", "-shm"):
            Path(f"{lost}{more}").unlink(missing_ok=True)
        shutil.copy(empty_store, lost)
    assert command("train", *data, "seed=7").code == 0
    assert "was evaluated once before" in command("finalize").err


def test_an_evaluation_by_another_experiment_of_the_store_is_known_without_the_ledger(folder):
    data = ("data=simulated", "data.rows=200", "train.epochs=1")
    assert command("train", *data).code == 0
    assert command("finalize").code == 0
    Path("runs", ledger.LEDGER).unlink()
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    store._client.delete_experiment(store.experiment_id)
    assert command("train", *data, "seed=7", "tracking.experiment=other").code == 0
    assert "was evaluated once before" in command("finalize", "--experiment", "other").err
    assert command("train", *data, "split.seed=1", "tracking.experiment=other").code == 0
    result = command("finalize", "--experiment", "other", "--json")
    assert json.loads(result.out)["earlier_of_table"] == 1
    (page,) = Path("runs", "cards").glob(f"{json.loads(result.out)['sweep']}/card.md")
    assert "test rows of this table had been evaluated once, counting every split" in page.read_text()


def test_what_is_interrupted_costs_no_second_opening(folder, monkeypatch):
    """Before the rows are read; while they are judged; and while the card is sent."""
    assert command("train", "data=simulated", "data.rows=200", "train.epochs=1").code == 0
    store, file = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad"), Path("runs", ledger.LEDGER)
    with monkeypatch.context() as patch:
        patch.setattr("sweepgrad.tracking.models.register", raising(OSError(28, "No space left on device")))
        refused = command("finalize")
    assert "No space left" in refused.err
    assert ledger.read(file) == store.test_evaluations(digests(store)["table"]) == []
    for place in ("sweepgrad.selection.score_card.card", "sweepgrad.tracking.entities.metric"):
        with monkeypatch.context() as patch:
            patch.setattr(place, raising(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                finalize(store, None, Path("runs"))
        assert "sweepgrad.chosen_run" not in store.sweep(None).tags
    lost, kept = ledger.read(file)
    result = command("finalize", "--json")
    assert result.code == 0, result.err
    assert "this is the card of that evaluation" in result.err
    card = json.loads(result.out)
    assert (card["evaluated"], card["interrupted_evaluations"], card["earlier_evaluations"]) == (
        str(kept),
        [str(lost)],
        [],
    )
    assert store.sweep(None).metrics["test/accuracy"] == card["test"]["accuracy"]
    page = Path("runs", "cards", card["sweep"], "card.md").read_text()
    assert (
        f"earlier evaluation of the same model was interrupted, and no result of it was kept ({lost})" in page
    )
    assert len(ledger.read(file)) == 2


def raising(error: BaseException) -> Any:
    def instead(*_: Any, **__: Any) -> None:
        raise error

    return instead


def test_a_card_that_was_changed_is_refused_and_named(folder):
    assert command("train", "data=simulated", "data.rows=200", "train.epochs=1").code == 0
    result = command("finalize", "--json")
    card = json.loads(result.out)
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    run_id = store.sweep(None).run_id
    (there,) = Path("runs").resolve().glob("mlartifacts/**/card.json")
    here = Path("runs", "cards", card["sweep"], "card.json").resolve()
    written = here.read_bytes()
    changed = json.loads(written)
    changed["test"]["accuracy"] = 0.999
    unsealed = {name: value for name, value in changed.items() if name != "checksum"}
    later = {**unsealed, "evaluated": "9" + unsealed["evaluated"]}
    unread = {**changed, "decisions": 3}

    def refused(problem: str, name: str) -> None:
        again = command("finalize", "--json")
        assert (again.code, again.out) == (2, ""), again
        assert problem in again.err
        assert name in again.err
        assert "0.999" not in json.dumps(store.sweep(None).metrics)

    for values, problem in (
        (changed, "its checksum does not match"),
        (later, "its checksum was removed"),
        (unread, "its checksum does not match"),
        (unsealed, "has accuracy 0.999, and metric test/accuracy"),
        (seals.sealed(changed), "has accuracy 0.999, and metric test/accuracy"),
        (
            seals.sealed({**json.loads(written), "temperature": 9.0}),
            "its digest is not the one in the MLflow",
        ),
    ):
        here.write_text(json.dumps(values, indent=1))
        refused(problem, str(here.relative_to(folder)))
    here.unlink()
    there.write_text(json.dumps(changed))
    refused("its checksum does not match", f"card.json of {card['sweep']} in MLflow")
    assert not here.exists()
    there.write_bytes(written)
    assert command("finalize", "--json").out == result.out  # it is restored from the store
    assert here.read_bytes() == written
    store._client.delete_tag(run_id, "sweepgrad.card_digest")  # as if sent by an older version
    unsealed["test"]["accuracy"] = card["test"]["accuracy"]
    here.write_text(json.dumps(unsealed))
    assert command("finalize", "--json").out == result.out
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 1


def test_a_card_of_another_version_is_shown_and_the_rows_stay_closed(folder):
    assert command("train", "data=simulated", "data.rows=200", "train.epochs=1").code == 0
    card = json.loads(command("finalize", "--json").out)
    store, file = (
        Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad"),
        Path("runs", "cards", card["sweep"]),
    )
    del card["decisions"]
    (file / "card.json").write_text(json.dumps(card))
    run_id = store.sweep(None).run_id
    store._client.log_artifact(run_id, str(file / "card.json"))
    store._client.set_tag(run_id, "sweepgrad.card_digest", digest(file / "card.json"))
    shown, data = command("finalize"), command("finalize", "--json")
    assert "another version of sweepgrad evaluated the test set" in shown.err
    assert shown.out == (file / "card.md").read_text()
    assert json.loads(data.out) == card
    with (file / "card.md").open("r+b") as page:
        page.truncate(reading.RESULTS.size + 1)
    store._client.log_artifact(run_id, str(file / "card.md"))
    assert "at most 33554432 are read" in command("finalize").err
    (file / "card.json").write_text("{")
    assert "card.json is damaged" in command("finalize").err
    assert len(ledger.read(Path("runs", ledger.LEDGER))) == 1


def test_a_damaged_ledger_is_named(folder):
    assert command("train", "data=simulated", "data.rows=200", "train.epochs=1").code == 0
    Path("runs", ledger.LEDGER).write_text('{"id": "1"\n')
    refused = command("finalize")
    assert refused.code == 2
    assert "test_evaluations.jsonl, line 1: this record of a test-set evaluation is damaged" in refused.err


def test_a_sweep_that_did_not_finish_is_refused_unless_asked_for(folder):
    given = ("data=simulated", "data.rows=200", "train.epochs=1", "optimizer=sgd", "seed=1,2")
    assert command("train", "-m", *given, "optimizer.lr=0.1,1e300").code == 1
    refused = command("finalize")
    assert refused.code == 2
    assert "2 of 4 runs finished" in refused.err
    assert not Path("runs", "cards").exists()
    result = command("finalize", "--incomplete", "--json")
    assert result.code == 0
    assert json.loads(result.out)["n_unfinished"] == 2


def test_test_figures_are_on_the_parent_and_on_no_child(done):
    store = Store(done.uri, "sweepgrad")
    parent = store.sweep(None)
    assert parent.metrics["test/accuracy"] == done.card["test"]["accuracy"]
    assert parent.metrics["test/nll"] == done.card["test"]["nll"]
    for child in store.children(parent):
        assert not [name for name in child.metrics if "test" in name]


def test_the_model_is_registered_once(done):
    (version,) = done.client.search_model_versions("name = 'sweepgrad-people'")
    # With its temperature it is no longer the run's own model, so it is kept with the sweep.
    assert version.run_id == Store(done.uri, "sweepgrad").sweep(None).run_id
    chosen = done.client.get_model_version_by_alias("sweepgrad-people", "chosen")
    assert chosen.version == version.version


def test_the_choice_is_by_validation_although_another_does_better_on_test(done, rows, tmp_path):
    X, y = rows["test"]
    store = Store(done.uri, "sweepgrad")
    children = store.children(store.sweep(None))
    on_test = {
        run.run_id: accuracy_score(
            y,
            Bundle.load(store.download(run, BUNDLE, tmp_path / run.run_id)).predict(X)["prediction"] == "yes",
        )
        for run in children
    }
    chosen = done.card["run_id"]
    assert max(on_test.values()) > on_test[chosen], "the example shows nothing: take another seed"
    means: dict[str, list[float]] = {}
    for run in children:
        means.setdefault(run.params["model.hidden"], []).append(run.metrics["best/val/accuracy"])
    best = max(means, key=lambda hidden: np.mean(means[hidden]))
    assert json.loads(best) == done.card["model"]["hidden"]
    among = [run for run in children if run.params["model.hidden"] == best]
    assert chosen in {run.run_id for run in among if run.metrics["best/val/accuracy"] == max(means[best])}


def test_a_table_that_has_changed_is_refused(done):
    with contextlib.chdir(done.folder):
        before = Path("people.csv").read_text()
        store = Store(done.uri, "sweepgrad")
        evaluations = store.test_evaluations(digests(store)["table"])
        try:
            Path("people.csv").write_text(before.replace("Ulm", "Ulmx"))
            result = command("finalize")
        finally:
            Path("people.csv").write_text(before)
        assert result.code == 2
        assert "people.csv" in result.err
        assert "changed" in result.err
        assert store.test_evaluations(digests(store)["table"]) == evaluations


def test_a_table_that_is_gone_is_refused(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("finalize", "--uri", done.uri)
    assert result.code == 2
    assert "people.csv" in result.err


def test_runs_on_different_splits_are_refused(folder):
    result = command("train", "-m", "data=simulated", "data.rows=200", "train.epochs=1", "split.seed=0,1")
    assert result.code == 0
    refused = command("finalize")
    assert refused.code == 2
    assert "different tables or splits" in refused.err
    assert not Path("runs", "cards").exists()
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    assert store.test_evaluations(digests(store)["table"]) == []


def test_a_sweep_over_folds_is_finalized(folder):
    """Choose the configuration by its mean over all pairs, and the best seed of the first fold."""
    given = ("data=simulated", "data.rows=300", "data.noise=0.2", "data.seed=1", "train.epochs=2")
    grid = ("model=wide,linear", "seed=0,1", "split.folds=3", "split.fold=range(3)")
    assert command("train", "-m", *given, *grid).code == 0
    result = command("finalize", "--json")
    assert result.code == 0, result.err
    card = json.loads(result.out)
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    runs = {run.run_id: run for run in store.children(store.sweep(None))}
    frame = pd.DataFrame(
        {
            "hidden": [run.params["model.hidden"] for run in runs.values()],
            "fold": [run.params["split.fold"] for run in runs.values()],
            "accuracy": [run.metrics["best/val/accuracy"] for run in runs.values()],
            "nll": [run.metrics["best/val/nll"] for run in runs.values()],
        },
        index=list(runs),
    )
    assert frame.groupby("hidden")["fold"].value_counts().tolist() == [2] * 6
    means = frame.groupby("hidden")["accuracy"].mean()
    assert card["model"]["hidden"] == json.loads(str(means.idxmax()))
    assert card["model"]["mean_validation_accuracy"] == pytest.approx(means.max(), rel=1e-12)
    own = frame[frame["hidden"] == means.idxmax()]
    first = own[own["fold"] == "0"]
    assert own["accuracy"].max() > first["accuracy"].max(), "the example shows nothing: take another seed"
    assert card["run_id"] == first.sort_values(["accuracy", "nll"], ascending=[False, True]).index[0]
    assert (card["n_candidates"], card["n_configurations"], card["model"]["seeds"]) == (12, 2, 2)
    assert (card["data"]["fold"], card["data"]["folds"]) == (0, 3)
    # 300 rows: 60 for the test, whatever the fold, and a third of the others for validation.
    assert (card["data"]["n_train"], card["data"]["n_val"], card["data"]["n_test"]) == (160, 80, 60)
    assert card["validation"]["accuracy"] == pytest.approx(frame.loc[card["run_id"], "accuracy"], abs=1e-12)
    page = Path("runs", "cards", card["sweep"], "card.md").read_text()
    assert (
        "The run is on fold 0 (counted from 0) of 3: validation scores are for the 80 rows of that fold"
        in page
    )
    assert "Of its 6 runs, the model is that of the best of 2 seeds on the first fold" in page
    assert "chosen model, validation (fold 0 of 3)" in page
    # The same rows without a fold: they were evaluated before.
    assert command("train", *given).code == 0
    assert len(json.loads(command("finalize", "--json", "--again").out)["earlier_evaluations"]) == 1


def test_means_over_different_folds_are_not_chosen_among(folder):
    given = ("data=simulated", "data.rows=200", "train.epochs=1", "split.folds=3", "optimizer=sgd")
    assert command("train", "-m", *given, "split.fold=range(3)", "optimizer.lr=0.1,0.2").code == 0
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    lost = {("0.1", "0"), ("0.2", "2")}
    for run in store.children(store.sweep(None)):
        if (run.params["optimizer.lr"], run.params["split.fold"]) in lost:
            mlflow.MlflowClient(store.uri).set_terminated(run.run_id, "KILLED")
    refused = command("finalize", "--incomplete")
    assert refused.code == 2
    assert "no configuration finished on every fold" in refused.err
    assert store.test_evaluations(digests(store)["table"]) == []
    assert "means over different folds are of different rows" in command("leaderboard").out


def test_folds_of_different_numbers_are_refused(folder):
    given = ("data=simulated", "data.rows=200", "train.epochs=1")
    assert command("train", "-m", *given, "split.folds=3,4", "split.fold=0").code == 0
    assert "different tables or splits" in command("finalize").err
    assert "cannot be compared" in command("leaderboard").err


def test_runs_on_one_split_are_not(sweep: Sweep):
    store = Store(sweep.uri, "sweepgrad")
    assert comparable(store.children(store.sweep(None)))


def test_a_single_run_can_be_finalized(folder):
    assert command("train", "data=simulated", "data.rows=200", "train.epochs=2").code == 0
    result = command("finalize", "--json")
    card = json.loads(result.out)
    assert (card["n_candidates"], card["n_configurations"]) == (1, 1)
    assert records.read(next(Path("runs", "single").iterdir())).status == "FINISHED"


# The verdict


def scores(accuracy: float, n: int = 400) -> Scores:
    found = {"accuracy": accuracy, "nll": 0.5, "roc_auc": 0.7}
    return Scores(n, found, "accuracy", wilson(round(accuracy * n), n))


AT_HALF = {"accuracy": 0.75, "accuracy_at_half": 0.75, "f1": 0.75, "share": 0.5}


@pytest.fixture
def card() -> Card:
    return Card(
        sweep="mine",
        run_id="r1",
        n_candidates=6,
        n_configurations=2,
        model={
            "layers": [14, 9, 1], "activation": "relu", "dropout": 0.5, "scale": 1.0, "optimizer": "adam",
            "learning_rate": 0.01, "batch_size": 32, "epochs": 30, "best_epoch": 20, "seed": 1,
            "n_parameters": 145, "runs": 3, "seeds": 3, "mean_validation_accuracy": 0.76,
        },
        choice={
            "rule": "best", "metric": "accuracy", "best_settings": {"model.hidden": "[9]"},
            "settings": {"model.hidden": "[9]"}, "best_mean": 0.76, "mean": 0.76,
            "best_standard_error": 0.02, "compared": 2, "tied": [], "optimism": 0.004, "ensemble": "",
        },
        data={
            "name": "csv", "source": "people.csv", "target": "left", "positive": "yes", "negative": "no",
            "grouped": True, "n_train": 1200, "n_val": 400, "n_test": 400, "n_test_units": 300, "digest": "0",
            "fold": None, "folds": None,
        },
        validation=scores(0.77),
        test=scores(0.75),
        baselines={"majority": scores(0.55), "logistic": scores(0.65)},
        p_values={"majority": 1e-9, "logistic": 0.001},
        n_unfinished=0,
        registered="sweepgrad-people/1",
        confusion={"true_positive": 150, "false_positive": 50, "true_negative": 150, "false_negative": 50},
        members=({"run_id": "r1", "layers": [14, 9, 1]},),
        n_ensembles=0,
        decisions=Decisions("half", None, None, 0.5, None, AT_HALF, AT_HALF, None),
        temperature=1.25,
        calibration={"validation": Calibrated(0.06, 0.03, 0.04), "test": Calibrated(0.05, 0.02, 0.04)},
        notices=(),
        evaluated="2026-01-01T00:00:00+00:00 by ann on here, for run r1 of mine",
        earlier_evaluations=(),
    )  # fmt: skip


def test_a_card_comes_back_from_json_of_this_version_and_of_the_first(card):
    written = json.loads(json.dumps(card.to_json()))
    assert Card.from_json(written) == card
    assert written["test"] == {"n": 400, "accuracy": 0.75, "nll": 0.5, "roc_auc": 0.7, "accuracy_ci": ANY}
    first = {key: value for key, value in written.items() if key not in ("task", "interrupted_evaluations")}
    first["opening"], first["earlier_openings"] = first.pop("evaluated"), first.pop("earlier_evaluations")
    first["decisions"]["flattery"] = first["decisions"].pop("optimism")
    first["choice"]["flattery"] = first["choice"].pop("optimism")
    assert Card.from_json(first) == card
    del written["registered"]
    with pytest.raises(ValueError, match="registered"):
        Card.from_json(written)


def test_no_better_than_the_majority_is_not_deployed(card):
    verdict = replace(card, p_values={"majority": 0.3, "logistic": 0.5}).verdict
    assert verdict.startswith("Not good enough to deploy")
    assert "55.0%" in verdict
    assert "Logistic" not in verdict


def test_worse_than_the_majority_is_not_deployed_however_surely(card):
    verdict = replace(card, baselines={**card.baselines, "majority": scores(0.9)}).verdict
    assert verdict.startswith("Not good enough to deploy")


def test_where_logistic_regression_wins_it_is_said_of_a_poor_model_too(card):
    baselines = {**card.baselines, "logistic": scores(0.85)}
    better = "Logistic regression is better (85.0%): deploy that instead."
    assert better in replace(card, baselines=baselines).verdict
    assert better in replace(card, baselines=baselines, p_values={"majority": 0.3, "logistic": 0.001}).verdict


def test_what_it_is_good_for_is_said(card):
    assert "20.0 points more than that of always predicting the majority class" in card.verdict
    assert "Better than logistic regression (65.0%, p = 0.001)." in card.verdict
    assert "one prediction in 4 is wrong" in card.verdict
    assert "in 70% of pairs" in card.verdict


def test_no_better_than_logistic_regression_is_said(card):
    p_values = {**card.p_values, "logistic": 0.4}
    less = "Logistic regression reaches 65.0%, 10.0 points less; the difference is not significant (p = 0.40)"
    assert less in replace(card, p_values=p_values).verdict
    baselines = {**card.baselines, "logistic": scores(0.787)}
    more = "Logistic regression reaches 78.7%, 3.7 points more; the difference is not significant (p = 0.40)"
    assert more in replace(card, p_values=p_values, baselines=baselines).verdict


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0504, "p = 0.050"),
        (0.0996, "p = 0.10"),
        (1.0, "p = 1.00"),
    ],
)
def test_a_p_value_has_three_digits_where_they_matter(p, text):
    assert p_value_text(p) == text


def test_calibration_is_judged_against_chance(card):
    assert "No miscalibration was detected" in card.verdict
    verdict = replace(card, calibration={"test": Calibrated(0.3, 0.2, 0.04)}).verdict
    assert "off by 20.0% on average, more than chance explains (4.0%)" in verdict


def test_a_threshold_by_costs_is_judged_by_them(card):
    worse_at_half = {**AT_HALF, "accuracy": 0.5, "cost": 0.4, "cost_of_one_answer": 0.6}
    by_costs = Decisions("cost", 1.0, 5.0, 1 / 6, None, worse_at_half, worse_at_half, 0.001)
    dear = replace(card, decisions=by_costs, test=scores(0.5))
    assert dear.verdict.startswith("Worth deploying for these costs: its mistakes cost 0.400 per test row")
    page = markdown(dear)
    assert "a probability of at least 0.1667" in page
    assert "With a threshold of 0.5, accuracy would be 75.0% instead of 50.0%." in page
    unsure = replace(dear, decisions=replace(by_costs, p_value=0.3))
    assert unsure.verdict.startswith("Not good enough to deploy")


def test_the_page_has_calibration_before_and_after_and_what_is_to_be_told(card):
    page = markdown(replace(card, notices=("every validation row is predicted left = no",)))
    assert "| test | 0.050 | 0.020 | 0.040 |" in page
    assert "divided by a temperature of 1.250, which moves probabilities towards one half" in page
    assert "**Every validation row is predicted left = no.**" in page


def test_the_page_warns_of_rows_split_at_random(card):
    assert "All rows of a group are in the same set." in markdown(card)
    page = markdown(replace(card, data={**card.data, "grouped": False}))
    assert "the scores are optimistically biased" in page
    assert "[14" not in page
    assert "fold" not in page


def test_the_page_says_of_which_fold_its_figures_are(card):
    of = replace(card, data={**card.data, "fold": 2, "folds": 5})
    said = "The run is on fold 2 (counted from 0) of 5: validation scores are for the 400 rows of that fold"
    page = markdown(of)
    assert said in page
    assert "the model is that of the best of 3 seeds on the first fold" in page
    assert "The test accuracy is 1.0 points below the mean validation accuracy" in page
    one = markdown(replace(of, model={**card.model, "runs": 1, "seeds": 1}))
    assert "On the validation rows, the best is significantly better than the other one (95 % level)." in one
    assert said in markdown(replace(of, n_candidates=1))
    assert "14 → 9 → 1" in page
    assert "6 models (2 configurations)" in page
    assert ": the first evaluation." in page


def test_columns_that_a_check_objects_to_no_longer_are_told_before_test_rows_are_read(folder, monkeypatch):
    people().to_csv("people.csv", index=False)
    with monkeypatch.context() as patch:
        check = ColumnCheck(lambda feature: "unfit" if feature.name == "age" else None, refuse=False)
        patch.setitem(COLUMN_CHECKS._entries, "age", check)
        assert command("train", *CSV, "data.drop=[person]", "train.epochs=1").code == 0
    refused = command("finalize")
    assert refused.code == 2
    assert "trained on other columns than a run would be now (age)" in refused.err
    assert not Path("runs", ledger.LEDGER).exists()
