"""Layer statistics against plain NumPy; recording them changes nothing else."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from tests.engine.support import DTYPES, ENGINES
from tests.training.test_steps import backpropagate, dropout_masks, is_matrix, split, update_by_hand

from sweepgrad import rng
from sweepgrad.engine.tape import DType
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.rng import key, normal
from sweepgrad.tasks.binary import BINARY
from sweepgrad.training.layer_stats import PROBED, EpochStats, Examination, LayerStats
from sweepgrad.training.loop import Examples, fit

N, D = 45, 4
X = normal(key(0, "X"), (N, D))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(float)
OPTIMIZERS = [SGD(0.1), Momentum(0.05, 0.9), Adagrad(0.1, 1e-8), Adam(0.02, 0.9, 0.999, 1e-8)]
NETWORKS = [
    Network(D, (), None, scale=2.0),
    Network(D, (6, 3), "relu", 0.5),
    Network(D, (5,), "tanh", 0.2, scale=3.0),
    Network(D, (4, 4), "sigmoid"),
]

each_engine = pytest.mark.parametrize("replay", ENGINES.values(), ids=ENGINES)


def run(network, optimizer, dtype: DType = np.float64, batch_size=8, **more):
    train = Examples(X.astype(dtype), Y.astype(dtype))
    return list(
        fit(network, optimizer, train, train, epochs=3, batch_size=batch_size, seed=1, diagnose=True, **more)
    )


@each_engine
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_looking_changes_no_bit(optimizer, dtype, replay):
    for network in NETWORKS[:2]:  # the linear one shares most with an optimizer
        for more in ({}, {"clip": 0.1, "weight_decay": 0.2}, {"batch_size": N}):
            settings: dict[str, Any] = {"batch_size": 8, **more}
            train = Examples(X.astype(dtype), Y.astype(dtype))
            plain, looked = (
                list(
                    fit(
                        network,
                        optimizer,
                        train,
                        train,
                        epochs=2,
                        seed=1,
                        diagnose=diagnose,
                        engine=replay,
                        **settings,
                    )
                )[-1]
                for diagnose in (False, True)
            )
            assert plain.history == tuple(replace(epoch, stats=None) for epoch in looked.history)
            assert all(epoch.stats for epoch in looked.history)
            for one, other in zip(plain.weights, looked.weights, strict=True):
                assert_array_equal(one, other)


@each_engine
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_norms_and_ratios_are_those_of_the_first_step_by_hand(network, optimizer, replay, monkeypatch):
    from tests.training import test_steps

    from sweepgrad.training.steps import Update

    monkeypatch.setattr(test_steps, "MASKS", key(1, "dropout"))
    w = np.concatenate([part.reshape(-1) for part in network.initial(1)])
    rows = rng.permutation(key(1, "order", 1), N)[:8]
    g = backpropagate(w, network, X[rows], Y[rows], dropout_masks(network, 8, 1))
    update = Update(optimizer, 0.3, 0.05)
    new = update_by_hand(update, w, g, {}, optimizer.lr, 1, is_matrix(network))
    (first, *_) = run(network, optimizer, weight_decay=0.3, clip=0.05, engine=replay)
    assert first.history[0].stats is not None
    found = first.history[0].stats.layers
    for layer, parts in zip(
        found, zip(*(split(v, network) for v in (g, new - w, w)), strict=True), strict=True
    ):
        gradient, moved, before = (np.sqrt(sum((part**2).sum() for part in both)) for both in parts)
        assert_allclose(layer.gradient_norm, gradient, rtol=1e-9)
        assert_allclose(layer.update_ratio, moved / before, rtol=1e-6)


def layers_of(network, weights, x):
    """Return the outputs of each layer, (N, width), computed with NumPy."""
    function: dict[str, Any] = {"relu": lambda a: np.maximum(a, 0), "tanh": np.tanh, "sigmoid": expit}
    found = []
    for number, (W, b) in enumerate(weights):
        x = x @ W + b
        x = function[network.activation](x) if number < len(weights) - 1 else x
        found.append(x)
    return found


@each_engine
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_dead_and_saturated_are_what_numpy_counts(activation, dtype, replay):
    network = Network(D, (9, 7), activation, 0.5, scale=8.0)
    weights = np.concatenate([part.reshape(-1) for part in network.initial(2)]) * 4
    weights[D * 9 : D * 9 + 3] -= 60  # three units that no row reaches
    x = normal(key(3, "rows"), (100, D)).astype(dtype)
    stats = Examination(network, x, replay, BINARY).stats(
        weights.astype(dtype), np.ones(9), {"positive": 0.03}
    )
    *hidden, scores = layers_of(network, split(weights, network), x.astype(float))
    p = expit(8 * scores)
    assert_allclose(stats.output_saturated, np.mean(p * (1 - p) < 1e-3), atol=0.011)
    for layer, h in zip(stats.layers, hidden, strict=False):
        if activation == "relu":
            assert layer.dead_share is not None
            assert_allclose(layer.dead_share, np.mean((h == 0).all(axis=0)), atol=1e-6)
            assert layer.saturated_share is None
        else:
            slope = 1 - h * h if activation == "tanh" else 4 * h * (1 - h)
            assert layer.saturated_share is not None
            assert_allclose(layer.saturated_share, np.mean(slope < 0.01), atol=0.003)
            assert layer.dead_share is None
    assert (stats.layers[0].dead_share or stats.layers[0].saturated_share or 0) >= 3 / 9 - 1e-6
    assert stats.output["positive"] == 0.03


@each_engine
def test_a_dead_layer_is_whole_and_a_living_one_is_none(replay):
    """Exactly, whatever the width: no rounding of shares may hide it."""
    for width in (3, 5, 6, 7, 49):
        network = Network(D, (width,), "relu")
        for bias, share in ((-1e6, 1.0), (1e6, 0.0)):
            w = np.concatenate([part.reshape(-1) for part in network.initial(2)])
            w[D * width : D * width + width] = bias
            for dtype in DTYPES:
                looked = Examination(network, X.astype(dtype), replay, BINARY).stats(
                    w.astype(dtype), np.ones(6), {"positive": 0.0}
                )
                assert looked.layers[0].dead_share == share


def test_rows_that_are_looked_at_are_spread_over_all():
    """Only the last of many rows is reached by the unit: one that looks at the first ones misses it."""
    x = np.zeros((10 * PROBED, 1))
    x[9 * PROBED :] = 1.0
    network = Network(1, (1,), "relu")
    stats = Examination(network, x, ENGINES["machine"], BINARY).stats(
        np.array([1.0, -0.5, 1, 0]), np.ones(6), {"positive": 0.5}
    )
    assert stats.layers[0].dead_share == 0


@each_engine
def test_the_share_taken_for_positive_is_that_of_the_weights(replay):
    for network in NETWORKS:
        last = run(network, SGD(0.1), engine=replay)[-1]
        stats = last.history[last.best_epoch - 1].stats
        assert stats is not None
        assert_allclose(
            stats.output["positive"], np.mean(network.probabilities(last.weights, X) >= 0.5), rtol=1e-12
        )


def test_they_survive_json_and_are_never_infinite():
    """Squares of these gradients are too large for float32."""
    (*_, last) = run(Network(D, (3,), "tanh", scale=1e21), SGD(1e-30), np.float32)
    for epoch in last.history:
        assert epoch.stats is not None
        text = json.dumps(epoch.stats.to_json(), allow_nan=False)
        assert EpochStats.from_json(json.loads(text)) == epoch.stats


def test_a_share_that_is_too_large_for_its_type_is_the_largest_number():
    """Take weights with a norm below 1, so that the largest number divided by it is infinite."""
    network, train = Network(D, (), None), Examples(X, Y)
    seed = next(seed for seed in range(100) if np.linalg.norm(network.initial(seed)[0]) < 1)
    training = fit(network, SGD(1e160), train, train, epochs=1, batch_size=N, seed=seed, diagnose=True)
    stats = next(training).history[0].stats
    assert stats is not None
    assert stats.layers[0].update_ratio == np.finfo(np.float64).max
    assert EpochStats.from_json(json.loads(json.dumps(stats.to_json(), allow_nan=False))) == stats


def test_metrics_are_named_by_layer():
    stats = EpochStats((LayerStats(1.0, 0.1, dead_share=0.5), LayerStats(2.0, 0.2)), 0.25, {"positive": 0.1})
    assert stats.metrics == {
        "layer1/gradient_norm": 1.0,
        "layer1/update_ratio": 0.1,
        "layer1/dead_share": 0.5,
        "layer2/gradient_norm": 2.0,
        "layer2/update_ratio": 0.2,
        "output/saturated": 0.25,
        "output/positive": 0.1,
    }
