"""Claims about many steps, part (iv) of the question and the standard results beside it."""

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.bounds import (
    average_bound,
    fitted_bound,
    gradient_bound,
    linear_bound,
    weighted_bound,
)
from sweepgrad.lab.convergence.confidence import upper
from sweepgrad.lab.convergence.descent import plain
from sweepgrad.lab.convergence.measurements import Measured
from sweepgrad.lab.convergence.trajectories import Course
from sweepgrad.lab.finding import Claim


def average_shares(measured: Measured) -> dict[tuple[str, float], tuple[float, float]]:
    """Return the largest share of `average_bound` that the upper limits reach, by problem and rate.

    Returns:
        That of the mean over N iterates, and that of the last iterate.
    """
    shares = {}
    for name, problem, courses, rates in (
        ("least squares", measured.problem, measured.of_squares, measured.bounded),
        ("logistic regression", measured.logistic, measured.of_logistic, measured.covered),
    ):
        distance = float(np.linalg.norm(measured.start - problem.optimum))
        for rate in rates:
            course = courses[rate]
            limits = average_bound(distance, rate / problem.K, variance(measured, name, rate), measured.steps)
            of_average = upper(course.running_mean, course.running_deviation, course.trajectories)
            of_last = upper(course.mean, course.deviation, course.trajectories)
            shares[name, rate] = float((of_average / limits).max()), float((of_last / limits).max())
    return shares


def variance(measured: Measured, name: str, rate: float) -> float:
    """Return σ²: exact for least squares, the largest mean over the steps; the bound of logistic regression."""
    if name == "least squares":
        return float(measured.exact[rate].variance.max())
    return measured.logistic.variance / measured.batch_size


def bound_claims(measured: Measured, shares: dict[tuple[str, float], tuple[float, float]]) -> list[Claim]:
    """Check the bounds that were proved, with confidence limits that hold at every N."""
    claims = [
        Claim(
            "bound of the average",
            "For both problems, at each rate, the mean excess loss of the first N iterates is below |θ⁰ − θ*|²/(2αN) + ασ² at every N.",
            f"at most {max(share[0] for share in shares.values()):.0%} of the bound (table below)",
            all(share[0] <= 1 for share in shares.values()),
        ),
        Claim(
            "last iterate",
            "On these problems the excess loss of the last iterate, which the theorem does not cover, is below the same bound.",
            f"at most {max(share[1] for share in shares.values()):.0%} of the bound (table below)",
            all(share[1] <= 1 for share in shares.values()),
        ),
        _nonconvex(measured),
        _fitted(measured),
    ]
    if measured.bounded:
        claims += [_linear(measured), _weighted(measured)]
    return claims


def _nonconvex(measured: Measured) -> Claim:
    neuron, start, shares = measured.neuron, measured.far, dict[float, float]()
    loss, steps = float(neuron.losses(start[:, None])[0]), measured.steps
    for rate, course in measured.of_neuron.items():
        limits = upper(*points_before(measured, course), course.trajectories)
        bounds = gradient_bound(loss, rate / neuron.K, neuron.variance / measured.batch_size, neuron.K, steps)
        shares[rate] = float((limits / bounds).max())
    curvature = float(np.linalg.eigvalsh(neuron.hessian(start))[0])
    listed = ", ".join(f"{share:.0%} at {rate:g}/K" for rate, share in shares.items())
    return Claim(
        "nonconvex bound",
        "For a sigmoid neuron with squared error, which is not convex, the mean of |∇L|² over the first N points is below"
        " 2(L⁰ − L*)/(αN) + αKσ² at every N.",
        f"at most {listed} of the bound; smallest eigenvalue of the Hessian at the start {curvature:.2g}",
        curvature < 0 and all(share <= 1 for share in shares.values()),
    )


def points_before(measured: Measured, course: Course) -> tuple[Array, Array]:
    """Return mean and deviation of the average of |∇L|² over the points before the first N steps, (N,) each.

    The theorem is about these: the start, and all iterates but the last.
    """
    at_start = float((measured.neuron.row_gradients(measured.far).mean(axis=0) ** 2).sum())
    sums, deviations = (
        np.concatenate([[0.0], (measured.steps * of)[:-1]])
        for of in (course.running_mean, course.running_deviation)
    )
    return (at_start + sums) / measured.steps, deviations / measured.steps


