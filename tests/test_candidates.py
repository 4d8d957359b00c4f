"""Choosing by the validation rows: what is declared is what is done, and the leaderboard says how surely."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support import command

from sweepgrad.candidates import compare, configuration
from sweepgrad.data.pace import silent
from sweepgrad.ranking import rank
from sweepgrad.tracking import Store

DATA = ("data=simulated", "data.rows=400", "data.noise=0.2", "train.epochs=10", "optimizer.lr=0.02")
GRID = ("model.hidden=[4],[16],[64]", "seed=1,2")


def trained(*overrides: str) -> list[dict[str, Any]]:
    """The leaderboard of a sweep that is trained here."""
    result = command("train", "-m", *DATA, *GRID, *overrides)
    assert result.code == 0, result.err
    listed = command("leaderboard", "--json")
    assert listed.err == ""
    entries: list[dict[str, Any]] = json.loads(listed.out)["entries"]
    return entries


def test_the_smallest_within_one_standard_error_is_taken_where_that_was_declared(folder):
    entries = pd.DataFrame(trained("select.rule=one_standard_error", "select.metric=nll"))
    best = entries.iloc[0]
    assert best["val/nll"] == entries["val/nll"].min()
    assert np.allclose(entries["by_rows/behind_leader"], entries["val/nll"] - best["val/nll"], atol=1e-12)
    within = entries[entries["by_rows/behind_leader"] <= best["by_rows/se"]]
    expected = within.loc[within["n_parameters"].idxmin()]
    assert len(within) > 1, "the example shows nothing: take another one"
    assert best["n_parameters"] > expected["n_parameters"], "the example shows nothing: take another one"
    assert entries.loc[entries["chosen"], "n_parameters"].tolist() == [expected["n_parameters"]]
    card = json.loads(command("finalize", "--json").out)
    assert card["model"]["n_parameters"] == expected["n_parameters"]
    assert (card["choice"]["rule"], card["choice"]["metric"]) == ("one_standard_error", "nll")
    page = Path("runs", "cards", card["sweep"], "card.md").read_text()
    assert "The smallest configuration within one standard error" in page
    assert "tied with the best" in page
    assert "on average (a bootstrap over validation rows" in page


def test_the_best_by_the_declared_metric_is_taken(folder):
    entries = trained("select.metric=roc_auc")
    assert entries[0]["val/roc_auc"] == max(entry["val/roc_auc"] for entry in entries)
    assert entries[0]["chosen"]
    assert json.loads(command("leaderboard", "--json").out)["metric"] == "roc_auc"
    card = json.loads(command("finalize", "--json").out)
    assert card["model"]["n_parameters"] == entries[0]["n_parameters"]
    assert card["choice"]["mean"] == entries[0]["val/roc_auc"]


def test_rows_of_folds_count_as_the_means_over_folds_do(folder):
    entries = trained("split.folds=3", "split.fold=range(3)", "data.rows=401")
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    runs = store.children(store.sweep(None))
    select = configuration(store, runs[0]).select
    _, choice = compare(store, rank(runs, select.metric), select, silent)
    for entry, standing in zip(entries, choice.standings, strict=True):
        assert standing.mean == pytest.approx(entry["val/accuracy"], abs=1e-12)
        assert entry["by_rows/low"] < entry["val/accuracy"] < entry["by_rows/high"]


def test_the_table_shows_who_is_tied_and_what_would_be_taken(folder):
    entries = trained()
    out = command("leaderboard").out
    assert "→ 1" in out
    assert "± " in out
    assert ("yes" in out) == any(entry["tied"] for entry in entries)
    assert "tied: not told apart from the leader" in out


def test_without_the_table_runs_are_ranked_by_what_was_logged(tmp_path, folder):
    pd.DataFrame({"x": np.arange(200) % 7 / 3, "y": np.arange(200) % 2}).to_csv("t.csv", index=False)
    given = ("data=csv", "data.path=t.csv", "data.target=y", "data.positive=1", "data.keep=[x]")
    assert command("train", "-m", *given, "train.epochs=1", "seed=1,2").code == 0
    Path("t.csv").unlink()
    result = command("leaderboard", "--json")
    assert result.code == 0
    assert "without intervals over the validation rows" in result.err
    assert "t.csv" in result.err
    (entry,) = json.loads(result.out)["entries"]
    assert entry["by_rows/se"] is None
