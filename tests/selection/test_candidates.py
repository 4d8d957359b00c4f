"""Choosing by the validation rows: what is declared is what is done, and the leaderboard says how surely."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support import command

from sweepgrad.data.access import Tables
from sweepgrad.selection.candidates import compare
from sweepgrad.selection.evidence import Evidence
from sweepgrad.selection.ranking import rank
from sweepgrad.tracking.store import Store

DATA = ("data=simulated", "data.rows=400", "data.noise=0.2", "train.epochs=10", "optimizer.lr=0.02")
GRID = ("model.hidden=[4],[16],[64]", "seed=1,2")


def trained(*overrides: str) -> list[dict[str, Any]]:
    """Train a sweep and return its leaderboard."""
    result = command("train", "-m", *DATA, *GRID, *overrides)
    assert result.code == 0, result.err
    listed = command("leaderboard", "--json")
    assert "without intervals" not in listed.err
    entries: list[dict[str, Any]] = json.loads(listed.out)["entries"]
    return entries


def test_the_smallest_within_one_standard_error_is_taken_where_that_was_declared(folder):
    entries = pd.DataFrame(trained("select.rule=one_standard_error", "select.metric=nll"))
    best = entries.iloc[0]
    assert best["val/nll"] == entries["val/nll"].min()
    assert np.allclose(entries["by_rows/behind_leader"], entries["val/nll"] - best["val/nll"], atol=1e-12)
    within = entries[entries["by_rows/behind_leader"] <= best["by_rows/se"]]
    expected = within.loc[within["n_parameters"].idxmin()]
    assert len(within) > 1, "the example shows nothing: choose another one"
    assert best["n_parameters"] > expected["n_parameters"], "the example shows nothing: choose another one"
    assert entries.loc[entries["chosen"], "n_parameters"].tolist() == [expected["n_parameters"]]
    card = json.loads(command("finalize", "--json").out)
    assert card["model"]["n_parameters"] == expected["n_parameters"]
    assert (card["choice"]["rule"], card["choice"]["metric"]) == ("one_standard_error", "nll")
    page = Path("runs", "cards", card["sweep"], "card.md").read_text()
    assert "The smallest configuration within one standard error" in page
    assert "tied with the best" in page
    assert "on average (bootstrap over validation rows" in page


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
    evidence = Evidence(store, Tables())
    select = evidence.config(runs[0]).select
    _, choice = compare(evidence, rank(runs, select.metric), select)
    for entry, standing in zip(entries, choice.standings, strict=True):
        assert standing.mean == pytest.approx(entry["val/accuracy"], abs=1e-12)
        assert entry["by_rows/low"] < entry["val/accuracy"] < entry["by_rows/high"]


def test_the_table_shows_who_is_tied_and_what_would_be_taken(folder):
    entries = trained()
    out = command("leaderboard").out
    assert "→ 1" in out
    assert "± " in out
    assert ("yes" in out) == any(entry["tied"] for entry in entries)
    assert "tied: not significantly different from the leader" in out


def test_without_the_table_runs_are_ranked_by_what_was_logged(tmp_path, folder):
    pd.DataFrame({"x": np.arange(200) % 7 / 3, "y": np.arange(200) % 2}).to_csv("t.csv", index=False)
    given = ("data=csv", "data.path=t.csv", "data.target=y", "data.positive=1", "data.keep=[x]")
    assert command("train", "-m", *given, "train.epochs=1", "seed=1,2").code == 0
    Path("t.csv").unlink()
    result = command("leaderboard", "--json")
    assert result.code == 0
    assert "no intervals over the validation rows" in result.err
    assert "t.csv" in result.err
    (entry,) = json.loads(result.out)["entries"]
    assert entry["by_rows/se"] is None


def test_validation_rows_of_one_group_are_ranked_and_not_chosen_from(folder):
    """Rank, but do not choose, if all validation rows are of one site, since sites may differ."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"site": np.repeat([1, 2, 3], 60), "x": draw.normal(size=180)})
    frame["y"] = (frame["x"] + draw.normal(size=180) > 0).astype(int)
    frame.to_csv("sites.csv", index=False)
    data = ("data=csv", "data.path=sites.csv", "data.target=y", "data.group=site")
    shares = ("split.train=0.34", "split.val=0.33", "split.test=0.33")
    assert command("train", "-m", *data, *shares, "model=linear", "train.epochs=2", "seed=1,2").code == 0
    ranked, refused = command("leaderboard", "--json"), command("finalize")
    assert ranked.code == 0
    assert "all validation rows are in one group" in ranked.err
    assert refused.code == 2
    assert "all validation rows are in one group" in refused.err
    assert not Path("runs/test_evaluations.jsonl").exists()


def test_what_lacks_runs_that_others_have_is_not_compared(folder):
    """Remove a run of the best configuration: it ranks last, without a standing, and is not chosen."""
    leader, *others = trained()
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    store._client.set_terminated(leader["run_ids"][0], "KILLED")
    *compared, last = json.loads(command("leaderboard", "--json").out)["entries"]
    assert last["model.hidden"] == leader["model.hidden"]
    assert (last["by_rows/se"], bool(last["chosen"])) == (None, False)
    assert [entry["by_rows/se"] is None for entry in compared] == [False] * len(others)


def test_without_a_seed_on_every_fold_nothing_is_chosen(folder):
    sweep = ("model=linear", "split.folds=2", "split.fold=range(2)", "seed=1,2", "train.epochs=2")
    assert command("train", "-m", *DATA[:3], *sweep).code == 0
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    for run in store.children(store.sweep(None)):
        if (run.params["seed"], run.params["split.fold"]) in (("1", "1"), ("2", "0")):
            store._client.set_terminated(run.run_id, "KILLED")
    ranked, refused = command("leaderboard", "--json"), command("finalize", "--incomplete")
    assert ranked.code == 0
    assert json.loads(ranked.out)["entries"][0]["chosen"] is None
    assert refused.code == 2
    assert "no seed has a run on every fold" in refused.err
