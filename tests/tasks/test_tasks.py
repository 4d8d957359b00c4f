"""A second task trains and ranks through the same code, and a new metric is reported and selected by."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.support import command

from sweepgrad import engine
from sweepgrad.config import metrics as names
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Adam
from sweepgrad.selection.ranking import rank
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.registry import TASKS, add_metric
from sweepgrad.tracking.mapping import Logged
from sweepgrad.training.dataset import Examples
from sweepgrad.training.loop import evaluated, fit

ADAM = Adam(0.02, 0.9, 0.999, 1e-8)


def squares(y, scores, scale):
    off = scores * scale - y
    return off * off, off


def above(y, scores, scale):
    return {"above": (scores * scale - y).step()}


NUMBER = replace(
    BINARY,
    name="number",
    check=lambda y: None,
    losses=squares,
    counts=above,
    counted=("above",),
    watched=(),
    figures=lambda loss, counts: {"mse": loss, "share_above": counts["above"]},
    saturated=lambda scores: (scores * 0).mean(),
    output_problem=lambda share, figures, scale: "",
    one_answer=lambda y, scores: ("", ""),
    by_epoch=("mse", "share_above"),
    default="mse",
)


def numbers(n: int, seed: int) -> Examples:
    """Make a column that depends on two others, with noise of standard deviation 0.1."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, 2))
    return Examples(X, 3 * X[:, 0] - X[:, 1] + 5 + 0.1 * draw.normal(size=n))


def trained(train, val, network, **settings):
    *_, last = fit(network, ADAM, train, val, batch_size=16, task=NUMBER, **settings)
    return last


@pytest.mark.parametrize("name", ["native", "numpy"])
def test_a_task_of_a_number_column_trains_through_the_same_steps(name):
    train, val = numbers(200, 0), numbers(100, 1)
    network = Network(2, (6,), "tanh", scale=2.0)
    replay = engine.load(name, np.float64)
    last = trained(train, val, network, epochs=60, seed=1, engine=replay, diagnose=True)
    first, best = last.history[0], last.best
    assert list(best.val) == ["mse", "share_above"]
    assert best.val_loss < 0.1 * first.val_loss
    assert best.val_loss < 0.2 * np.var(val.y)
    off = network.scaled_scores(last.weights, val.X) - val.y
    assert_allclose(best.val_loss, np.mean(off**2), rtol=1e-12)
    assert best.val["share_above"] == np.mean(off > 0)
    assert best.val_loss == min(epoch.val["mse"] for epoch in last.history)
    assert evaluated(network, last.weights, val, replay, NUMBER) == best.val
    assert best.stats is not None
    assert best.stats.output == {}


def test_engines_agree_on_another_task():
    train, val = numbers(60, 2), numbers(40, 3)
    found = []
    for name in ("native", "numpy"):
        replay = engine.load(name, np.float64)
        last = trained(train, val, Network(2, (4,), "relu"), epochs=5, seed=3, engine=replay)
        found.append([epoch.val_loss for epoch in last.history])
    assert_allclose(found[0], found[1], rtol=1e-9)


def test_targets_that_are_not_of_the_task_are_refused():
    rows = numbers(20, 0)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        next(fit(Network(2, (3,)), ADAM, rows, rows, epochs=1, batch_size=5, seed=0))


@pytest.fixture
def registered(monkeypatch):
    """Register metrics and tasks for one test."""
    monkeypatch.setattr("sweepgrad.config.metrics.NAMES", known := list(names.NAMES))
    monkeypatch.setattr("sweepgrad.tasks.registry.NAMES", known)
    before = dict(METRICS)
    yield lambda metric: add_metric(metric)
    METRICS.clear()
    METRICS.update(before)


def squared_error(y, scores, _):
    return float(np.mean((scores - y) ** 2))


def test_its_metric_ranks_the_lowest_first(registered, monkeypatch):
    monkeypatch.setitem(TASKS, "number", NUMBER)
    registered(
        Metric(
            "mse",
            title="mean squared error",
            heading="MSE",
            abbreviation="MSE",
            sign=-1,
            value=squared_error,
            contributions=lambda y, scores: -((scores - y) ** 2),
            tasks=("number",),
        )
    )

    def run(number: int, value: float) -> Logged:
        params = {"seed": "0", "n_parameters": "9", "optimizer.lr": str(number)}
        return Logged(f"r{number}", f"run {number}", "FINISHED", 0, params, {"best/val/mse": value}, {})

    entries = rank([run(number, value) for number, value in enumerate((3.0, 1.0, 2.0))], "mse")
    assert [entry.metrics["mse"].mean for entry in entries] == [1.0, 2.0, 3.0]
    assert [entry.settings["optimizer.lr"] for entry in entries] == ["1", "2", "0"]
    assert list(NUMBER.metrics) == ["mse"]
    assert "mse" not in BINARY.metrics


def brier(y, scores):
    return -((1 / (1 + np.exp(-scores)) - y) ** 2)


BRIER = Metric(
    "brier",
    title="Brier score",
    heading="Brier",
    abbreviation="Brier",
    sign=-1,
    value=lambda y, scores, _: -float(np.mean(brier(y, scores))),
    contributions=brier,
)


def test_a_further_metric_is_reported_ranked_by_and_on_the_card(registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = ("train", "-m", "data=simulated", "data.rows=200", "train.epochs=2", "engine.name=numpy")
    assert "'brier' should be one of accuracy, nll, roc_auc" in command(*sweep, "select.metric=brier").err
    registered(BRIER)
    done = command(*sweep, "select.metric=brier", "optimizer.lr=0.0001,0.05", "seed=1,2")
    assert done.code == 0, done.err
    board = json.loads(command("leaderboard", "--json").out)
    assert board["metric"] == "brier"
    means = [entry["val/brier"] for entry in board["entries"]]
    assert len(means) == 2
    assert means == sorted(means)
    assert "val Brier" in command("leaderboard").out
    card = json.loads(command("finalize", "--json").out)
    assert card["choice"]["metric"] == "brier"
    assert card["choice"]["best_mean"] == means[0]
    assert 0 < card["test"]["brier"] < 0.5
    page = next(Path("runs", "cards").glob("*/card.md")).read_text()
    assert "| | accuracy | 95 % interval | NLL | ROC AUC | Brier | rows |" in page


def test_runs_that_lack_the_metric_are_not_ranked_by_it(registered):
    registered(BRIER)
    older = Logged("r1", "run", "FINISHED", 0, {"seed": "0", "n_parameters": "9"}, {"best/val/nll": 0.5}, {})
    with pytest.raises(Exception, match="run r1 does not report best/val/brier"):
        rank([older], "brier")


def test_a_metric_is_registered_once_and_for_a_task_that_is_there(registered):
    with pytest.raises(ValueError, match="'accuracy' is registered already"):
        registered(replace(BRIER, name="accuracy"))
    with pytest.raises(ValueError, match="unknown task ordinal"):
        registered(replace(BRIER, tasks=("ordinal",)))


def test_names_in_the_configuration_are_those_of_the_registry():
    assert list(METRICS) == names.NAMES
    for task in TASKS.values():
        assert {*task.by_epoch, task.default, task.ranking, *task.when_rare} <= set(task.metrics)


@pytest.mark.parametrize("name", list(METRICS))
def test_contributions_add_up_to_the_metric(name):
    draw = np.random.default_rng(5)
    y, scores = draw.integers(0, 2, 200).astype(float), draw.normal(size=200)
    metric = METRICS[name]
    assert_allclose(
        metric.sign * metric.contributions(y, scores).mean(), metric.value(y, scores, 0.5), rtol=1e-12
    )
