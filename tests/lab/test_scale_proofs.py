"""The algebra of docs/lab/scale.md, by SymPy, and its inequalities on random instances."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from sweepgrad.stats.calibration import greatest_likelihood

s, a, r, eps, mu = sp.symbols("s alpha r epsilon mu", positive=True)
z, v, g, m, t = sp.symbols("z v g m t", real=True)


def sigma(x):
    return 1 / (1 + sp.exp(-x))


def zero(expression) -> bool:
    return bool(sp.simplify(expression) == 0)


def test_the_slope_of_the_curve():
    p = sigma(s * z)
    assert zero(sp.diff(p, z) - s * p * (1 - p))
    assert sp.diff(p, z).subs(z, 0) == s / 4
    assert zero(s / 4 - s * p * (1 - p) - s * (p - sp.Rational(1, 2)) ** 2)  # largest at p = ½


def test_the_width_of_the_curve():
    start, end = (sp.log(p / (1 - p)) / s for p in (sp.Rational(1, 10), sp.Rational(9, 10)))
    assert zero(sigma(s * end) - sp.Rational(9, 10))
    assert zero(end - start - 2 * sp.log(9) / s)


def test_the_limits_of_the_curve():
    positive, negative = sp.symbols("zp", positive=True), sp.symbols("zn", negative=True)
    assert sp.limit(sigma(s * positive), s, sp.oo) == 1
    assert sp.limit(sigma(s * negative), s, sp.oo) == 0
    assert sp.limit(sigma(s * positive), s, 0) == sp.Rational(1, 2)


@pytest.mark.parametrize("y", [0, 1])
def test_the_loss_and_its_derivatives(y):
    p = sigma(s * z)
    likelihood = -sp.log(p) if y else -sp.log(1 - p)
    loss = sp.log(1 + sp.exp((1 - 2 * y) * s * z))
    assert zero(sp.exp(likelihood) - sp.exp(loss))
    assert zero(sp.diff(loss, z) - s * (p - y))
    assert zero(sp.diff(loss, z, 2) - s**2 * p * (1 - p))
    assert zero(sp.diff(loss, s) - (p - y) * z)  # of a row at prediction


def test_the_lipschitz_constant_is_attained_at_zero_weights():
    """Compare the constant of the page with Hessians at random weights and at 0."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(30, 3)), np.ones(30)]
    for scale in (0.3, 1.0, 5.0):
        bound = scale**2 / 4 * np.linalg.eigvalsh(X.T @ X / 30).max()

        def curvature(weights, scale=scale):
            p = 1 / (1 + np.exp(-scale * X @ weights))
            return np.linalg.eigvalsh(X.T @ (X * (scale**2 * p * (1 - p))[:, None]) / 30).max()

        assert curvature(np.zeros(4)) == pytest.approx(bound)
        assert all(curvature(rng.normal(size=4)) < bound for _ in range(50))


def test_a_step_of_sgd_is_a_step_with_the_rate_times_scale_squared():
    assert zero(s * (v - a * s * g) - (s * v - s**2 * a * g))


def test_momentum_of_the_second_run_is_that_of_the_first_divided_by_the_scale():
    first = mu * (s * m) + s * g  # with m that of the second run
    second = mu * m + g
    assert zero(first - s * second)
    assert zero(s * (v - a * first) - (s * v - s**2 * a * second))


def test_normalized_steps_have_the_rate_times_scale_and_epsilon_over_scale():
    first = v - a * s * m / (sp.sqrt(s**2 * r) + eps)
    second = s * v - s * a * m / (sp.sqrt(r) + eps / s)
    assert zero(s * first - second)


def test_the_gradient_of_a_hidden_unit_is_the_same_in_both_runs():
    h, y = sp.symbols("h y", real=True)
    u = sp.symbols("u", real=True)
    loss = sp.log(1 + sp.exp((1 - 2 * y) * s * v * h))
    there = sp.log(1 + sp.exp((1 - 2 * y) * u * h))
    assert zero(sp.diff(loss, h) - sp.diff(there, h).subs(u, s * v))
    assert zero(sp.diff(loss, v) - s * sp.diff(there, u).subs(u, s * v))