def _fitted(measured: Measured) -> Claim:
    course, fitted = measured.of_fitted, measured.fitted
    distance = float(np.linalg.norm(measured.start - fitted.optimum))
    bounds = fitted_bound(distance, measured.fitted_rate, fitted.K_rows, measured.steps)
    limits = upper(course.running_mean, course.running_deviation, course.trajectories)
    share = float((limits / bounds).max())
    return Claim(
        "no floor if all rows are fitted",
        "On least squares without residuals, at the rate 1/(2K_r) with K_r the largest |xᵢ|², the mean excess loss of the first N"
        " iterates is below 2K_r |θ⁰ − θ*|²/N at every N.",
        f"at most {share:.0%} of the bound; the last iterate at {course.mean[-1]:.1g}",
        share <= 1,
    )


def _linear(measured: Measured) -> Claim:
    problem, shares = measured.problem, dict[float, float]()
    excess = float(problem.losses(measured.start[:, None])[0])
    for rate in measured.bounded:
        exact = measured.exact[rate]
        bounds = linear_bound(
            excess, rate / problem.K, float(exact.variance.max()), problem.K, problem.mu, measured.steps
        )
        shares[rate] = float((exact.excess / bounds).max())
    listed = ", ".join(f"{share:.0%} at {rate:g}/K" for rate, share in shares.items())
    return Claim(
        "strong convexity",
        "On least squares the exact mean excess loss of the last iterate is below (1 − αμ)ᴺ (L⁰ − L*) + αKσ²/(2μ) at every N.",
        f"at most {listed} of the bound; K/μ = {problem.K / problem.mu:.3g}",
        all(share <= 1 for share in shares.values()),
    )


def _weighted(measured: Measured) -> Claim:
    exact, rates = measured.exact_decaying, measured.decaying
    mean = np.cumsum(rates * exact.excess) / np.cumsum(rates)
    share = float((mean / weighted_bound(measured.distance, rates, float(exact.variance.max()))).max())
    return Claim(
        "weighted average",
        "On least squares with a rate that decays as 1/√t, the exact mean excess loss weighted by αₜ is below"
        " (|θ⁰ − θ*|² + 2σ² Σαₜ²)/(2 Σαₜ) at every N.",
        f"at most {share:.0%} of the bound",
        share <= 1,
    )


def descent_claims(measured: Measured) -> list[Claim]:
    """Compare gradient descent on all rows with its bound and with SGD."""
    problems = (measured.problem, measured.logistic)
    shares = []
    for problem in problems:
        excess = plain(problem, measured.start, 1 / problem.K, len(measured.steps))
        distance = float(np.linalg.norm(measured.start - problem.optimum))
        bounds = average_bound(distance, 1 / problem.K, 0.0, measured.steps)
        shares.append(float((excess / bounds).max()))
    claims = [
        Claim(
            "bound of gradient descent",
            "With all rows at 1/K, the excess loss of the last iterate is below |θ⁰ − θ*|²/(2αN) at every N, for both problems.",
            f"at most {max(shares):.0%} of the bound",
            max(shares) <= 1,
        )
    ]
    if measured.bounded:
        claims += [_cost(measured), _no_floor(measured)]
    return claims


def _cost(measured: Measured) -> Claim:
    n, level = len(measured.problem.y), float(measured.problem.losses(measured.start[:, None])[0]) / 10
    costs = {
        rate: measured.batch_size * _first(measured.exact[rate].excess, level) for rate in measured.bounded
    }
    rate = min(costs, key=costs.__getitem__)
    of_descent = n * _first(measured.descent, level)
    return Claim(
        "cost in row gradients",
        "On least squares, at the best of the rates, SGD takes fewer row gradients than gradient descent to fall to a tenth of"
        " the excess loss of the start.",
        f"{costs[rate]:,.0f} at {rate:g}/K, in the exact mean, against {of_descent:,.0f}",
        costs[rate] < of_descent,
    )


def _first(excess: Array, level: float) -> float:
    """Return the first step after which the excess loss is at most `level`; infinite if there is none."""
    below = excess <= level
    return int(below.argmax()) + 1 if below.any() else np.inf


def _no_floor(measured: Measured) -> Claim:
    rate = min(measured.bounded)
    steps = max(len(measured.steps) * measured.batch_size // len(measured.problem.y), 1)
    last = max(float(measured.descent[steps - 1]), 0.0)
    return Claim(
        "no floor of gradient descent",
        f"On least squares, with as many row gradients as SGD, gradient descent falls below the noise floor of {rate:g}/K.",
        f"{last:.1g} after {steps:,} steps; the floor is {measured.floors[rate]:.3g}",
        last < measured.floors[rate],
    )
