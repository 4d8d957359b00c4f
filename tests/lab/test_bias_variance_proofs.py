"""The algebra of docs/lab/bias_variance.md, symbolically or on random instances."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import sympy as sp
from scipy.stats import norm

DRAW = np.random.default_rng(0)
INSTANCES = range(20)


def symbols(text: str, **assumptions: bool) -> list[sp.Symbol]:
    return list(sp.symbols(text, **(assumptions or {"real": True})))


# The decomposition


def test_the_squared_error_is_noise_bias_and_variance():
    p, w1, w2, *f = symbols("p w1 w2 f1 f2 f3")
    weights = (w1, w2, 1 - w1 - w2)  # of three training sets

    def mean(values):
        return sum(w * value for w, value in zip(weights, values, strict=True))

    error = mean([p * (1 - fd) ** 2 + (1 - p) * fd**2 for fd in f])
    centre = mean(f)
    parts = p * (1 - p) + (centre - p) ** 2 + mean([(fd - centre) ** 2 for fd in f])
    assert sp.expand(error - parts) == 0


def test_the_estimate_of_bias_is_unbiased():
    """Enumerate all samples of two predictions from three possible ones."""
    values, p = [Fraction(1, 7), Fraction(2, 3), Fraction(9, 10)], Fraction(1, 5)
    mean = sum(values) / 3
    variance = sum((v - mean) ** 2 for v in values) / 3
    samples = list(product(values, repeat=2))
    plain = sum(((a + b) / 2 - p) ** 2 for a, b in samples) / len(samples)
    spread = sum((a - b) ** 2 / 2 for a, b in samples) / len(samples)  # with R - 1 = 1 in its denominator
    assert spread == variance
    assert plain - spread / 2 == (mean - p) ** 2
    assert plain != (mean - p) ** 2


# Constrain


def test_shrinking_a_little_always_pays():
    s, c, v = symbols("s c v", positive=True)
    error = (1 - s) ** 2 * c**2 + s**2 * v
    assert sp.solve(sp.diff(error, s), s) == [c**2 / (c**2 + v)]
    assert sp.simplify(sp.diff(error, s, 2) - 2 * (c**2 + v)) == 0
    assert sp.diff(error, s).subs(s, 1) == 2 * v


def test_a_small_penalty_lowers_the_error_of_the_predictions():
    c, v, eigenvalue, mu = symbols("c v lambda mu", positive=True)
    s = eigenvalue / (eigenvalue + mu)
    error = eigenvalue * ((1 - s) ** 2 * c**2 + s**2 * v)
    assert sp.simplify(sp.diff(s, mu).subs(mu, 0) + 1 / eigenvalue) == 0
    assert sp.simplify(sp.diff(error, mu).subs(mu, 0) + 2 * v) == 0


def test_the_penalised_minimum_and_gradient_descent_shrink_by_the_factors():
    for _ in INSTANCES:
        X, y, mu = DRAW.normal(size=(12, 4)), DRAW.normal(size=12), DRAW.uniform(0.01, 2)
        hessian = X.T @ X / 12
        values, vectors = np.linalg.eigh(hessian)
        fit = vectors.T @ np.linalg.lstsq(X, y)[0]
        penalised = vectors.T @ np.linalg.solve(hessian + mu * np.eye(4), X.T @ y / 12)
        np.testing.assert_allclose(penalised, values / (values + mu) * fit)
        rate, beta = 1 / values[-1], np.zeros(4)
        for _step in range(9):
            beta = beta - rate * X.T @ (X @ beta - y) / 12
        np.testing.assert_allclose(vectors.T @ beta, (1 - (1 - rate * values) ** 9) * fit)


def test_least_squares_has_the_variance_by_direction():
    X = DRAW.normal(size=(12, 4))
    values, vectors = np.linalg.eigh(X.T @ X / 12)
    mapped = vectors.T @ np.linalg.pinv(X)
    np.testing.assert_allclose(mapped @ mapped.T, np.diag(1 / (12 * values)), atol=1e-12)
    np.testing.assert_allclose(mapped @ X @ vectors, np.eye(4), atol=1e-12)  # unbiased


def test_both_factors_grow_with_the_eigenvalue_and_agree_where_it_is_small():
    x, mu = symbols("x mu", positive=True)
    assert sp.simplify(sp.diff(x / (x + mu), x) - mu / (x + mu) ** 2) == 0
    rate, t = 0.1, 50
    small = np.array([1e-5, 1e-4])
    penalty = small / (small + 1 / (rate * t))
    np.testing.assert_allclose(1 - (1 - rate * small) ** t, penalty, rtol=1e-3)


def test_dropout_is_a_penalty_for_a_linear_model():
    """Average the loss over all masks of three inputs, symbolically."""
    q, y = symbols("q y")
    w, x = symbols("w1:4"), symbols("x1:4")
    expected: sp.Expr = sp.Integer(0)
    for mask in product((0, 1), repeat=3):
        score = sum(m * wj * xj / (1 - q) for m, wj, xj in zip(mask, w, x, strict=True))
        expected += q ** (3 - sum(mask)) * (1 - q) ** sum(mask) * (y - score) ** 2 / 2
    plain = (y - sum(wj * xj for wj, xj in zip(w, x, strict=True))) ** 2 / 2
    penalty = q / (2 * (1 - q)) * sum(wj**2 * xj**2 for wj, xj in zip(w, x, strict=True))
    assert sp.simplify(expected - plain - penalty) == 0


# Average


def test_the_variance_of_an_average():
    v, rho = symbols("v rho")
    for n in (1, 2, 5):
        covariance = sp.Matrix(n, n, lambda i, j: v if i == j else rho * v)
        ones = sp.ones(n, 1) / n
        assert sp.simplify((ones.T * covariance * ones)[0] - v * (rho + (1 - rho) / n)) == 0


def test_an_average_is_as_much_better_as_its_members_differ():
    p, *f = symbols("p f1 f2 f3 f4")
    mean = sum(f) / 4
    members = sum((fm - p) ** 2 for fm in f) / 4
    spread = sum((fm - mean) ** 2 for fm in f) / 4
    assert sp.expand((mean - p) ** 2 - members + spread) == 0


# Add data


def test_noise_on_the_features_is_a_penalty_to_leading_order():
    """Take f of two features up to second order: higher ones contribute to o(τ²)."""
    y, tau, *c = symbols("y tau c0 c1 c2 c3 c4 c5")
    d = symbols("d1 d2")

    def value(u, v):
        return c[0] + c[1] * u + c[2] * v + c[3] * u**2 + c[4] * u * v + c[5] * v**2

    loss = sp.Poly(sp.expand((value(*d) - y) ** 2), *d)
    moments = {0: 1, 1: 0, 2: tau**2, 3: 0, 4: 3 * tau**4}  # of a normal variable
    expected = sum(coefficient * moments[i] * moments[j] for (i, j), coefficient in loss.terms())
    slope, laplacian = c[1] ** 2 + c[2] ** 2, 2 * c[3] + 2 * c[5]
    claimed = (c[0] - y) ** 2 + tau**2 * (slope + (c[0] - y) * laplacian)
    assert sp.expand(expected - claimed).coeff(tau, 2) == 0
    assert sp.expand(expected - claimed).coeff(tau, 0) == 0


# The variance of the predictions


def instance(n: int, m: int):
    """Return Φ, features at points, label probabilities and A = φᵀΦ⁺ of a random instance."""
    inputs, points = DRAW.normal(size=(n, m)), DRAW.normal(size=(40, m))
    return inputs, points, DRAW.uniform(0.05, 0.95, n), points @ np.linalg.pinv(inputs)


@pytest.mark.parametrize(("n", "m"), [(8, 3), (6, 6), (5, 9)])
def test_the_variance_over_all_labels_is_the_trace(n, m):
    """Enumerate all labels of n rows with their probabilities."""
    inputs, points, p, mapped = instance(n, m)
    labels = np.array(list(product((0.0, 1.0), repeat=n)))
    weights = np.prod(np.where(labels == 1, p, 1 - p), axis=1)
    predicted = labels @ mapped.T
    mean = weights @ predicted
    variance = weights @ (predicted - mean) ** 2
    inverse, moment = np.linalg.pinv(inputs), points.T @ points / len(points)
    noise = np.diag(p * (1 - p))
    pointwise = [at @ inverse @ noise @ inverse.T @ at for at in points]
    np.testing.assert_allclose(variance, pointwise)
    assert variance.mean() == pytest.approx(np.trace(moment @ inverse @ noise @ inverse.T))
    truth = DRAW.uniform(size=len(points))
    assert (weights @ (predicted - truth) ** 2).mean() >= variance.mean()


@pytest.mark.parametrize(("n", "m"), [(20, 6), (12, 12), (10, 25)])
def test_the_variance_lies_between_its_bounds(n, m):
    for _ in INSTANCES:
        inputs, points, p, mapped = instance(n, m)
        variances = p * (1 - p)
        V = (mapped**2 @ variances).mean()
        moment = points.T @ points / len(points)
        _, values, right = np.linalg.svd(inputs, full_matrices=False)
        at_rows = ((inputs @ right.T) ** 2).mean(axis=0)
        ratios = np.diag(right @ moment @ right.T) / at_rows
        Q = ratios.sum() / n
        assert pytest.approx((np.diag(right @ moment @ right.T) / values**2).sum()) == Q
        assert variances.min() * Q <= V <= variances.max() * Q
        assert variances.min() / n * ratios[-1] <= V
        restricted = np.linalg.eigvalsh(right @ moment @ right.T)[0]
        assert restricted >= np.linalg.eigvalsh(moment)[0] - 1e-12
        assert variances.min() * restricted * (1 / values**2).sum() <= V


def test_a_penalty_bounds_the_amplification():
    sigma, n, mu = symbols("sigma n mu", positive=True)
    factor = sigma / (sigma**2 + n * mu)
    (best,) = sp.solve(sp.diff(factor, sigma), sigma)
    assert sp.simplify(factor.subs(sigma, best) - 1 / (2 * sp.sqrt(n * mu))) == 0


# The formula with a peak


def test_an_entry_of_the_inverse_is_one_over_a_squared_distance():
    for _ in INSTANCES:
        inputs = DRAW.normal(size=(9, 5))
        others, column = inputs[:, 1:], inputs[:, 0]
        residual = column - others @ np.linalg.lstsq(others, column)[0]
        assert np.linalg.inv(inputs.T @ inputs)[0, 0] == pytest.approx(1 / (residual @ residual))


def test_the_mean_of_one_over_chi_squared():
    k, z = symbols("k z", positive=True)
    for freedom in (3, 4, 7):
        density = z ** (sp.Rational(freedom, 2) - 1) * sp.exp(-z / 2)
        mean = sp.integrate(density / z, (z, 0, sp.oo)) / sp.integrate(density, (z, 0, sp.oo))
        assert sp.simplify(mean - sp.Rational(1, freedom - 2)) == 0
    ratio = sp.gamma(k / 2 - 1) / sp.gamma(k / 2) / 2
    assert sp.simplify(sp.gammasimp(ratio) - 1 / (k - 2)) == 0
    for freedom in (1, 2):
        # e^(-z/2) is at least e^(-1/2) up to 1, so that without it the integral is of the same kind.
        assert sp.integrate(z ** (sp.Rational(freedom, 2) - 2), (z, 0, 1)) == sp.oo


@pytest.mark.parametrize(("n", "m"), [(12, 4), (12, 8), (6, 12), (8, 20)])
def test_the_variance_of_gaussian_features(n, m):
    found = np.array([(np.linalg.pinv(DRAW.normal(size=(n, m))) ** 2).sum() for _ in range(4000)])
    formula = m / (n - m - 1) if m < n else n / (m - n - 1)
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - formula) < norm.isf(1e-5) * error
    assert error < 0.1 * formula


def test_it_rises_before_the_peak_and_falls_after_it():
    m, n = symbols("m n", positive=True)
    assert sp.simplify(sp.diff(m / (n - m - 1), m) - (n - 1) / (n - m - 1) ** 2) == 0
    assert sp.simplify(sp.diff(n / (m - n - 1), m) + n / (m - n - 1) ** 2) == 0
    # More rows lower the variance beyond the peak of the rows, and raise it before.
    assert sp.simplify(sp.diff(m / (n - m - 1), n) + m / (n - m - 1) ** 2) == 0
    assert sp.simplify(sp.diff(n / (m - n - 1), n) - (m - 1) / (m - n - 1) ** 2) == 0
