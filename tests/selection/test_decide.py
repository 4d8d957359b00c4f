"""Threshold and temperature are chosen on validation rows, and the registered model uses them."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, f1_score, log_loss
from tests.support import CSV, command, inside, load_model, people

from sweepgrad.compose.plan import plan
from sweepgrad.data.split import split_rows, units_of
from sweepgrad.runs import ledger
from sweepgrad.stats.standard_errors import summary
from sweepgrad.tracking.mapping import BUNDLE
from sweepgrad.tracking.store import Store
from sweepgrad.training.bundle import Bundle

OVERRIDES = (*CSV, "data.group=person", "train.epochs=6", "optimizer.lr=0.03", "engine.name=numpy")
DECIDING = ("select.metric=nll", "select.ensemble=seeds", "select.threshold=f1")
GRID = ("model.hidden=[3],[6]", "seed=1,2,3")


@dataclass(frozen=True)
class Decided:
    """A sweep over people.csv, its leaderboard and its card."""

    folder: Path
    uri: str
    board: dict[str, Any]
    card: dict[str, Any]


@pytest.fixture(scope="module")
def decided(tmp_path_factory, empty_store) -> Decided:
    folder = tmp_path_factory.mktemp("decided")
    people(300, seed=2).to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        assert command("train", "-m", *OVERRIDES, *GRID, *DECIDING).code == 0
        board = json.loads(command("leaderboard", "--json").out)
        done = command("finalize", "--json")
        assert done.code == 0, done.err
    return Decided(folder, f"sqlite:///{folder}/runs/mlflow.db", board, json.loads(done.out))


@pytest.fixture(scope="module")
def rows(decided) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Raw rows and labels, by the test's own reading of the file."""
    table = pd.read_csv(decided.folder / "people.csv")
    parts = parts_of(table)
    y = (table["left"] == "yes").to_numpy().astype(float)
    return {part: (table.iloc[getattr(parts, part)], y[getattr(parts, part)]) for part in ("val", "test")}


def parts_of(table: pd.DataFrame) -> Any:
    (job,) = plan(OVERRIDES, multirun=False).jobs
    y = (table["left"] == "yes").to_numpy().astype(float)
    return split_rows(y, units_of(table, (("person",),)), job.config.split)


def log_odds(decided: Decided, runs: list[str], frame: pd.DataFrame, into: Path) -> np.ndarray:
    """Return the mean of the scores of each run's own model."""
    store = Store(decided.uri, "sweepgrad")
    by_id = {run.run_id: run for run in store.children(store.sweep(None))}
    each = []
    for run in runs:
        (into / run).mkdir(exist_ok=True)
        p = Bundle.load(store.download(by_id[run], BUNDLE, into / run)).probabilities(frame)
        each.append(np.log(p / (1 - p)))
    return np.asarray(np.mean(each, axis=0))


def test_ensembles_stand_in_the_leaderboard_as_plain_averages(decided, rows, tmp_path):
    entries = decided.board["entries"]
    assert [entry["ensemble"] for entry in entries].count("3 seeds") == 2
    assert [entry["rank"] for entry in entries] == [1, 2, 3, 4]
    X, y = rows["val"]
    for entry in entries:
        if entry["ensemble"]:
            z = log_odds(decided, entry["run_ids"], X, tmp_path)
            assert entry["val/nll"] == pytest.approx(log_loss(y, 1 / (1 + np.exp(-z))), rel=1e-9)
            assert entry["val/accuracy"] == pytest.approx(accuracy_score(y, z >= 0), rel=1e-12)
            (single,) = (
                other
                for other in entries
                if not other["ensemble"] and other["model.hidden"] == entry["model.hidden"]
            )
            assert entry["n_parameters"] == 3 * single["n_parameters"]
            assert entry["val/nll"] <= single["val/nll"]  # Jensen's inequality
    # Errors of the ensembles are those of rows, and of seeds left out.
    assert all(entry["by_rows/se"] > 0 for entry in entries)


def test_errors_of_an_average_are_the_jackknifes_over_its_seeds(decided, rows, tmp_path):
    """Tukey's pseudo-values, S times the whole less S - 1 times that without a seed, centred on the whole."""
    X, y = rows["val"]
    units = units_of(X, (("person",),))
    for entry in decided.board["entries"]:
        if not entry["ensemble"]:
            continue
        runs = entry["run_ids"]

        def contribution(of: list[str]) -> np.ndarray:
            return np.asarray(-np.logaddexp(0, (1 - 2 * y) * log_odds(decided, of, X, tmp_path)))

        whole = contribution(runs)
        without = np.array([contribution([other for other in runs if other != run]) for run in runs])
        pseudo = len(runs) * whole - (len(runs) - 1) * without
        (error,), _ = summary([pseudo - pseudo.mean(axis=0) + whole], units).errors()
        assert entry["by_rows/se"] == pytest.approx(error, rel=1e-6)


