"""Exact results for SGD and counterexamples; docs/lab/sgd.md has the proofs."""

import numpy as np
from scipy.optimize import brentq

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.convex import (
    LeastSquares,
    Moments,
    Problem,
    expected_excess,
    expected_step,
    expected_variance,
)


def batch_moments(problem: Problem, w: Array, batch_size: int) -> tuple[Array, Array]:
    """Return the exact mean of a batch's gradient g at w (d,), and that of g gᵀ, (d, d)."""
    rows = problem.row_gradients(w)
    mean = rows.mean(axis=0)
    square = rows.T @ rows / len(rows)
    return mean, square / batch_size + (1 - 1 / batch_size) * np.outer(mean, mean)


def variance_at(problem: Problem, w: Array, batch_size: int) -> float:
    """Return the variance of a batch's gradient at w: the mean of |g - ∇L|²."""
    mean, square = batch_moments(problem, w, batch_size)
    return float(np.trace(square) - mean @ mean)


def expected_change(problem: LeastSquares, w: Array, rate: float, batch_size: int) -> float:
    """Return the exact expected change of the loss in a step from w: -α |∇L|² + α²/2 E[gᵀHg]."""
    mean, square = batch_moments(problem, w, batch_size)
    return float(-rate * (mean @ mean) + rate**2 / 2 * np.trace(problem.hessian @ square))


def radius(problem: LeastSquares, direction: Array, rate: float, batch_size: int) -> float | None:
    """Return the distance from w*, along a direction, below which a step raises the expected loss.

    None if it raises the loss at any distance.
    """

    def change(distance: float) -> float:
        return expected_change(problem, problem.optimum + distance * direction, rate, batch_size)

    far = 1.0
    while change(far) >= 0:
        far *= 2
        if far > 1e6:
            return None
    return float(brentq(change, 0.0, far, xtol=1e-13 * far, rtol=1e-14))


def log_cosh_gradient(w: float, a: float) -> float:
    """Return the derivative of log cosh(w - a), which lies between -1 and 1."""
    return float(np.tanh(w - a))


def counterexample(rate: float, w: float, steps: int, key: int) -> float:
    """Return the share of steps that raise L(w) = mean of log cosh(w - a) over a = -1, 1.

    The gradients of the rows are bounded by 1, K is at most 1, w* is 0, and a step raises L if it raises |w|.

    Arguments:
        w: the start, |w| < 1; if the rate is at most 1, no step leaves this interval.
    """
    raised = 0
    for up in rng.uniform(key, (steps,)) < 0.5:
        new = w - rate * log_cosh_gradient(w, 1.0 if up else -1.0)
        raised += abs(new) > abs(w)
        w = new
    return raised / steps


def fitted_rows() -> tuple[LeastSquares, Array]:
    """Return two rows, (1, 0) and (0.8, 0.6), that w* = 0 fits, and the point (0.1, -1)."""
    return LeastSquares(np.array([[1.0, 0.0], [0.8, 0.6]]), np.zeros(2)), np.array([0.1, -1.0])


def step_changes(problem: Problem, w: Array, rate: float) -> Array:
    """Return the change of the loss in a step from w (d,) along each row's gradient, (n,)."""
    changes: Array = problem.losses((w - rate * problem.row_gradients(w)).T) - problem.losses(w[:, None])
    return changes


def expected_course(
    problem: LeastSquares, start: Array, rates: Array, batch_size: int
) -> tuple[Array, Array]:
    """Return the exact mean excess loss after each step and the mean gradient variance before it, (N,) each.

    If they grow without limit, they are infinite or NaN from some step on.
    """
    offset = start - problem.optimum
    moments, excess, variance = Moments(offset, np.outer(offset, offset)), [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for rate in rates:
            variance.append(expected_variance(problem, moments, batch_size))
            moments = expected_step(problem, moments, float(rate), batch_size)
            excess.append(expected_excess(problem, moments))
    return np.array(excess), np.array(variance)


def plain(problem: Problem, start: Array, rate: float, steps: int) -> Array:
    """Return the excess loss of gradient descent on all rows after each step, (N,)."""
    w, visited = start, []
    for _ in range(steps):
        w = w - rate * problem.row_gradients(w).mean(axis=0)
        visited.append(w)
    return problem.losses(np.stack(visited, axis=1))
