"""Bounds and exact results for SGD; docs/lab/sgd.md has the proofs."""

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


def bound(distance: float, rate: float, variance: float, steps: Array) -> Array:
    """Return |w⁰ - w*|² / (2 α N) + α σ² for each N.

    Arguments:
        distance: |w⁰ - w*|.
    """
    bounds: Array = distance**2 / (2 * rate * steps) + rate * variance
    return bounds


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


def one_step_bound(problem: Problem, w: Array, rate: float, batch_size: int) -> float:
    """Return the bound of the expected change of the loss for α ≤ 1/K: -α/2 |∇L|² + K α²/2 σ²(w)."""
    mean, _ = batch_moments(problem, w, batch_size)
    return float(-rate / 2 * (mean @ mean) + problem.K * rate**2 / 2 * variance_at(problem, w, batch_size))


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


def counterexample(rate: float, w: float, steps: int, key: int) -> float | None:
    """Return the share of steps that raise L(w) = ½ · mean((w - a)²) over a = -1, 1, if they start at |w| < 1.

    K is 1, so that α = `rate`, and w* is 0. None if no step starts there.

    Arguments:
        w: the start of the first step.
    """
    raised, inside = 0, 0
    for up in rng.uniform(key, (steps,)) < 0.5:
        new = w - rate * (w - (1 if up else -1))
        if abs(w) < 1:
            inside += 1
            raised += abs(new) > abs(w)
        w = new
    return raised / inside if inside else None


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
