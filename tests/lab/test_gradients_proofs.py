"""Steps of the proofs on docs/lab/gradients.md: symbolically, or on random instances."""

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from sweepgrad.lab.stability.clipping import clipped, opposed, steepest
from sweepgrad.lab.stability.dropout import condition_number, hessian, hessian_with_dropout

SEEDS = st.integers(0, 10**6)


def random_hessian(seed: int, n: int = 5) -> np.ndarray:
    """Return a random positive definite matrix, (n, n)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3 * n, n)) @ rng.normal(size=(n, n))
    return hessian(X)


# 3(i) Rates


@given(st.integers(1, 3000))
def test_sums_of_the_decaying_rates(n):
    t = np.arange(1, n + 1)
    assert (t**-0.5).sum() >= np.sqrt(n) * (1 - 1e-12)
    assert (1 / t).sum() <= 1 + np.log(n) + 1e-12


def test_a_step_at_most_one_over_k_keeps_half_of_the_descent():
    alpha, K, g, sigma = sp.symbols("alpha K g sigma", positive=True)
    # Descent lemma in expectation, minus what the theorem uses.
    expected = -alpha * (1 - K * alpha / 2) * g**2 + K * alpha**2 / 2 * sigma**2
    used = -alpha / 2 * g**2 + K * alpha**2 / 2 * sigma**2
    gap = sp.factor(used - expected)
    assert sp.simplify(gap - alpha * g**2 * (1 - K * alpha) / 2) == 0  # ≥ 0 for α ≤ 1/K


@given(SEEDS, st.floats(0.01, 50))
def test_adagrad_norm_on_all_rows_stops_falling_as_the_proof_says(seed, eta):
    H = random_hessian(seed)
    K = float(np.linalg.eigvalsh(H)[-1])
    theta = np.random.default_rng(seed + 1).normal(size=len(H))
    square, losses, roots, norms = 0.0, [], [], []
    for _ in range(300):
        g = H @ theta
        square += float(g @ g)
        losses.append(0.5 * theta @ H @ theta)
        roots.append(np.sqrt(square))
        norms.append(np.linalg.norm(g))
        step = eta * g / roots[-1]
        assert np.linalg.norm(step) <= eta * (1 + 1e-12)
        theta = theta - step
    reached = [t for t, b in enumerate(roots) if b >= K * eta]
    if not reached:  # then the b are bounded, and the gradients tend to 0
        assert norms[-1] < 0.05 * max(norms)
        return
    T = reached[0]
    scale = losses[T] + 1e-300
    assert all(b <= a + 1e-12 * scale for a, b in zip(losses[T:], losses[T + 1 :], strict=False))
    assert roots[-1] <= (roots[T] + 2 * losses[T] / eta) * (1 + 1e-9)  # the minimum is 0
    assert min(norms) ** 2 <= roots[-1] ** 2 / len(norms) * (1 + 1e-9)


def test_a_difference_of_roots():
    a, b = sp.symbols("a b", positive=True)
    assert sp.simplify((sp.sqrt(a + b) - sp.sqrt(a)) - b / (sp.sqrt(a + b) + sp.sqrt(a))) == 0


@given(SEEDS)
def test_adagrad_with_frozen_sums_is_gradient_descent_on_a_rescaled_loss(seed):
    H, rng = random_hessian(seed), np.random.default_rng(seed)
    theta, gamma, alpha = rng.normal(size=5), rng.uniform(0.1, 10, size=5), 0.1
    moved = theta - alpha * (H @ theta) / gamma
    rescaled = H / np.sqrt(np.outer(gamma, gamma))
    u = np.sqrt(gamma) * theta
    np.testing.assert_allclose(np.sqrt(gamma) * moved, u - alpha * rescaled @ u, rtol=1e-9, atol=1e-9)


def test_rescaling_may_improve_or_worsen_the_condition_number():
    h = np.array([1.0, 100.0])
    assert condition_number(np.diag(h) / np.sqrt(np.outer(h, h))) == pytest.approx(1)
    gamma = np.array([1.0, 100.0])  # sizes of noise, which have nothing to do with the curvature
    assert condition_number(np.eye(2) / np.sqrt(np.outer(gamma, gamma))) == pytest.approx(100)


def test_gradient_descent_on_a_quadratic_is_stable_below_two():
    H = random_hessian(3)
    largest = np.linalg.eigvalsh(H)[-1]
    for product, stable in ((1.99, True), (2.01, False)):
        radius = np.abs(np.linalg.eigvals(np.eye(5) - product / largest * H)).max()
        assert (radius < 1) == stable


# 3(ii) Activations


def test_slopes_and_second_derivatives_of_activations():
    z = sp.symbols("z", real=True)
    sigmoid = 1 / (1 + sp.exp(-z))
    grid = np.linspace(-8, 8, 160_001)
    for function, slope, bend in (
        (sigmoid, sp.Rational(1, 4), 1 / (6 * sp.sqrt(3))),
        (sp.tanh(z), 1, 4 / (3 * sp.sqrt(3))),
    ):
        for order, bound in ((1, slope), (2, bend)):
            values = sp.lambdify(z, sp.diff(function, z, order), "numpy")(grid)
            assert np.abs(values).max() == pytest.approx(float(bound), rel=1e-7)
    assert sp.simplify((sigmoid - (1 + sp.tanh(z / 2)) / 2).rewrite(sp.exp)) == 0


def test_tanh_loses_gradients_at_the_rate_at_which_its_outputs_shrink():
    z, q = sp.symbols("z q", positive=True)

    def mean(function: sp.Expr) -> sp.Expr:
        """Return the mean over z ~ N(0, q) of the terms up to z⁴: E z² = q, E z⁴ = 3q²."""
        series = sp.series(function, z, 0, 5).removeO()
        return sum(series.coeff(z, power) * moment for power, moment in ((0, 1), (2, q), (4, 3 * q**2)))

    next_q = sp.expand(mean(sp.tanh(z) ** 2))
    assert next_q == q - 2 * q**2
    chi = sp.expand(mean(sp.diff(sp.tanh(z), z) ** 2))
    assert sp.series(chi - next_q / q, q, 0, 2).removeO() == 0  # both are 1 - 2q to first order


@pytest.mark.parametrize("width", [40, 400])
def test_chi_under_the_independence_assumption(width):
    """Compare the mean of |φ'(z) ⊙ Wδ|² with χ |δ|², W independent of δ and z as assumed."""
    rng = np.random.default_rng(width)
    q, delta, found = 1.3, rng.normal(size=width), []
    for _ in range(400):
        W = rng.normal(size=(width, width)) * width**-0.5
        slope = 1 - np.tanh(np.sqrt(q) * rng.normal(size=width)) ** 2
        found.append(((slope * (W @ delta)) ** 2).sum() / (delta @ delta))
    z = np.random.default_rng(0).normal(size=200_000)
    chi = ((1 - np.tanh(np.sqrt(q) * z) ** 2) ** 2).mean()
    assert np.mean(found) == pytest.approx(chi, abs=5 * np.std(found) / 20 + 5e-3)


