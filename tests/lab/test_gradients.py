"""Methods that stabilise gradients: curvature, depth, clipping and dropout against plain formulas."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from sweepgrad import rng
from sweepgrad.autograd.value import Value
from sweepgrad.lab.stability import lipschitz
from sweepgrad.lab.stability import tricks as tricks_module
from sweepgrad.lab.stability.adagrad_norm import AdagradNorm
from sweepgrad.lab.stability.clipping import clipped, example_gradients, opposed, steepest, with_outliers
from sweepgrad.lab.stability.depth import FUNCTIONS, measured, normal_mean, predicted, weight_variance
from sweepgrad.lab.stability.dropout import expected_loss_with_dropout, masks, penalized_loss
from sweepgrad.lab.stability.lipschitz import batch_gradients, curvature, flattened, hessian_vector
from sweepgrad.lab.stability.ratios import Ratio
from sweepgrad.lab.stability.tricks import Statistics, epochs_of, statistics, tricks
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

RNG = np.random.default_rng(0)
ROWS = Examples(RNG.normal(size=(40, 3)), (RNG.random(40) < 0.5).astype(float))


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


def test_masks_have_mean_one_and_the_variance_of_dropout():
    chances, factors = map(np.array, zip(*masks(3, 0.3), strict=True))
    assert chances.sum() == pytest.approx(1)
    np.testing.assert_allclose(chances @ factors, 1)
    np.testing.assert_allclose(chances @ (factors - 1) ** 2, 0.3 / 0.7)


def test_opposed_gradients_are_steeper_once_one_is_clipped():
    theta = np.array([0.005, 0.01005, 0.011])
    plain, short = opposed(theta, 1.0)
    np.testing.assert_allclose(plain, theta / 2)
    np.testing.assert_allclose(short, [0.0025, (1 - 99 * 0.01005) / 2, 0], atol=1e-15)
    assert steepest(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, -4.0])) == 3


# Training with each trick


def test_adagrad_norm_divides_by_the_root_of_all_squares_so_far():
    optimizer, w = AdagradNorm(0.5), RNG.normal(size=3)
    gradients = RNG.normal(size=(4, 3))
    state: tuple[np.ndarray, ...] = optimizer.start(w)
    for t, g in enumerate(gradients, start=1):
        expected = w - 0.5 * g / np.sqrt((gradients[:t] ** 2).sum())
        moved, state = optimizer.step(w, g, state, t)
        np.testing.assert_allclose(moved, expected, rtol=1e-14)
        assert t > 1 or np.linalg.norm(moved - w) == pytest.approx(0.5)
        w = moved
    still, _ = optimizer.step(w, np.zeros(3), optimizer.start(w), 1)
    np.testing.assert_array_equal(still, w)  # no gradient, no 0 / 0


def small_statistics(trick: tricks_module.Trick, *, batch_size: int = 8, epochs: int = 12) -> Statistics:
    return statistics(trick, (4,), ROWS, range(3), epochs=epochs, batch_size=batch_size)


def test_statistics_are_what_they_say():
    kinds = tricks(0.1, 12, 100, 1.0, 0.5, 0.3)
    found = small_statistics(kinds["plain"])
    assert found.norm.shape == (3,)
    assert (found.curvature > 0).all()
    norms, variances = found.layers[..., 0], found.layers[..., 1]
    assert found.layers.shape == (3, 2, 2)
    np.testing.assert_allclose((norms**2).sum(axis=1), found.norm**2)
    np.testing.assert_allclose(variances.sum(axis=1), found.variance)
    np.testing.assert_allclose(norms[:, 0] / norms[:, -1], found.ratio)
    again = small_statistics(kinds["plain"])
    np.testing.assert_array_equal(found.noise, again.noise)
    slower = small_statistics(tricks(1e-6, 12, 100, 1.0, 0.5, 0.3)["plain"])
    assert (slower.noise < 1e-3 * found.noise).all()
    np.testing.assert_array_equal(found.weights[1], again.weights[1])


def test_progress_is_no_noise():
    random = np.random.default_rng(0)
    trend, scatter = np.linspace(1, 0, 200), 0.01 * random.normal(size=200)
    assert tricks_module.noise_of(trend) < 1e-12
    # The second difference of independent numbers with deviation s has the deviation s √6.
    assert tricks_module.noise_of(trend + scatter) == pytest.approx(
        0.01 * np.sqrt(6) * np.sqrt(2 / np.pi), rel=0.2
    )


def test_gradient_descent_on_all_rows_makes_progress_without_noise():
    plain = tricks(0.1, 12, 100, 1.0, 0.5, 0.3)["plain"]
    whole, batches = (small_statistics(plain, batch_size=size, epochs=300) for size in (len(ROWS.y), 8))
    start = [float(initial_loss(seed)) for seed in range(3)]
    assert (whole.nll < start).all()
    assert (whole.noise < 0.1 * batches.noise).all(), whole.noise / batches.noise  # a bend of the trend


def initial_loss(seed: int) -> np.ndarray:
    network = Network(ROWS.X.shape[1], (4,))
    flat = Value(lipschitz.flattened(network.initial(seed)))
    return lipschitz.loss(network, flat, Value(ROWS.X), Value(ROWS.y)).data


def test_masks_may_raise_or_remove_the_variance_of_gradients():
    # The same as by hand, at weights that no trick has trained.
    network = Network(ROWS.X.shape[1], (4,), "relu", 0.5)
    weights = np.stack([lipschitz.flattened(network.initial(seed)) for seed in range(2)])
    ratio = tricks_module.raised_by_masks(weights, (4,), ROWS, 0.5, batch_size=8, seed=0)
    key = rng.key(0, "lab/gradients/masks")
    for s in range(2):
        spreads = [
            [
                np.trace(np.cov(batch_gradients(network, weights[s], ROWS, 8, k, drop=drop).T, bias=True))
                for k in (rng.fold(key, s, n) for n in range(tricks_module.PASSES))
            ]
            for drop in (True, False)
        ]
        assert ratio[s] == pytest.approx(np.mean(spreads[0]) / np.mean(spreads[1]))
    np.testing.assert_allclose(
        tricks_module.raised_by_masks(weights, (4,), ROWS, 0.0, batch_size=8, seed=0), 1
    )


def test_the_last_rate_is_that_of_the_last_step():
    kinds = tricks(0.1, 12, 100, 1.0, 0.5, 0.3)
    assert small_statistics(kinds["plain"]).rate == pytest.approx(np.full(3, 0.1))
    assert small_statistics(kinds["1/√t"]).rate == pytest.approx(np.full(3, 0.1 * np.sqrt(100 / 159)))
    assert small_statistics(kinds["staircase"]).rate == pytest.approx(np.full(3, 0.1 * 0.3**2))
    assert np.isnan(small_statistics(kinds["Adagrad"]).rate).all()
    # The first step of one epoch with all rows: lr / |g|.
    network = Network(3, (4,))
    flat = flattened(network.initial(5))
    g = example_gradients(network, flat, ROWS).mean(axis=0)
    trick = kinds["AdaGrad-Norm"]
    state = np.stack([flat, np.full(len(flat), g @ g)])
    assert tricks_module._last_rate(trick, state, 1, 1) == pytest.approx(1 / np.linalg.norm(g))


def test_the_number_of_steps_is_the_same_at_each_batch_size():
    for size in (1, 4, 16, 64, 300):
        steps_an_epoch = -(-300 // size)
        assert abs(epochs_of(1140, 300, size) * steps_an_epoch - 1140) <= steps_an_epoch / 2
    assert epochs_of(10, 300, 1) == 2


def test_ratios_are_paired_geometric_means():
    ratio = Ratio.of(np.array([2.0, 6.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    wide = Ratio.of(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    assert wide.value == pytest.approx(2)
    assert wide.low < 1 < wide.high
    # t = 12.706 with one degree of freedom; logarithms 0 and ln 4 have the standard error ln 2.
    assert wide.high == pytest.approx(2 * 2**12.7062, rel=1e-3)
