from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sweepgrad.autograd.functional import negative_loglikelihood_of_scores
from sweepgrad.autograd.value import ShapeError, Value, gradient
from sweepgrad.nn import network as nn
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network
from sweepgrad.rng import key, normal, uniform

N, D = 12, 5
X = normal(key(0, "X"), (N, D))
Y = (uniform(key(0, "y"), (N,)) < 0.5).astype(float)

NETWORKS = [
    Network(D, (), None),
    Network(D, (), None, scale=2.5),
    Network(D, (1,), "relu"),
    Network(D, (7,), "relu", scale=0.5),
    Network(D, (6, 4), "relu"),
    Network(D, (6, 4), "tanh", scale=2.0),
    Network(D, (3, 4, 5, 2), "tanh"),
    Network(D, (8, 3), "sigmoid", scale=3.0),
]
PLAIN = {
    "relu": lambda h: anp.maximum(h, 0),
    "tanh": anp.tanh,
    "sigmoid": lambda h: 1 / (1 + anp.exp(-h)),
}


def random_weights(network):
    """Biases too, which `initial` leaves at zero."""
    return tuple(
        w + 0.3 * normal(key(9, "weights", i), w.shape) for i, w in enumerate(network.initial(seed=4))
    )


def plain_scores(network, weights, X):
    h = X
    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = PLAIN[network.activation](anp.dot(h, W) + b)
    return anp.dot(h, weights[-2])[:, 0] + weights[-1][0]


def plain_loss(network, weights):
    p = 1 / (1 + anp.exp(-network.scale * plain_scores(network, weights, X)))
    return -anp.mean(Y * anp.log(p) + (1 - Y) * anp.log(1 - p))


def loss_and_gradients(network, weights):
    leaves = [Value(w) for w in weights]
    loss = negative_loglikelihood_of_scores(Y, network.scores(leaves, Value(X)), network.scale)
    return loss.item(), [g.data for g in gradient(loss, leaves)]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_loss_and_gradients_are_those_of_hips_autograd(network):
    weights = random_weights(network)
    loss, gradients = loss_and_gradients(network, weights)
    theirs, their_gradients = autograd.value_and_grad(lambda w: plain_loss(network, w))(weights)
    assert_allclose(loss, theirs, rtol=1e-12)
    for g, other in zip(gradients, their_gradients, strict=True):
        assert g.shape == other.shape
        assert_allclose(g, other, rtol=1e-10, atol=1e-10 * np.abs(other).max())


def test_loss_and_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    activations: dict[str | None, Any] = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    for network in NETWORKS:
        weights = random_weights(network)
        loss, gradients = loss_and_gradients(network, weights)
        tensors = [torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in weights]
        h = torch.tensor(X, dtype=torch.float64)
        for W, b in zip(tensors[:-2:2], tensors[1:-2:2], strict=True):
            h = activations[network.activation](h @ W + b)
        scores = network.scale * (h @ tensors[-2] + tensors[-1])[:, 0]
        theirs = torch.nn.functional.binary_cross_entropy_with_logits(scores, torch.tensor(Y))
        theirs.backward()
        assert_allclose(loss, theirs.item(), rtol=1e-12)
        for g, tensor in zip(gradients, tensors, strict=True):
            other = tensor.grad.numpy()
            assert_allclose(g, other, rtol=1e-10, atol=1e-10 * np.abs(other).max())


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_probabilities_are_the_sigmoid_of_scaled_scores(network):
    weights = random_weights(network)
    p = network.probabilities(weights, X)
    assert p.shape == (N,)
    assert_allclose(p, 1 / (1 + np.exp(-network.scale * plain_scores(network, weights, X))), rtol=1e-13)


def test_parameters_are_counted():
    for network in NETWORKS:
        assert network.n_parameters == sum(w.size for w in network.initial(0))
    assert Network(14, (8, 4)).n_parameters == 14 * 8 + 8 + 8 * 4 + 4 + 4 * 1 + 1
    assert Network(14, ()).n_parameters == 15
    assert Network(14, (8, 4)).widths == (14, 8, 4, 1)


def test_initial_weights_follow_their_seed_and_layer():
    network = Network(6, (6, 6), "tanh")
    first, again, other = network.initial(1), network.initial(1), network.initial(2)
    assert [w.shape for w in first] == [(6, 6), (6,), (6, 6), (6,), (6, 1), (1,)]
    assert all(w.dtype == np.float64 for w in first)
    for a, b in zip(first, again, strict=True):
        assert_array_equal(a, b)
    for matrix, different in zip(first[::2], other[::2], strict=True):
        assert (matrix != different).all()
    assert (first[0] != first[2]).all()
    for bias in first[1::2]:
        assert_array_equal(bias, np.zeros(bias.shape))


