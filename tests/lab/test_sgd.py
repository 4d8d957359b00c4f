"""Convergence of SGD: constants, moments and trajectories against plain formulas; claims that can fail."""

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from sweepgrad import rng
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import settings
from sweepgrad.lab.convergence import descent, floors, many_steps, measurements, single_steps
from sweepgrad.lab.convergence.bounds import average_bound, change_bound, expected_change_bound
from sweepgrad.lab.convergence.convex import (
    LeastSquares,
    Moments,
    drawn,
    expected_excess,
    expected_step,
    expected_variance,
    stationary,
)
from sweepgrad.lab.convergence.descent import (
    batch_moments,
    counterexample,
    expected_change,
    expected_course,
    plain,
    radius,
    variance_at,
)
from sweepgrad.lab.convergence.neuron import Neuron
from sweepgrad.lab.convergence.trajectories import descend
from sweepgrad.lab.convergence.trajectories import drawn as rows_drawn
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding
from sweepgrad.lab.questions import sgd as module
from sweepgrad.lab.questions.sgd import answer
from sweepgrad.nn.schedules import InverseRoot

SQUARES, LOGISTIC = drawn(12, 2, 1.0, 3)
NEURON = Neuron(LOGISTIC.X, LOGISTIC.y)
LAB = Lab("sqlite:///unused")
W = np.array([0.7, -0.4, 0.2])


def small(**changed: object) -> module.Settings:
    _, section = settings("sgd", ["rows=40", "steps=100", "seeds=30", "rates=[1,0.25]"])
    assert isinstance(section, module.Settings)
    return section.model_copy(update=changed)


@cache
def unplanted() -> Finding:
    return answer(small(), LAB)


def claims(finding: Finding) -> dict[str, Claim]:
    return {claim.name: claim for claim in finding.claims}


def failed(finding: Finding) -> list[str]:
    return [claim.name for claim in finding.claims if not claim.holds]


# Problems


