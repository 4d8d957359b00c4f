"""Diagnoses: empty for a healthy run, plain for a problem, and shown wherever a run is."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support import SMALL, command

from sweepgrad.compose.plan import plan
from sweepgrad.nn.network import Network
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.capture import diagnosis_of
from sweepgrad.selection.diagnosis_text import of_runs, sentence
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tracking.mapping import Logged
from sweepgrad.training.diagnosis import DIAGNOSIS, HEALTHY, verdict
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.experiment import prepare
from sweepgrad.training.layer_stats import EpochStats, LayerStats

NETWORK = Network(4, (6, 6), "relu", 0.5)
LAYERS = (LayerStats(0.3, 2e-3, 0.0), LayerStats(0.2, 1e-3, 0.1), LayerStats(0.1, 1e-3))
WELL = EpochStats(LAYERS, 0.0, {"positive": 0.4})


def diagnosed(*epochs, network=NETWORK, accuracy=0.7, best=None, positive=0.4, is_positive=0.4, roc_auc=0.8):
    figures = {"nll": 0.5, "accuracy": accuracy}
    history = [Epoch(figures, figures, stats) for stats in epochs]
    y, scores = rows(positive, is_positive, roc_auc)
    return verdict(
        BINARY,
        network,
        history,
        best or len(history),
        lr=0.01,
        steps_an_epoch=100,
        y=y,
        scores=scores,
    )


def rows(positive, is_positive, roc_auc, n=1000):
    """Return labels and log-odds of rows with these shares."""
    n_positive = round(is_positive * n)
    below = round(roc_auc * (n - n_positive))
    y = np.repeat([0.0, 1.0, 0.0], [below, n_positive, n - n_positive - below])
    return y, np.arange(float(n)) - n + round(positive * n)


def with_layer(number, **changes):
    layers = list(WELL.layers)
    layers[number - 1] = replace(layers[number - 1], **changes)
    return replace(WELL, layers=tuple(layers))


def test_what_goes_well_is_nothing_unusual_and_without_statistics_nothing_is_reported():
    assert diagnosed(WELL, WELL) == HEALTHY
    assert diagnosed(None, None) == ""


def test_a_dead_layer_is_dead_from_the_epoch_it_died_in():
    dead = with_layer(2, dead_share=1.0)
    assert diagnosed(WELL, dead, dead) == "layer 2 of 3 is dead since epoch 2"
    assert diagnosed(dead, WELL, dead, dead) == "layer 2 of 3 is dead since epoch 3"
    assert diagnosed(dead, WELL, dead, best=2) == HEALTHY  # the model that is kept is alive
    assert diagnosed(with_layer(2, dead_share=0.99)) == HEALTHY


def test_a_model_of_one_answer_is_reported_with_its_cause_or_its_circumstances():
    one = {"positive": 0.0, "accuracy": 0.6}
    dead = with_layer(2, dead_share=1.0)
    words = "predicts the majority class for every validation row, with dropout 0.5 in layers of 6, 6"
    assert diagnosed(dead, **one) == f"{words}: layer 2 of 3 is dead since epoch 1"
    assert diagnosed(WELL, **one, roc_auc=0.55) == words
    assert diagnosed(None, **one, roc_auc=0.55) == words
    assert diagnosed(None, **one).endswith(
        "rank rows (ROC AUC 0.80), but a threshold of 0.5 does not fit them"
    )
    assert diagnosed(None, positive=1.0, roc_auc=0.5).startswith("predicts the minority class for every")
    assert diagnosed(None, positive=0.01).startswith("predicts the majority class for 99.0% of the")
    assert diagnosed(None, positive=0.01, is_positive=0.02) == ""
    assert diagnosed(None, positive=0.0, is_positive=0.0) == ""  # which is right


def test_rates_gradients_and_saturation_have_their_thresholds():
    assert "is high: one step changed the weights of layer 3 of 3 by 60% of their norm" in diagnosed(
        with_layer(3, update_ratio=0.6)
    )
    assert diagnosed(with_layer(3, update_ratio=0.4)) == HEALTHY
    still = replace(WELL, layers=tuple(replace(layer, update_ratio=2e-4) for layer in WELL.layers))
    assert diagnosed(still, still).startswith(
        "the learning rate (0.01) is low: judging by the first step of each epoch, the whole training changed"
    )
    assert diagnosed(still, still, still) == HEALTHY
    assert diagnosed(with_layer(1, gradient_norm=9e-5)) == (
        "gradients vanish: the gradient norm of layer 1 is 9e-04 times that of layer 3"
    )
    assert diagnosed(with_layer(1, gradient_norm=2e-4)) == HEALTHY
    tanh = replace(NETWORK, activation="tanh")
    flat = with_layer(1, dead_share=None, saturated_share=0.7)
    assert (
        diagnosed(flat, network=tanh)
        == "layer 1 of 3 is saturated: 70% of its units' outputs are where tanh is flat"
    )
    certain = replace(WELL, output_saturated=0.9)
    assert diagnosed(certain, accuracy=0.99) == HEALTHY  # with reason
    scaled = replace(NETWORK, scale=50.0)
    assert diagnosed(certain, network=scaled) == (
        "the output saturates, with model.scale 50: probabilities are close to 0 or 1 on 90% of the training"
        " rows, but 30% of all training rows are predicted wrongly"
    )


def trained(*overrides):
    (job,) = plan(["data=simulated", "data.rows=600", "train.diagnose=true", *overrides], multirun=False).jobs
    experiment = prepare(job.config)
    *_, fit = experiment.fits()
    return diagnosis_of(experiment, fit, experiment.val_scores(fit))


@pytest.mark.parametrize("engine", ["engine.dtype=float64", "engine.dtype=float32"])
@pytest.mark.parametrize("model", ["wide", "middle", "deep", "linear"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "adam"])
def test_bundled_configurations_have_nothing_unusual(model, optimizer, engine):
    assert trained(f"model={model}", f"optimizer={optimizer}", engine) == HEALTHY


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ("model=middle optimizer.lr=0.5", "is high: one step changed"),
        ("model=middle optimizer=sgd optimizer.lr=30", "is dead since epoch 1"),
        ("model=wide optimizer.lr=1e-7", "is low"),
        (
            "model=deep model.hidden=[8,8,8,8,8,8,8,8] model.activation=sigmoid optimizer=sgd",
            "gradients vanish",
        ),
        ("model=wide model.activation=tanh optimizer.lr=1", "is saturated"),
        ("model=linear model.scale=100 optimizer=sgd", "the output saturates, with model.scale 100"),
    ],
)
def test_constructed_problems_are_named(overrides, problem):
    for seed in (1, 2):
        assert problem in trained(*overrides.split(), f"seed={seed}")


def logged(text):
    return Logged("id", "name", "FINISHED", 0, {}, {}, {DIAGNOSIS: text} if text else {})


def test_runs_of_one_configuration_are_reported_together():
    assert of_runs([logged(""), logged("")]) == ""
    assert of_runs([logged(HEALTHY), logged(HEALTHY)]) == HEALTHY
    assert of_runs([logged("ill")]) == "ill"
    assert of_runs([logged(HEALTHY), logged("ill"), logged("worse")]) == "2 of 3 runs: ill"
    assert sentence(logged("ill")) == "Diagnosis of its training: ill."
    assert sentence(logged("")) == ""


UNHEALTHY = ("model=middle", "optimizer=sgd", "optimizer.lr=30", "seed=1,2")


def test_a_diagnosis_goes_into_the_record_mlflow_the_leaderboard_and_the_card(folder):
    assert command("train", "-m", *SMALL, *UNHEALTHY, "train.diagnose=true").code == 0
    (path, _) = sorted(folder.glob("runs/sweeps/*/*/record.json"))
    record = records.read(path.parent)
    assert "is dead since epoch 1" in record.diagnosis
    assert all(epoch.stats for epoch in record.history)
    folders.write(folder / "again", record)
    assert records.read(folder / "again").history == record.history
    table, listed = command("leaderboard").out, json.loads(command("leaderboard", "--json").out)
    assert "diagnosis" in table
    assert listed["entries"][0]["diagnosis"].startswith("2 of 2 runs: predicts the ")
    (row,) = csv.DictReader(command("leaderboard", "--csv").out.splitlines())
    assert row["diagnosis"] == listed["entries"][0]["diagnosis"]
    assert command("finalize").code == 0
    (card,) = folder.glob("runs/cards/*/card.md")
    assert "Diagnosis of its training: predicts the " in card.read_text()


def test_a_run_that_was_not_diagnosed_has_no_statistics_and_is_not_reused(folder):
    well = ("model=wide", "train.epochs=30")
    assert command("train", "-m", *SMALL, *well).code == 0
    (path,) = folder.glob("runs/sweeps/*/*/record.json")
    assert "gradient_norm" not in path.read_text()
    assert "diagnosis" not in command("leaderboard").out
    assert json.loads(command("leaderboard", "--json").out)["entries"][0]["diagnosis"] == ""
    again = command("train", "-m", *SMALL, *well, "train.diagnose=true")
    assert "had been trained before" not in again.err
    assert HEALTHY in command("leaderboard").out