def test_what_clipping_and_weight_decay_need():
    c, lam = sp.symbols("c lambda", positive=True)
    G = sp.symbols("G", positive=True)  # the norm of the gradient at scale 1
    clipped, there = s * G * sp.Min(1, c / (s * G)), G * sp.Min(1, c / s / G)
    for values in ({s: 2, G: 3, c: 1}, {s: 2, G: 3, c: 100}, {s: sp.Rational(1, 3), G: 5, c: 2}):
        assert zero((s * a * clipped - s**2 * a * there).subs(values))
    assert zero(s * (1 - a * lam) * v - (1 - s**2 * a * (lam / s**2)) * (s * v))
    assert zero(s * (1 - a * lam) * v - (1 - s * a * (lam / s)) * (s * v))  # Adagrad and Adam


@given(st.integers(0, 10_000), st.floats(0.01, 2.0))
def test_a_step_on_a_convex_loss_does_not_increase_distances(seed, share):
    """Check both inequalities of the page for logistic regression, with rates up to 2/K."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(8, 3)), rng.integers(0, 2, 8)
    K = np.linalg.eigvalsh(X.T @ X / 8).max() / 4

    def gradient(w):
        return X.T @ (1 / (1 + np.exp(-X @ w)) - y) / 8

    first, second = 3 * rng.normal(size=(2, 3))
    delta, gamma = first - second, gradient(first) - gradient(second)
    assert delta @ gamma >= gamma @ gamma / K - 1e-12
    rate = share / K
    left = np.sum((delta - rate * gamma) ** 2)
    right = delta @ delta - rate * (2 / K - rate) * gamma @ gamma
    assert left <= right + 1e-12 <= delta @ delta + 2e-12


def test_above_two_over_k_a_step_can_increase_distances():
    K, delta = 3.0, 1.0  # of ½ K w²
    assert abs(delta - 2.1 / K * K * delta) > abs(delta)


@given(st.integers(0, 10_000), st.integers(-8, 8))
def test_powers_of_two_commute_with_rounding(seed, k):
    x, y = np.random.default_rng(seed).normal(size=2)
    f = 2.0**k
    assert f * x + f * y == f * (x + y)
    assert (f * x) * y == f * (x * y)
    assert (f * x) / y == f * (x / y)
    assert np.sqrt(f * f * abs(x)) == f * np.sqrt(abs(x))


def test_three_does_not_commute_with_rounding():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(100, 2))
    assert any(3 * x + 3 * y != 3 * (x + y) for x, y in pairs)


@given(st.integers(0, 10_000))
def test_the_loss_at_prediction_is_convex_with_its_minimum_where_the_slope_is_zero(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=40)
    y = (rng.random(40) < 1 / (1 + np.exp(-2 * z))).astype(float)

    def loss(scale):
        return np.mean(np.logaddexp(0, (1 - 2 * y) * scale * z))

    first, second = rng.uniform(-3, 6, size=2)
    assert loss((first + second) / 2) <= (loss(first) + loss(second)) / 2 + 1e-12
    best = greatest_likelihood(y, z)
    if best is None:
        assert np.mean((0.5 - y) * z) >= 0 or np.all((1 - 2 * y) * z <= 0)
    else:
        assert np.mean((1 / (1 + np.exp(-best * z)) - y) * z) == pytest.approx(0, abs=1e-9)
        assert loss(best) <= min(loss(best * 0.9), loss(best * 1.1))


@pytest.mark.parametrize("y", [[0, 0, 1, 1], [1, 1, 0, 0]])
def test_separated_rows_and_reversed_scores_have_no_best_scale(y):
    assert greatest_likelihood(np.array(y, float), np.array([-2.0, -1.0, 1.0, 3.0])) is None
