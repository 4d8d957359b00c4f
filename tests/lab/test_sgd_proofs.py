"""The algebra of docs/lab/sgd.md, by SymPy or on random instances, and its counterexamples."""

from itertools import product

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad import rng
from sweepgrad.lab.convergence.bounds import (
    average_bound,
    best_rate,
    change_bound,
    expected_change_bound,
    fitted_bound,
    gradient_bound,
    linear_bound,
    sheet_bound,
    sufficient_square,
    weighted_bound,
)
from sweepgrad.lab.convergence.convex import LeastSquares
from sweepgrad.lab.convergence.descent import fitted_rows, log_cosh_gradient, step_changes
from sweepgrad.lab.convergence.neuron import CURVATURE, SLOPE, Neuron

SEEDS = st.integers(0, 10_000)
alpha, K, sigma2, square, product_, D, N, mu, excess = sp.symbols(
    "alpha K sigma2 square product D N mu excess", positive=True
)


def least_squares(seed: int, rows: int = 5, d: int = 2, noise: float = 1.0) -> LeastSquares:
    X = rng.normal(rng.key(seed, "test", 0), (rows, d))
    y = X @ rng.normal(rng.key(seed, "test", 1), (d,)) + noise * rng.normal(rng.key(seed, "test", 2), (rows,))
    return LeastSquares(X, y)


def point(seed: int, d: int = 2) -> np.ndarray:
    return 3 * rng.normal(rng.key(seed, "test", 3), (d,))


# 1(i)


def test_the_sheets_form_is_larger_by_half_the_product():
    gap = sheet_bound(product_, square, alpha, K) - change_bound(product_, square, alpha, K)
    assert sp.expand(gap - alpha / 2 * product_) == 0


def test_the_counterexample_of_the_sheets_form():
    half = sp.Rational(1, 2)
    loss = lambda w: w**2 / 2 + half  # noqa: E731
    v = sp.symbols("v")
    assert sp.expand(loss(v) - ((v - 1) ** 2 / 2 + (v + 1) ** 2 / 2) / 2) == 0
    w, rate = half, half
    row, full = w - 1, w
    after = loss(w - rate * row)
    assert after == sp.Rational(25, 32)  # 0.78125
    assert loss(w) + sheet_bound(row * full, row**2, rate, sp.S(1)) == sp.Rational(23, 32)  # 0.71875
    assert loss(w) + change_bound(row * full, row**2, rate, sp.S(1)) == after


def test_where_the_curvature_is_k_the_sheets_form_is_false_exactly_where_a_row_opposes_the_mean():
    w, a, step = sp.symbols("w a step", real=True)
    after = sp.Rational(1, 2) * (w - step * (w - a)) ** 2 - w**2 / 2
    one = sp.Integer(1)
    assert sp.expand(after - change_bound((w - a) * w, (w - a) ** 2, step, one)) == 0
    gap = sp.factor(after - sheet_bound((w - a) * w, (w - a) ** 2, step, one))
    assert sp.simplify(gap + step / 2 * (w - a) * w) == 0  # positive exactly if (w - a) w < 0


@given(SEEDS, st.floats(0.01, 5.0))
@settings(max_examples=50, deadline=None)
def test_the_one_step_inequality_holds_for_every_row_and_rate_and_the_sheets_form_in_the_mean(seed, share):
    problem, w = least_squares(seed), point(seed)
    rows, rate = problem.row_gradients(w), share / problem.K
    products, squares = rows @ rows.mean(axis=0), (rows**2).sum(axis=1)
    changes, rounding = step_changes(problem, w, rate), 1e-9 * (1 + rate**2 * squares * problem.K)
    assert (changes <= change_bound(products, squares, rate, problem.K) + rounding).all()
    assert products.mean() == pytest.approx((rows.mean(axis=0) ** 2).sum())
    sheet = sheet_bound(products, squares, rate, problem.K)
    assert changes.mean() <= sheet.mean() + rounding.mean()
    follows = products >= 0
    assert (changes[follows] <= (sheet + rounding)[follows]).all()