def test_the_temperature_is_that_of_the_plain_loss_on_validation_rows(decided, rows, tmp_path):
    card, decision = decided.card, decided.board["decision"]
    runs = [member["run_id"] for member in card["members"]]
    assert len(runs) == 3, "the example shows nothing: take another seed"
    assert decision["run_ids"] == runs
    assert decision["temperature"] == card["temperature"]
    assert decision["threshold"] == card["decisions"]["threshold"]
    X, y = rows["val"]
    z = log_odds(decided, runs, X, tmp_path)
    best = minimize_scalar(
        lambda scale: float(np.mean(np.logaddexp(0, (1 - 2 * y) * scale * z))),
        bounds=(0.01, 100),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert 1 / card["temperature"] == pytest.approx(best.x, rel=1e-4)
    assert card["validation"]["nll"] == pytest.approx(best.fun, rel=1e-9)


def test_the_registered_model_answers_as_the_card_says(decided, rows):
    model, card = load_model(decided.uri, "models:/sweepgrad-people@chosen"), decided.card
    for part, name in (("val", "validation"), ("test", "test")):
        X, y = rows[part]
        said = model.predict(X)
        p, taken = said["probability"].to_numpy(), said["prediction"].to_numpy() == "yes"
        assert card[name]["nll"] == pytest.approx(log_loss(y, p), rel=1e-9)
        assert card[name]["accuracy"] == accuracy_score(y, taken)
        assert card["decisions"][name]["f1"] == pytest.approx(f1_score(y, taken), rel=1e-12)
        assert card["decisions"][name]["accuracy_at_half"] == accuracy_score(y, p >= 0.5)
        assert np.array_equal(taken, p >= card["decisions"]["threshold"])
    X, y = rows["val"]
    p = model.predict(X)["probability"].to_numpy()
    assert card["decisions"]["validation"]["f1"] == pytest.approx(
        max(f1_score(y, p >= t) for t in np.unique(p)), rel=1e-12
    )


def test_what_was_judged_is_recorded_with_the_sweep_and_shown_again(decided):
    (version,) = Store(decided.uri, "sweepgrad")._client.search_model_versions("name = 'sweepgrad-people'")
    (entry,) = ledger.read(decided.folder / "runs" / ledger.LEDGER)
    assert version.run_id == entry.run_id == decided.card["run_id"] == decided.board["sweep_id"]
    page = (decided.folder / "runs" / "cards" / decided.card["sweep"] / "card.md").read_text()
    assert "An ensemble of 3 networks" in page
    assert "and 2 ensembles of them of sweep" in page
    with contextlib.chdir(decided.folder):
        again = command("finalize", "--json")
    assert "the test set was evaluated before" in again.err
    assert json.loads(again.out) == decided.card


def test_test_rows_have_no_say_in_what_is_decided(decided, folder):
    table = people(300, seed=2)
    test = parts_of(table).test
    table.loc[test, "age"] = 1e6
    table.loc[test, "town"] = "Elsewhere"
    table.to_csv("people.csv", index=False)
    assert command("train", "-m", *OVERRIDES, *GRID, *DECIDING).code == 0
    board = json.loads(command("leaderboard", "--json").out)
    for key in ("temperature", "threshold"):
        assert board["decision"][key] == decided.board["decision"][key]
    for one, other in zip(board["entries"], decided.board["entries"], strict=True):
        del one["run_ids"], other["run_ids"]
        assert one == other


def test_the_best_averaged_are_of_one_fold_when_judged_on_it(folder):
    data = ("data=simulated", "data.rows=300", "data.noise=0.2", "train.epochs=15")
    grid = ("model.hidden=[4],[8],[16]", "seed=1,2", "split.folds=2", "split.fold=0,1")
    how = ("optimizer.lr=0.03", "engine.name=numpy")
    deciding = ("select.ensemble={kind: best, size: 2}", "select.metric=nll", "select.threshold=prevalence")
    assert command("train", "-m", *data, *how, *grid, *deciding).code == 0
    entries = json.loads(command("leaderboard", "--json").out)["entries"]
    (average,) = (entry for entry in entries if entry["ensemble"])
    best = [entry for entry in entries if not entry["ensemble"]][:2]
    assert average["ensemble"] == "2 best"
    assert sorted(average["run_ids"]) == sorted(best[0]["run_ids"] + best[1]["run_ids"])
    card = json.loads(command("finalize", "--json").out)
    assert average["chosen"], "the example shows nothing: take another one"
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    fold = {run.run_id: run.params["split.fold"] for run in store.children(store.sweep(None))}
    assert [fold[member["run_id"]] for member in card["members"]] == ["0"] * 4
    assert abs(card["decisions"]["validation"]["share"] - 0.5) < 0.05