def test_least_squares_is_as_numpy_has_it():
    loss = lambda w: 0.5 * np.mean((SQUARES.X @ w - SQUARES.y) ** 2)  # noqa: E731
    assert pytest.approx(np.linalg.norm(SQUARES.X, 2) ** 2 / 12) == SQUARES.K
    best = minimize(loss, np.zeros(3), tol=1e-14)
    np.testing.assert_allclose(SQUARES.optimum, best.x, atol=1e-6)
    assert SQUARES.losses(W[:, None])[0] == pytest.approx(loss(W) - loss(SQUARES.optimum))
    numeric = [(loss(W + h) - loss(W - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(SQUARES.row_gradients(W).mean(axis=0), numeric, rtol=1e-7)


def test_logistic_regression_is_as_scikit_learn_has_it():
    theirs = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
    theirs.fit(LOGISTIC.X, LOGISTIC.y)
    np.testing.assert_allclose(LOGISTIC.optimum, theirs.coef_[0], rtol=1e-5)
    np.testing.assert_allclose(LOGISTIC.row_gradients(LOGISTIC.optimum).mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_constants_bound_what_they_should(scale):
    for point in range(20):
        w = scale * rng.normal(rng.key(0, "test", point), (3,))
        p = 1 / (1 + np.exp(-LOGISTIC.X @ w))
        hessian = (LOGISTIC.X.T * (p * (1 - p))) @ LOGISTIC.X / 12
        assert np.linalg.eigvalsh(hessian)[-1] <= LOGISTIC.K
        assert variance_at(LOGISTIC, w, 1) <= LOGISTIC.variance


def test_separable_classes_are_refused():
    with pytest.raises(UserError, match="linearly separable"):
        drawn(8, 6, 1.0, 0)


# One step, by going through all batches of two rows


def batches(w: np.ndarray) -> np.ndarray:
    """Return the gradient of each of the 144 batches of two rows."""
    rows = SQUARES.row_gradients(w)
    return np.array([(rows[i] + rows[j]) / 2 for i, j in product(range(12), repeat=2)])


def test_variance_and_expected_change_are_means_over_all_batches():
    gradients = batches(W)
    spread = ((gradients - gradients.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert variance_at(SQUARES, W, 2) == pytest.approx(spread)
    after = SQUARES.losses((W - 0.3 * gradients).T).mean() - SQUARES.losses(W[:, None])[0]
    assert expected_change(SQUARES, W, 0.3, 2) == pytest.approx(after)


def test_the_bound_of_the_expected_change_holds_and_is_met_where_it_is_tight():
    def bound(problem: LeastSquares, w: np.ndarray, alpha: float, batch_size: int) -> float:
        mean, _ = batch_moments(problem, w, batch_size)
        return expected_change_bound(
            float(mean @ mean), variance_at(problem, w, batch_size), alpha, problem.K
        )

    for rate in (0.1, 1.0):
        alpha = rate / SQUARES.K
        assert expected_change(SQUARES, W, alpha, 2) <= bound(SQUARES, W, alpha, 2)
    # One feature that is ±1 and noise: L is quadratic, K is its curvature, and at α = 1/K (5) and (6) agree.
    line = LeastSquares(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0]))
    w = np.array([0.8])
    assert expected_change(line, w, 1.0, 1) == pytest.approx(bound(line, w, 1.0, 1))


def test_the_sign_changes_at_the_radius():
    direction = np.array([1.0, 0.0, 0.0])
    r = radius(SQUARES, direction, 0.2 / SQUARES.K, 2)
    assert r is not None
    inside, outside = (
        expected_change(SQUARES, SQUARES.optimum + s * r * direction, 0.2 / SQUARES.K, 2)
        for s in (0.99, 1.01)
    )
    assert inside > 0 > outside
    assert radius(SQUARES, direction, 5 / SQUARES.K, 1) is None


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0])
def test_at_least_half_of_the_steps_of_the_counterexample_raise_the_loss(rate):
    assert counterexample(rate, 0.9, 10_000, rng.key(0, "test")) >= 0.5 - 4 * np.sqrt(0.25 / 10_000)
    assert counterexample(rate, 0.0, 1, rng.key(0, "test")) == 1


# Many steps


def test_moments_after_a_step_are_means_over_all_batches():
    points = np.array([W, -W, [0.0, 1.0, 0.5]]) + SQUARES.optimum
    apart = points - SQUARES.optimum
    before = Moments(apart.mean(axis=0), apart.T @ apart / 3)
    after = np.concatenate([w - 0.2 * batches(w) for w in points]) - SQUARES.optimum
    moments = expected_step(SQUARES, before, 0.2, 2)
    np.testing.assert_allclose(moments.mean, after.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(moments.second, after.T @ after / len(after), atol=1e-14)
    assert expected_excess(SQUARES, before) == pytest.approx(SQUARES.losses(points.T).mean())
    of_points = np.mean([variance_at(SQUARES, w, 2) for w in points])
    assert expected_variance(SQUARES, before, 2) == pytest.approx(of_points)


def test_what_is_stationary_stays():
    rate = 0.2 / SQUARES.K
    there = stationary(SQUARES, rate, 4)
    assert there is not None
    np.testing.assert_allclose(expected_step(SQUARES, there, rate, 4).second, there.second, rtol=1e-10)
    assert stationary(SQUARES, 2.5 / SQUARES.K, 4) is None


@pytest.mark.parametrize("problem", [SQUARES, LOGISTIC, NEURON], ids=["squares", "logistic", "neuron"])
@pytest.mark.parametrize("name", ["native", "numpy"])
def test_trajectories_are_those_of_a_plain_loop(problem, name):
    rates, key = np.array([0.3, 0.2, 0.4, 0.1]), rng.key(0, "test")
    course = descend(problem, rates, start=W, batch_size=2, trajectories=5, key=key, name=name)
    order = rows_drawn(key, 12, 4, 2, 5)
    excess = np.zeros((4, 5))
    for t in range(5):
        w = W
        for step, rate in enumerate(rates):
            w = w - rate * problem.row_gradients(w)[order[step, :, t]].mean(axis=0)
            excess[step, t] = problem.losses(w[:, None])[0]
    running = np.cumsum(excess, axis=0) / np.arange(1, 5)[:, None]
    np.testing.assert_allclose(course.mean, excess.mean(axis=1), rtol=1e-11)
    np.testing.assert_allclose(course.deviation, excess.std(axis=1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(course.running_mean, running.mean(axis=1), rtol=1e-11)
    np.testing.assert_allclose(course.running_deviation, running.std(axis=1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(course.late, excess[2:].mean(axis=0), rtol=1e-10)


def test_another_measure_is_collected_of_the_same_trajectories():
    key, measure = rng.key(0, "test"), NEURON.squared_gradient
    rates = np.full(6, 0.5)
    course = descend(NEURON, rates, start=W, batch_size=2, trajectories=4, key=key, measure=measure)
    order = rows_drawn(key, 12, 6, 2, 4)
    expected = np.zeros((6, 4))
    for t in range(4):
        w = W
        for step in range(6):
            w = w - 0.5 * NEURON.row_gradients(w)[order[step, :, t]].mean(axis=0)
            expected[step, t] = (NEURON.row_gradients(w).mean(axis=0) ** 2).sum()
    np.testing.assert_allclose(course.mean, expected.mean(axis=1), rtol=1e-10)


def test_rows_are_drawn_evenly_and_by_each_trajectory_for_itself():
    order = rows_drawn(rng.key(0, "test"), 12, 500, 4, 3)
    counts = np.stack([np.bincount(order[:, :, t].reshape(-1), minlength=12) for t in range(3)])
    # 2,000 draws of 12: each count is 167 with a standard deviation of 12.4.
    assert np.abs(counts - 2000 / 12).max() < 5 * 12.4
    assert (order[:, :, 0] == order[:, :, 1]).mean() < 0.2


def test_the_mean_course_is_the_expected_one():
    rates = np.full(30, 0.5 / SQUARES.K)
    expected, _ = expected_course(SQUARES, np.zeros(3), rates, 4)
    course = descend(
        SQUARES, rates, start=np.zeros(3), batch_size=4, trajectories=2000, key=rng.key(0, "test")
    )
    # Thirty means at once, each off by 5 standard errors once in two million.
    assert (np.abs(course.mean - expected) / course.error(course.deviation)).max() < 5


def test_gradient_descent_keeps_under_its_bound():
    excess = plain(LOGISTIC, np.zeros(3), 1 / LOGISTIC.K, 50)
    distance = float(np.linalg.norm(LOGISTIC.optimum))
    assert (excess <= average_bound(distance, 1 / LOGISTIC.K, 0.0, np.arange(1.0, 51))).all()
    assert (np.diff(excess) < 0).all()


# The answer


def test_it_answers():
    finding = unplanted()
    assert finding.holds, finding.markdown
    assert not finding.notes
    names = ("change", "cost", "bound_squares", "bound_logistic", "floor", "nonconvex")
    assert set(finding.pictures) == {f"sgd_{name}" for name in names}


def test_rates_above_one_over_k_are_noted_and_not_claimed():
    finding = answer(small(rates=(2.5, 0.25)), LAB)
    assert finding.holds, finding.markdown
    assert "α = 2.5/K is above 1/K" in finding.notes[0]
    assert not any("2.5/K" in claim.text + claim.measured for claim in finding.claims)
    assert "floor and rate" not in claims(finding)
    assert "2.5/K" not in finding.tables[0]


def test_without_a_rate_that_the_theorems_are_about_nothing_is_asked():
    with pytest.raises(ValidationError, match="no theorem applies"):
        module.Settings.model_validate(small().model_dump() | {"rates": (1.5,)})


def test_a_variance_that_grows_without_limit_is_noted():
    finding = answer(small(batch_size=1, rates=(1.0,)), LAB)
    assert any("no σ² bounds it" in note for note in finding.notes)
    assert not {"exact moments", "strong convexity", "decaying rate", "cost in row gradients"} & {
        *claims(finding)
    }
    assert finding.holds, finding.markdown


def test_a_start_that_is_not_forgotten_does_not_test_the_floor():
    finding = answer(small(steps=10), LAB)
    assert "floor and noise" not in claims(finding)
    assert any("has not reached the floor" in note for note in finding.notes)


# Planted errors: each makes its claim fail

Patch = pytest.MonkeyPatch


def scaled(module: object, name: str, factor: float) -> Callable[[Patch], None]:
    """Return a plant that multiplies what a function returns."""
    original = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *of: factor * original(*of))


def called(module: object, name: str, change: Callable[..., tuple[object, ...]]) -> Callable[[Patch], None]:
    """Return a plant that calls a function with other arguments."""
    original = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *of, **how: original(*change(*of), **how))


def other_row(patch: Patch) -> None:
    rows = LeastSquares(np.array([[1.0, 0.0], [0.8, -0.6]]), np.zeros(2))
    patch.setattr(single_steps, "fitted_rows", lambda: (rows, np.array([0.1, -1.0])))


def noise_of_its_own(patch: Patch) -> None:
    """Add noise to the gradient that does not depend on the residuals."""

    def moments(*of):
        mean, square = batch_moments(*of)
        return mean, square + 0.1 * np.eye(len(mean))

    patch.setattr(descent, "batch_moments", moments)


class TwiceMore(LeastSquares):
    """Least squares with residuals that are twice as large as those that are given."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        super().__init__(X, 2 * y - X @ np.linalg.lstsq(X, y)[0])


PLANTS: dict[str, Callable[[Patch], None]] = {
    "one step": called(single_steps, "change_bound", lambda p, s, a, K: (p, s, a, K / 2)),
    "sheet's inequality": lambda patch: patch.setattr(single_steps, "sheet_bound", change_bound),
    "sheet's inequality in expectation": called(
        single_steps, "sheet_bound", lambda p, s, a, K: (p, s, a, 0.0)
    ),
    "bounded gradients": lambda patch: patch.setattr(
        descent, "log_cosh_gradient", lambda w, a: float(np.tanh(w))
    ),
    "rows fitted exactly": other_row,
    "one step in expectation": called(
        single_steps, "expected_change_bound", lambda square, variance, a, K: (square, 0.0, a, K)
    ),
    "condition for descent": scaled(single_steps, "sufficient_square", 0.1),
    "descent away from the optimum": scaled(single_steps, "radius", 1.1),
    "distance and noise": noise_of_its_own,
    # The noise of the batches is forgotten.
    "bound of the average": called(many_steps, "average_bound", lambda D, a, sigma, N: (D, a, 0.0, N)),
    "last iterate": called(many_steps, "average_bound", lambda D, a, sigma, N: (D, a, 0.0, N)),
    "nonconvex bound": called(
        many_steps, "gradient_bound", lambda loss, a, sigma, K, N: (loss, a, 0.0, K, N)
    ),
    "no floor if all rows are fitted": lambda patch: patch.setattr(
        measurements, "descend", lambda problem, rates, **how: descend(problem, 0.05 * rates, **how)
    ),
    "strong convexity": called(
        many_steps, "linear_bound", lambda loss, a, sigma, K, mu, N: (loss, a, 0.0, K, mu, N)
    ),
    "weighted average": called(many_steps, "weighted_bound", lambda D, rates, sigma: (D, rates, 0.0)),
    "exact moments": lambda patch: patch.setattr(
        measurements, "descend", lambda problem, rates, **how: descend(problem, 1.5 * rates, **how)
    ),
    "floor and rate": called(
        measurements, "floor", lambda problem, rate, size: (problem, 0.5 - 0.25 * rate, size)
    ),
    "floor at a small rate": called(floors, "variance_at", lambda problem, w, size: (problem, w, 1)),
    "floor and noise": lambda patch: patch.setattr(measurements, "LeastSquares", TwiceMore),
    "decaying rate": lambda patch: patch.setattr(InverseRoot, "shares", lambda self, t, *of: np.ones(len(t))),
    "bound of gradient descent": called(
        many_steps, "plain", lambda problem, w, rate, steps: (problem, w, 2.5 * rate, steps)
    ),
    "cost in row gradients": called(
        measurements, "expected_course", lambda problem, w, rates, size: (problem, w, 0.01 * rates, size)
    ),
    "no floor of gradient descent": called(
        measurements, "plain", lambda problem, w, rate, steps: (problem, w, 0.01 * rate, steps)
    ),
}

SHOWN: dict[str, dict[str, object]] = {"nonconvex bound": {"steps": 1500}, "weighted average": {"noise": 3.0}}
"""Settings at which the start is forgotten, or small beside the noise: what is left are the terms of σ²."""


def test_every_claim_has_a_plant():
    assert set(PLANTS) == set(claims(unplanted()))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, monkeypatch):
    asked = small(**SHOWN.get(name, {}))
    assert claims(answer(asked, LAB) if name in SHOWN else unplanted())[name].holds
    PLANTS[name](monkeypatch)
    assert name in failed(answer(asked, LAB))