def test_he_before_a_relu():
    """Mean and variance of n normals have standard errors s / √n and √2 s² / √n; five are allowed."""
    matrix = Network(300, (200,), "relu").initial(3)[0]
    variance, n = 2 / 300, matrix.size
    assert abs(matrix.mean()) < 5 * np.sqrt(variance / n)
    assert abs(matrix.var() - variance) < 5 * np.sqrt(2 / n) * variance
    assert np.abs(matrix).max() > np.sqrt(6 / 500)


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (Network(300, (200,), "tanh"), 0),
        (Network(300, (200,), "sigmoid"), 0),
        (Network(3, (499,), "relu"), 1),
        (Network(500, (), None), 0),
    ],
    ids=str,
)
def test_glorot_before_anything_else(network, layer):
    """Allow five standard errors of a uniform sample's variance, √0.8 s² / √n, as its kurtosis is 1.8."""
    matrix = network.initial(3)[2 * layer]
    variance, n = 2 / sum(matrix.shape), matrix.size
    assert np.abs(matrix).max() <= np.sqrt(6 / sum(matrix.shape))
    assert abs(matrix.mean()) < 5 * np.sqrt(variance / n)
    assert abs(matrix.var() - variance) < 5 * np.sqrt(0.8 / n) * variance


def test_features_must_be_as_many_as_the_network_takes():
    network = Network(3, (2,))
    weights = [Value(w) for w in network.initial(0)]
    for shape in [(4, 2), (4, 4), (3,), (1, 4, 3)]:
        with pytest.raises(ShapeError, match=r"features of shape \(N, 3\)"):
            network.scores(weights, Value(np.ones(shape)))
    assert network.scores(weights, Value(np.ones((1, 3)))).shape == (1,)
    assert network.scores(weights, Value(np.ones((0, 3)))).shape == (0,)


def test_activations_are_the_plain_ones():
    x = normal(key(0, "x"), (50,))
    assert set(ACTIVATIONS) == set(PLAIN)
    for name, activation in ACTIVATIONS.items():
        assert_allclose(activation.function(Value(x)).data, PLAIN[name](x), rtol=1e-14)


# dropout


def test_dropout_is_off_without_keys_and_at_probability_0():
    dropping, plain = Network(D, (6, 4), dropout=0.5), Network(D, (6, 4))
    weights = [Value(w) for w in random_weights(plain)]
    expected = plain.scores(weights, Value(X)).data
    assert_array_equal(dropping.scores(weights, Value(X)).data, expected)
    assert_array_equal(plain.scores(weights, Value(X), [1, 2]).data, expected)
    assert (dropping.scores(weights, Value(X), [1, 2]).data != expected).any()


def test_dropout_drops_hidden_units_of_every_layer_and_nothing_else():
    network = Network(D, (40, 30), "sigmoid", dropout=0.5)
    weights = [Value(w) for w in random_weights(network)]
    scores = network.scores(weights, Value(X[:1]), [key(0, "one"), key(0, "two")])
    into_first, _, into_second, _, into_output, bias = (g.data for g in gradient(scores.sum(), list(weights)))
    first = (into_first != 0).all(axis=0)
    second = (into_output != 0)[:, 0]
    assert_array_equal(into_first != 0, np.broadcast_to(first, (D, 40)))
    assert_array_equal(into_second != 0, np.outer(first, second))
    assert 0 < first.sum() < 40
    assert 0 < second.sum() < 30
    assert (first[:30] != second).any()
    assert_array_equal(bias, [1.0])
    # What is kept counts double: 1 / (1 - 0.5).
    h = PLAIN["sigmoid"](X[0] @ weights[0].data + weights[1].data) * 2 * first
    h = PLAIN["sigmoid"](h @ weights[2].data + weights[3].data) * 2 * second
    assert_allclose(scores.data, h @ weights[4].data + weights[5].data, rtol=1e-13)


def test_dropout_leaves_linear_models_alone():
    network = Network(D, (), None, dropout=0.5)
    weights = [Value(w) for w in network.initial(0)]
    assert_array_equal(network.scores(weights, Value(X), []).data, network.scores(weights, Value(X)).data)


def test_probabilities_of_many_rows_are_computed_in_pieces(monkeypatch):
    network = Network(3, (4,), "tanh", 0.0, 1.0)
    weights = network.divided(np.linspace(-1, 1, network.n_parameters))
    rows = np.linspace(-2, 2, 30).reshape(10, 3)
    whole = network.probabilities(weights, rows)
    seen = []
    scores = Network.scores

    def watched(self, ws, X, *more):
        seen.append(len(X.data))
        return scores(self, ws, X, *more)

    monkeypatch.setattr(Network, "scores", watched)
    monkeypatch.setattr(nn, "_AT_ONCE", 12)  # three rows of the widest layer
    assert_allclose(network.probabilities(weights, rows), whole, rtol=1e-14)
    assert seen == [3, 3, 3, 1]