# 1(ii)


@given(st.floats(0.0, 0.999), st.floats(1e-3, 10.0))
def test_of_log_cosh_a_row_raises_the_loss_wherever_it_starts_inside_and_at_every_rate(w, rate):
    new = w - rate * log_cosh_gradient(w, 1.0)
    assert abs(new) > w
    if rate <= 1:
        assert new <= 1
        assert abs(w - rate * log_cosh_gradient(w, -1.0)) < 1


def test_log_cosh_has_bounded_gradients_and_curvature_at_most_1():
    w, h = np.linspace(-5, 5, 1001), 1e-6
    slopes = np.array([log_cosh_gradient(v, 1.0) for v in w])
    numeric = (np.log(np.cosh(w + h - 1)) - np.log(np.cosh(w - h - 1))) / (2 * h)
    np.testing.assert_allclose(slopes, numeric, atol=1e-8)
    assert np.abs(slopes).max() <= 1
    x = sp.symbols("x", real=True)
    curvature = sp.diff(sp.log(sp.cosh(x)), x, 2)
    assert sp.simplify(curvature - (1 - sp.tanh(x) ** 2)) == 0


def test_the_bound_is_positive_near_a_stationary_point():
    G, full = (
        4.0,
        np.linspace(0, 1, 11)[:-1] * 0.5 * 0.3 * 2.0,
    )  # less than α K √G / 2, with α = 0.3 and K = 1
    products = np.sqrt(G) * full  # the largest that Cauchy-Schwarz allows
    assert (change_bound(products, np.full(10, G), 0.3, 1.0) > 0).all()


def test_the_rows_that_theta_fits_exactly():
    problem, w = fitted_rows()
    rows = problem.row_gradients(w)
    np.testing.assert_allclose(problem.row_gradients(np.zeros(2)), 0)
    np.testing.assert_allclose(rows, [[0.1, 0], [-0.416, -0.312]])
    np.testing.assert_allclose(rows.mean(axis=0), [-0.158, -0.156])
    assert rows[0] @ rows.mean(axis=0) == pytest.approx(-0.0158)
    assert pytest.approx(0.9) == problem.K
    for share in np.geomspace(1e-4, 1e4, 50):
        assert step_changes(problem, w, share / problem.K)[0] > 0
    assert step_changes(problem, w, 0.5 / problem.K)[1] < 0
    assert step_changes(problem, w, 1 / problem.K)[1] > 0
    assert step_changes(problem, w, 1 / problem.K).mean() > 0


@given(SEEDS, st.floats(0.01, 1.0))
@settings(max_examples=50, deadline=None)
def test_if_all_rows_are_fitted_no_step_increases_the_distance(seed, share):
    problem, w = least_squares(seed, noise=0.0), point(seed)
    rate, optimum, rows = share / problem.K_rows, problem.optimum, problem.row_gradients(w)
    losses = 0.5 * (problem.X @ w - problem.y) ** 2
    assert ((rows**2).sum(axis=1) <= 2 * problem.K_rows * losses + 1e-9).all()
    after = ((w - rate * rows - optimum) ** 2).sum(axis=1)
    allowed = ((w - optimum) ** 2).sum() - 2 * rate * (1 - rate * problem.K_rows) * losses
    assert (after <= allowed + 1e-9).all()
    if share < 1:
        mean_loss, before = losses.mean(), ((w - optimum) ** 2).sum()
        assert mean_loss <= fitted_bound(np.sqrt(before), rate, problem.K_rows, np.array([1.0]))[0] + 1e-9


def test_the_bound_for_fitted_rows_is_the_telescoped_inequality():
    # 2α(1 - αK) times the sum of the excess losses is at most D².
    total = fitted_bound(D, alpha, K, N) * N * 2 * alpha * (1 - alpha * K)
    assert sp.simplify(total - D**2) == 0