def test_the_gradient_of_a_relu_jumps():
    slope: Callable[[float], float] = lambda w: (max(w, 0) - 1) * (w > 0)  # noqa: E731
    assert slope(-1e-9) == 0
    assert slope(1e-9) == pytest.approx(-1)


@given(SEEDS)
def test_gradients_of_a_layer_are_bounded_by_slopes_and_matrices(seed):
    rng, depth, n = np.random.default_rng(seed), 4, 6
    Ws = [rng.normal(size=(n, n)) for _ in range(depth)]
    out = rng.normal(size=n)
    hs, zs = [rng.normal(size=n)], []
    for W in Ws:
        zs.append(W.T @ hs[-1])
        hs.append(1 / (1 + np.exp(-zs[-1])))
    back = out
    for layer in reversed(range(depth)):
        delta = hs[layer + 1] * (1 - hs[layer + 1]) * back
        product = np.prod([np.linalg.norm(W, 2) for W in Ws[layer + 1 :]]) * np.linalg.norm(out)
        bound = np.linalg.norm(hs[layer]) * 0.25 ** (depth - layer) * product
        assert np.linalg.norm(np.outer(hs[layer], delta)) <= bound * (1 + 1e-12)
        back = Ws[layer] @ delta


# 3(iii) Clipping


@given(SEEDS, st.floats(0.05, 5))
def test_clipping_is_nonexpansive_and_never_raises_a_variance(seed, c):
    a, b = np.random.default_rng(seed).normal(size=(2, 30, 4)) * 2
    change = np.linalg.norm(clipped(a, c) - clipped(b, c), axis=1)
    assert (change <= np.linalg.norm(a - b, axis=1) * (1 + 1e-12)).all()
    short = clipped(a, c)
    inside = clipped(b, c)
    assert (((a - short) * (inside - short)).sum(axis=1) <= 1e-12).all()  # what characterises a projection
    variances = [((g - g.mean(axis=0)) ** 2).sum(axis=1).mean() for g in (short, a)]
    assert variances[0] <= min(variances[1], c**2) * (1 + 1e-12)


@given(SEEDS, st.floats(0.05, 5))
def test_any_k_examples_move_the_mean_clipped_gradient_by_at_most_2ck_over_n(seed, c):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(20, 3))
    b = a.copy()
    b[:4] = 1e6 * rng.normal(size=(4, 3))
    moved = np.linalg.norm(clipped(a, c).mean(axis=0) - clipped(b, c).mean(axis=0))
    assert moved <= 2 * c * 4 / 20 * (1 + 1e-12)


