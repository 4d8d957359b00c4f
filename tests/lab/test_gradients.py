"""Methods that stabilise gradients: curvature, depth, clipping and dropout against plain formulas."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from sweepgrad import rng
from sweepgrad.autograd.value import Value
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.questions import gradients as module
from sweepgrad.lab.questions.gradients import Ratio, answer
from sweepgrad.lab.stability.clipping import (
    clipped,
    example_gradients,
    expected_loss_with_dropout,
    penalized_loss,
    with_outliers,
)
from sweepgrad.lab.stability.depth import FUNCTIONS, measured, normal_mean, predicted, weight_variance
from sweepgrad.lab.stability.lipschitz import batch_gradients, curvature, flattened, hessian_vector
from sweepgrad.lab.stability.tricks import statistics, tricks
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

LAB = Lab("sqlite:///unused")
RNG = np.random.default_rng(0)
ROWS = Examples(RNG.normal(size=(40, 3)), (RNG.random(40) < 0.5).astype(float))


def asked(*overrides: str) -> module.Settings:
    small = ["rows=60", "hidden=[6]", "epochs=12", "seeds=4", "depths=[2,8]", "width=24"]
    _, section = settings("gradients", [*small, *overrides])
    assert isinstance(section, module.Settings)
    return section


def of_hips(network: Network, flat: np.ndarray) -> np.ndarray:
    """Return the Hessian of the loss, computed with HIPS autograd."""

    def loss(w):
        start, h = 0, ROWS.X
        for layer, (inputs, outputs) in enumerate(zip(network.widths, network.widths[1:], strict=False)):
            matrix = w[start : start + inputs * outputs].reshape(inputs, outputs)
            bias = w[start + inputs * outputs : start + (inputs + 1) * outputs]
            start += (inputs + 1) * outputs
            h = anp.dot(h, matrix) + bias
            if layer < len(network.hidden):
                h = anp.tanh(h)
        return anp.mean(anp.logaddexp(0, (1 - 2 * ROWS.y) * h[:, 0]))

    hessian: np.ndarray = autograd.hessian(loss)(flat)
    return hessian


# Curvature


def test_the_curvature_of_logistic_regression_is_that_of_its_formula():
    network, flat = Network(3, (), None), RNG.normal(size=4)
    X = np.concatenate([ROWS.X, np.ones((40, 1))], axis=1)
    p = 1 / (1 + np.exp(-X @ flat))
    largest = np.linalg.eigvalsh((X.T * (p * (1 - p))) @ X / 40)[-1]
    found = curvature(network, flat, ROWS, 5)
    assert largest * (1 - 1e-3) <= found <= largest * (1 + 1e-12)
    assert found <= np.linalg.eigvalsh(X.T @ X / 40)[-1] / 4


@pytest.mark.parametrize("hidden", [(4,), (3, 2)])
def test_hessian_vector_products_and_curvature_are_those_of_hips_autograd(hidden):
    network = Network(3, hidden, "tanh")
    flat, v = RNG.normal(size=network.n_parameters), RNG.normal(size=network.n_parameters)
    hessian = of_hips(network, flat)
    product = hessian_vector(network, Value(flat), Value(v), Value(ROWS.X), Value(ROWS.y))
    np.testing.assert_allclose(product.data, hessian @ v, rtol=1e-9, atol=1e-12)
    largest = np.abs(np.linalg.eigvalsh(hessian)).max()  # which may belong to a negative one
    assert largest * (1 - 1e-2) <= curvature(network, flat, ROWS, 5) <= largest * (1 + 1e-9)


def test_batches_have_the_gradients_of_their_rows():
    network = Network(3, (4,), "tanh")
    flat = flattened(network.initial(0))
    batches = batch_gradients(network, flat, ROWS, 8, rng.key(0, "test"))
    each = example_gradients(network, flat, ROWS)
    assert batches.shape == (5, network.n_parameters)
    np.testing.assert_allclose(batches.mean(axis=0), each.mean(axis=0), rtol=1e-10, atol=1e-14)
    dropped = batch_gradients(network, flat, ROWS, 8, rng.key(0, "test"), drop=True)
    np.testing.assert_array_equal(dropped, batches)  # of a network without dropout: nothing to drop
    noisy = batch_gradients(replace(network, dropout=0.5), flat, ROWS, 8, rng.key(0, "test"), drop=True)
    assert np.abs(noisy - batches).max() > 1e-3


# Depth


def test_normal_means_are_means():
    z = np.random.default_rng(0).normal(size=400_000)
    for name, (function, slope) in FUNCTIONS.items():
        for each in (function, slope):
            x = each(1.5 * z) ** 2
            assert normal_mean(each, 1.5**2) == pytest.approx(
                x.mean(), abs=5 * x.std() / np.sqrt(len(z)) + 1e-6
            ), name
    h = 1e-6
    for function, slope in FUNCTIONS.values():
        np.testing.assert_allclose(
            (function(z[:9] + h) - function(z[:9] - h)) / (2 * h), slope(z[:9]), rtol=1e-6, atol=1e-9
        )


def test_relu_keeps_gradients_and_sigmoid_loses_a_factor_of_four():
    for depth in (2, 5, 20):
        assert predicted("relu", depth, 2.0) == pytest.approx(1, rel=1e-12)
        assert predicted("sigmoid", depth, 1.0) <= 0.26 ** (depth - 2)
        assert 0.8 < predicted("tanh", depth, 1.0) < 1.3


def test_initial_weights_have_the_variance_that_is_assumed():
    for name in FUNCTIONS:
        _, _, matrix, *_ = Network(200, (200, 200), name).initial(0)
        # 40,000 weights: the standard error of their variance is 1/141 of it, or less for uniform ones.
        assert 200 * matrix.var() == pytest.approx(weight_variance(name), rel=0.03)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wide_layers_are_as_predicted(name):
    logs = np.log(measured(name, 5, 128, range(8)))
    allowed = 4 * logs.std(ddof=1) / np.sqrt(8) + 1.25 * 5 / 128
    assert abs(logs.mean() - np.log(predicted(name, 5, weight_variance(name)))) <= allowed


# Clipping and dropout


def test_clipping_is_the_projection_onto_a_ball():
    vectors = RNG.normal(size=(30, 4)) * RNG.uniform(0.1, 3, size=(30, 1))
    short = clipped(vectors, 1.0)
    for vector, projected in zip(vectors, short, strict=True):
        length = np.linalg.norm(vector)
        np.testing.assert_allclose(projected, vector if length <= 1 else vector / length)
    np.testing.assert_array_equal(clipped(np.zeros((1, 4)), 1.0), 0)


def test_outliers_are_turned_and_stretched():
    spoiled = with_outliers(ROWS, 2, 30.0)
    np.testing.assert_array_equal(spoiled.X[:2], 30 * ROWS.X[:2])
    np.testing.assert_array_equal(spoiled.y[:2], 1 - ROWS.y[:2])
    np.testing.assert_array_equal(spoiled.X[2:], ROWS.X[2:])


def test_dropout_of_one_input_by_hand():
    x, w = np.array([2.0]), np.array([3.0])
    # Kept with ½ and doubled: f is 12 or 0, and y is 1.
    assert expected_loss_with_dropout(x, 1.0, w, 0.5) == pytest.approx(0.5 * (0.5 * 11**2 + 0.5 * 1**2))
    assert penalized_loss(x, 1.0, w, 0.5) == pytest.approx(0.5 * 5**2 + 0.5 * 36)


# Tricks, and the answer


def test_statistics_are_what_they_say():
    trick = tricks(0.1, 12, 100, 0.5, 0.3)["plain"]
    found = statistics(trick, (4,), ROWS, range(3), epochs=12, batch_size=8)
    assert found.norm.shape == (3,)
    assert (found.curvature > 0).all()
    norms, variances = found.layers[..., 0], found.layers[..., 1]
    assert found.layers.shape == (3, 2, 2)
    np.testing.assert_allclose((norms**2).sum(axis=1), found.norm**2)
    np.testing.assert_allclose(variances.sum(axis=1), found.variance)
    np.testing.assert_allclose(norms[:, 0] / norms[:, -1], found.ratio)
    again = statistics(trick, (4,), ROWS, range(3), epochs=12, batch_size=8)
    np.testing.assert_array_equal(found.noise, again.noise)
    slower = statistics(
        tricks(1e-6, 12, 100, 0.5, 0.3)["plain"], (4,), ROWS, range(3), epochs=12, batch_size=8
    )
    assert (slower.noise < 1e-3 * found.noise).all()


def test_ratios_are_paired_geometric_means():
    ratio = Ratio.of(np.array([2.0, 6.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    wide = Ratio.of(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    assert wide.value == pytest.approx(2)
    assert wide.low < 1 < wide.high


def test_it_answers():
    finding = answer(asked(), LAB)
    assert len(finding.claims) == 9
    always = (
        "At initial",
        "Clipping each",
        "Clipping does not raise",
        "In a linear model",
    )  # with any settings
    assert all(claim.holds for claim in finding.claims if claim.text.startswith(always))
    assert set(finding.pictures) == {"gradients"}


def test_wrong_theory_fails_its_claims(monkeypatch):
    monkeypatch.setattr(module, "predicted", lambda name, depth, first: predicted("sigmoid", depth, first))
    claims = answer(asked("seeds=8"), LAB).claims
    assert [claim.holds for claim in claims[:2]] == [False, False]


def test_clipping_that_does_not_clip_fails_its_claims(monkeypatch):
    monkeypatch.setattr(module, "clipped", lambda vectors, largest: 1.01 * vectors)
    failed = [claim.text.split(" ")[0] for claim in answer(asked(), LAB).claims if not claim.holds]
    assert failed.count("Clipping") == 2


def test_a_wrong_penalty_fails_its_claim(monkeypatch):
    monkeypatch.setattr(module, "penalized_loss", lambda x, y, w, p: penalized_loss(x, y, w, 0.9 * p))
    assert any("In a linear model" in claim.text for claim in answer(asked(), LAB).claims if not claim.holds)