# 1(iii)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_variance_formula(seed):
    g = rng.normal(rng.key(seed, "test"), (7, 3)) + 2
    mean = g.mean(axis=0)
    assert (g**2).sum(axis=1).mean() == pytest.approx(mean @ mean + ((g - mean) ** 2).sum(axis=1).mean())


def test_the_expected_change_from_the_mean_of_the_one_step_inequality():
    # E[gᵀ∇L] = |∇L|² and E|g|² = |∇L|² + σ².
    before_variance = change_bound(square, square + sigma2, alpha, K)
    assert sp.expand(before_variance + alpha * (1 - K * alpha / 2) * square - K * alpha**2 / 2 * sigma2) == 0
    slack = sp.factor(expected_change_bound(square, sigma2, alpha, K) - before_variance)
    assert sp.simplify(slack - alpha * square * (1 - K * alpha) / 2) == 0  # at least 0 for α ≤ 1/K
    at_threshold = sp.sympify(before_variance).subs(square, sufficient_square(sigma2, alpha, K))
    assert sp.simplify(at_threshold) == 0


def test_the_sheets_form_and_the_variance_formula_leave_nothing_at_one_over_k():
    mean = sheet_bound(square, square + sigma2, alpha, K)
    assert sp.expand(mean + alpha / 2 * (1 - K * alpha) * square - K * alpha**2 / 2 * sigma2) == 0


def test_noise_in_proportion_to_the_gradient_allows_descent_everywhere():
    rho = sp.symbols("rho", positive=True)
    change = change_bound(square, square + rho * square, alpha, K)
    assert sp.simplify(sp.sympify(change).subs(alpha, 2 / (K * (1 + rho)))) == 0


# 1(iv)


def test_the_gradients_cancel_in_the_proof_of_the_average_bound():
    gap, before, after = sp.symbols("gap D0 D1", real=True)
    # Solve D1 = D0 - 2α gap + α² (|∇|² + σ²) for the gap, and add the descent inequality.
    solved = sp.solve(before - 2 * alpha * gap + alpha**2 * (square + sigma2) - after, gap)[0]
    total = solved + expected_change_bound(square, sigma2, alpha, K)
    expected = (before - after) / (2 * alpha) + alpha / 2 * (1 + K * alpha) * sigma2
    assert sp.simplify(total - expected) == 0
    assert (
        sp.simplify(sp.sympify(expected).subs(K, 1 / alpha) - (before - after) / (2 * alpha) - alpha * sigma2)
        == 0
    )


def test_the_best_rate_makes_both_terms_equal():
    bound = average_bound(D, alpha, sigma2, N)
    best = D / sp.sqrt(2 * N * sigma2)
    assert sp.simplify(sp.diff(bound, alpha).subs(alpha, best)) == 0
    assert sp.simplify(sp.diff(bound, alpha, 2) - D**2 / (N * alpha**3)) == 0
    assert (
        sp.simplify(sp.sympify(bound).subs(alpha, best) - sp.sqrt(2) * sp.sqrt(sigma2) * D / sp.sqrt(N)) == 0
    )


@given(*[st.floats(0.1, 10.0)] * 3, st.integers(1, 10_000))
def test_no_allowed_rate_has_a_lower_bound_than_the_best(distance, variance, K, steps):
    rates = np.geomspace(1e-4, 1, 200) / K
    best = best_rate(distance, variance, K, steps)
    least = average_bound(distance, best, variance, np.array(float(steps)))
    assert best <= 1 / K
    assert least <= average_bound(distance, rates, variance, np.array(float(steps))).min() * (1 + 1e-12)
    if best == 1 / K:
        assert least <= K * distance**2 / steps * (1 + 1e-12)