@given(SEEDS)
def test_the_mean_of_clipped_gradients_is_lipschitz_with_the_mean_constant(seed):
    rng = np.random.default_rng(seed)
    slopes, theta = rng.normal(size=8) * 10, np.linspace(-1, 1, 2001)
    mean = np.mean([clipped((k * theta)[:, None], 1.0)[:, 0] for k in slopes], axis=0)
    assert steepest(theta, mean) <= np.abs(slopes).mean() * (1 + 1e-9)
    # Convex losses in one dimension: never above the constant of the plain mean.
    convex = np.mean([clipped((abs(k) * theta)[:, None], 1.0)[:, 0] for k in slopes], axis=0)
    assert steepest(theta, convex) <= np.abs(slopes).mean() * (1 + 1e-9)


def test_the_counterexample_of_two_opposed_gradients():
    theta = np.linspace(0.01, 1 / 99, 50)
    plain, short = opposed(theta, 1.0)
    assert steepest(theta, plain) == pytest.approx(0.5)
    np.testing.assert_allclose(short, (1 - 99 * theta) / 2, atol=1e-12)
    assert steepest(theta, short) == pytest.approx(49.5)
    far, stuck = opposed(np.linspace(0.0102, 5, 50), 1.0)
    assert (far > 0).all()
    np.testing.assert_allclose(stuck, 0, atol=1e-15)


@given(SEEDS, st.floats(0.05, 5), st.floats(0.01, 1))
def test_clipped_gradient_descent_descends(seed, c, share):
    H = random_hessian(seed)
    theta = np.random.default_rng(seed + 1).normal(size=5) * 5
    alpha, g = share / np.linalg.eigvalsh(H)[-1], H @ theta
    factor = min(1, c / np.linalg.norm(g))
    moved = theta - alpha * clipped(g[None], c)[0]
    before, after = (0.5 * w @ H @ w for w in (theta, moved))
    assert after <= before - alpha / 2 * factor * (g @ g) + 1e-9 * before


# 3(iv) Dropout


def test_the_mean_over_masks_is_the_squared_mean_plus_the_variance():
    x1, x2, w1, w2, y, p = sp.symbols("x1 x2 w1 w2 y p")
    total = sp.Integer(0)
    for k1 in (0, 1):
        for k2 in (0, 1):
            chance = ((1 - p) if k1 else p) * ((1 - p) if k2 else p)
            total += chance * ((k1 * x1 * w1 + k2 * x2 * w2) / (1 - p) - y) ** 2 / 2
    penalty = (x1 * w1 + x2 * w2 - y) ** 2 / 2 + p / (1 - p) * (x1**2 * w1**2 + x2**2 * w2**2) / 2
    assert sp.simplify(total - penalty) == 0


@given(SEEDS, st.floats(0.01, 0.95))
def test_dropout_never_worsens_the_condition_number(seed, p):
    rng, s = np.random.default_rng(seed), p / (1 - p)
    X = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 4))
    H, dropped = hessian(X), hessian_with_dropout(X, p)
    np.testing.assert_allclose(dropped, H + s * np.diag(np.diag(H)), rtol=1e-8, atol=1e-10)
    values, after = np.linalg.eigvalsh(H), np.linalg.eigvalsh(dropped)
    slack = 1e-9 * values[-1] * (1 + s)
    assert after[-1] <= (1 + s) * values[-1] + slack
    assert after[0] >= (1 + s) * values[0] - slack
    assert values[-1] + s * np.diag(H).min() - slack <= after[-1] <= values[-1] + s * np.diag(H).max() + slack


def test_standardized_features_and_a_weight_that_is_not_dropped():
    s, rho = sp.symbols("s rho", positive=True)
    eigenvalues = list((sp.Matrix([[1, rho], [rho, 1]]) + s * sp.eye(2)).eigenvals())
    assert {sp.simplify(value) for value in eigenvalues} == {1 + s - rho, 1 + s + rho}
    assert condition_number(np.diag([1.0, 4.0]) + np.diag([0.0, 4.0])) == pytest.approx(
        8
    )  # from 4, with s = 1


@given(SEEDS)
def test_variance_over_rows_and_masks_is_the_sum_of_two(seed):
    g = np.random.default_rng(seed).normal(size=(6, 9, 3))  # rows, masks, parameters
    whole = ((g - g.mean(axis=(0, 1))) ** 2).sum(axis=2).mean()
    by_row = g.mean(axis=1)
    between = ((by_row - by_row.mean(axis=0)) ** 2).sum(axis=1).mean()
    within = ((g - by_row[:, None]) ** 2).sum(axis=2).mean()
    assert whole == pytest.approx(between + within)


def test_dropout_has_no_general_effect_on_the_variance():
    """At y = 2wx with p = ½ the gradient of ½ (mxw - y)², m x (mxw - y), is 0 under both masks."""
    x, w = np.array([1.0, 2.0, 3.0]), 1.0
    y = 2 * w * x
    gradient = lambda m: m * x * (m * x * w - y)  # noqa: E731
    assert (gradient(0.0) == 0).all()
    assert (gradient(2.0) == 0).all()
    assert np.var(gradient(1.0)) == pytest.approx(98 / 9)
    # With y = 0 masks raise it.
    y = 0 * x
    assert np.var([gradient(0.0), gradient(2.0)]) > np.var(gradient(1.0))