@given(*[st.floats(0.1, 10.0)] * 3, st.floats(1e-3, 1.0), st.integers(3, 1000))
def test_steps_and_row_gradients_to_an_error(distance, variance, K, error, rows):
    rate = min(1 / K, error / (2 * variance))
    steps = max(K * distance**2 / error, 2 * distance**2 * variance / error**2)
    assert average_bound(distance, rate, variance, np.array(steps)) <= error * (1 + 1e-12)
    of_descent = K * distance**2 / (2 * error)
    assert average_bound(distance, 1 / K, 0.0, np.array(of_descent)) == pytest.approx(error)
    threshold = 4 * variance / (rows * K)
    if abs(error / threshold - 1) > 1e-9:
        assert (steps < rows * of_descent) == (error > threshold)


def test_the_average_bound_on_every_path_of_a_small_problem():
    """Go through all 3⁵ paths of five steps on three rows, so that expectations are exact."""
    problem = least_squares(4, rows=3)
    rate, start, optimum = 0.7 / problem.K, point(4), problem.optimum
    losses, gradients, variances = np.zeros(5), np.zeros(5), np.zeros(5)
    for path in product(range(3), repeat=5):
        w = start
        for t, row in enumerate(path):
            rows = problem.row_gradients(w)
            mean = rows.mean(axis=0)
            gradients[t] += mean @ mean / 3**5
            variances[t] += ((rows - mean) ** 2).sum(axis=1).mean() / 3**5
            w = w - rate * rows[row]
            losses[t] += problem.losses(w[:, None])[0] / 3**5
    N, sigma = np.arange(1.0, 6.0), variances.max()
    distance, at_start = float(np.linalg.norm(start - optimum)), float(problem.losses(start[:, None])[0])
    assert (np.cumsum(losses) / N <= average_bound(distance, rate, sigma, N)).all()
    np.testing.assert_allclose(
        weighted_bound(distance, np.full(5, rate), sigma), average_bound(distance, rate, sigma, N)
    )
    assert (np.cumsum(gradients) / N <= gradient_bound(at_start, rate, sigma, problem.K, N)).all()
    assert (losses <= linear_bound(at_start, rate, sigma, problem.K, problem.mu, N)).all()


def test_the_last_iterate_of_a_quadratic_with_noise_of_its_own():
    """Sum up the exact moments by eigenvalue, at random curvatures, starts and noise."""
    for seed in range(20):
        curvatures, starts, noise = (rng.uniform(rng.key(seed, "test", i), (4,)) for i in range(3))
        K, sigma, distance = curvatures.max(), noise.sum(), float(np.linalg.norm(starts))
        for rate in (0.1 / K, 0.7 / K, 1 / K):
            squares = starts**2
            for N in range(1, 200):
                squares = (1 - rate * curvatures) ** 2 * squares + rate**2 * noise
                bound = average_bound(distance, rate, sigma, np.array(float(N)))
                assert 0.5 * curvatures @ squares <= bound / 2 * (1 + 1e-12)
    x, n = sp.symbols("x n", positive=True)
    slope = sp.diff(x * (1 - x) ** (2 * n), x)
    assert sp.simplify(slope.subs(x, 1 / (2 * n + 1))) == 0
    assert sp.simplify(x / (1 - (1 - x) ** 2) - 1 / (2 - x)) == 0


# Beside it


def test_the_nonconvex_bound_is_the_telescoped_descent_inequality():
    # (α/2) Σ|∇|² ≤ L₀ - L* + N K α² σ²/2
    total = 2 / (alpha * N) * (excess + N * K * alpha**2 / 2 * sigma2)
    assert sp.expand(total - gradient_bound(excess, alpha, sigma2, K, N)) == 0


def test_the_linear_bound_is_a_fixed_inequality_of_the_recursion():
    # δ' = (1 - αμ) δ + K α² σ² / 2 maps the bound at N to at most the bound at N + 1: here exactly.
    bound = linear_bound(excess, alpha, sigma2, K, mu, N)
    moved = (1 - alpha * mu) * bound + K * alpha**2 / 2 * sigma2
    assert sp.simplify(moved - sp.sympify(bound).subs(N, N + 1)) == 0


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_strong_convexity_implies_the_polyak_lojasiewicz_condition(seed):
    problem, w = least_squares(seed), point(seed)
    gradient, loss = problem.row_gradients(w).mean(axis=0), problem.losses(w[:, None])[0]
    assert gradient @ gradient >= 2 * problem.mu * loss * (1 - 1e-9)
    assert gradient @ gradient <= 2 * problem.K * loss * (1 + 1e-9)
    x, y, g = sp.symbols("x y g", real=True)
    lowest = g * (y - x) + mu / 2 * (y - x) ** 2
    assert sp.simplify(lowest.subs(y, x - g / mu) + g**2 / (2 * mu)) == 0


def test_the_sums_of_inverse_root_rates():
    t = np.arange(10_000.0)
    rates, N = 0.3 / np.sqrt(t + 1), t + 1
    assert (np.cumsum(rates) >= 2 * 0.3 * (np.sqrt(N + 1) - 1) - 1e-9).all()
    assert (np.cumsum(rates**2) <= 0.3**2 * (1 + np.log(N)) + 1e-9).all()
    bounds = weighted_bound(2.0, rates, 4.0)
    assert bounds[-1] < bounds[99] < bounds[0]
    weights = np.cumsum(rates)
    expected = (4 + 2 * 4.0 * (rates[:3] ** 2).sum()) / (2 * rates[:3].sum())
    assert bounds[2] == pytest.approx(expected)
    assert weights[2] == pytest.approx(rates[:3].sum())


def test_the_constants_of_the_neuron():
    p, y = sp.symbols("p y", real=True)
    slope = p * (1 - p)
    derivative = (p - y) * slope
    assert derivative.subs({p: sp.Rational(2, 3), y: 0}) == sp.Rational(4, 27)
    z = np.linspace(-20, 20, 100_001)
    s = 1 / (1 + np.exp(-z))
    for label in (0.0, 1.0):
        assert np.abs((s - label) * s * (1 - s)).max() <= SLOPE + 1e-12
        second = (s * (1 - s)) ** 2 + (s - label) * s * (1 - s) * (1 - 2 * s)
        assert np.abs(second).max() <= CURVATURE
        np.testing.assert_allclose(second, np.gradient((s - label) * s * (1 - s), z), atol=1e-6)
    assert np.abs(s * (1 - s) * (1 - 2 * s)).max() == pytest.approx(1 / (6 * np.sqrt(3)), rel=1e-6)


def test_the_neuron_is_smooth_not_convex_and_differentiated_correctly():
    X = rng.normal(rng.key(0, "test", 5), (20, 2))
    neuron = Neuron(X, (X[:, 0] > 0).astype(float))
    lowest = []
    for seed in range(20):
        w, h = point(seed), 1e-5
        above, below = ((w + sign * h * np.eye(2)).T for sign in (1, -1))
        numeric = (neuron.losses(above) - neuron.losses(below)) / (2 * h)
        gradient = neuron.row_gradients(w).mean(axis=0)
        np.testing.assert_allclose(gradient, numeric, atol=1e-8)
        second = [
            (neuron.row_gradients(w + e).mean(axis=0) - neuron.row_gradients(w - e).mean(axis=0)) / (2 * h)
            for e in h * np.eye(2)
        ]
        np.testing.assert_allclose(neuron.hessian(w), second, atol=1e-8)
        values = np.linalg.eigvalsh(neuron.hessian(w))
        assert np.abs(values).max() <= neuron.K
        lowest.append(values[0])
        assert ((neuron.row_gradients(w) - gradient) ** 2).sum(axis=1).mean() <= neuron.variance
    assert min(lowest) < 0
