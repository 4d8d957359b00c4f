"""The convergence of stochastic gradient descent: whether, how fast, and to what. docs/lab/sgd.md has the proofs."""

import logging
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator
from scipy.special import stdtrit

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.section import Section, Seed
from sweepgrad.lab.convergence.convex import (
    LeastSquares,
    Logistic,
    Problem,
    drawn,
    expected_excess,
    stationary,
)
from sweepgrad.lab.convergence.descent import (
    bound,
    counterexample,
    expected_change,
    expected_course,
    one_step_bound,
    plain,
    radius,
)
from sweepgrad.lab.convergence.pictures import of_bounds, of_floors
from sweepgrad.lab.convergence.trajectories import Course, descend
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.nn.schedules import InverseRoot

log = logging.getLogger(__name__)

DELAY = 10
"""Delay of the decaying rate, in steps."""
POINTS = 200
"""Number of points at which the one-step inequality is checked."""
MANY = 4.0
"""Standard errors by which a mean may deviate; the probability of more is 1 in 16,000."""


class Settings(Section):
    """The settings of `conf/experiment/lab/sgd.yaml`."""

    rows: Annotated[int, Field(ge=10)]
    features: Annotated[int, Field(ge=1)]
    noise: Annotated[float, Field(gt=0, le=1e6)]
    batch_size: Annotated[int, Field(ge=1)]
    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=2)]
    steps: Annotated[int, Field(ge=10)]
    seed: Seed

    @model_validator(mode="after")
    def _more_rows_than_weights(self) -> "Settings":
        if self.rows <= self.features + 1:
            raise ValueError(f"rows: must be more than the {self.features + 1} weights, or there is no noise")
        if len(set(self.rates)) < len(self.rates):
            raise ValueError(f"rates: repeats a value: {list(self.rates)}; give each once")
        return self


def answer(settings: Settings, lab: Lab) -> Finding:
    """Measure trajectories and compare them with the theorems."""
    squares, logistic = drawn(settings.rows, settings.features, settings.noise, settings.seed)
    noisier = LeastSquares(squares.X, squares.y + (squares.y - squares.X @ squares.optimum))
    d, B, N, T = settings.features + 1, settings.batch_size, settings.steps, settings.seeds
    start = np.zeros(d)
    n_courses = 2 * len(settings.rates) + 2
    log.info(f"{n_courses} times {T} trajectories of {N:,} steps …")

    def course(problem: Problem, shares: Array, purpose: int) -> Course:
        key = rng.key(settings.seed, "lab/sgd", purpose)
        return descend(problem, shares / problem.K, start=start, batch_size=B, trajectories=T, key=key)

    constant = {rate: np.full(N, rate) for rate in settings.rates}
    decaying = max(settings.rates) * InverseRoot(DELAY).shares(np.arange(N), N, N)
    of_squares = {rate: course(squares, shares, i) for i, (rate, shares) in enumerate(constant.items())}
    of_logistic = {
        rate: course(logistic, shares, 100 + i) for i, (rate, shares) in enumerate(constant.items())
    }
    smallest, largest = min(settings.rates), max(settings.rates)
    of_noisier, of_decaying = course(noisier, constant[smallest], 200), course(squares, decaying, 300)
    exact = {rate: expected_course(squares, start, each / squares.K, B) for rate, each in constant.items()}
    floors = {rate: _floor(squares, rate, B) for rate in settings.rates}
    bounded = {rate: course for rate, course in of_squares.items() if np.isfinite(floors[rate])}
    variances = {rate: float(exact[rate][1].max()) if rate in bounded else np.inf for rate in constant}

    claims = []
    if smallest <= 1:  # the theorems do not cover larger rates
        claims += [_one_step(squares, logistic, settings), _no_guarantee(settings)]
    claims.append(_in_expectation(squares, noisier, start, smallest, B))
    for rate, each in of_squares.items():
        claims.append(_under_the_bound("least squares", squares, start, rate, variances[rate], each))
    for rate, each in of_logistic.items():
        variance = logistic.variance / B
        claims.append(_under_the_bound("logistic regression", logistic, start, rate, variance, each))
    claims.append(_floors_by_rate(bounded, exact, floors))
    if smallest in bounded:
        claims.append(_floor_by_noise(of_squares[smallest], of_noisier, smallest))
    claims.append(_decaying(of_decaying, floors[largest], largest))
    claims.append(_gradient_descent(squares, logistic, start, floors, settings))
    late = {rate: f"{each.late.mean():.3g} ± {_error(each):.1g}" for rate, each in bounded.items()}
    rows = [[f"{rate:g}/K", _number(floors[rate]), late.get(rate, "—")] for rate in constant]
    header = ["least squares at rate", "exact floor", f"measured over steps {N // 2 + 1:,} to {N:,}"]
    return Finding(
        claims=tuple(claims),
        numbers={
            "least_squares/K": squares.K,
            "logistic/K": logistic.K,
            "trajectories": n_courses * T,
            **{f"floor/rate_{rate:g}": float(each.late.mean()) for rate, each in bounded.items()},
            "decaying/last": float(of_decaying.mean[-1]),
        },
        tables=(table(header, rows),),
        pictures={
            "sgd_bound": of_bounds(
                (("least squares", squares, of_squares), ("logistic regression", logistic, of_logistic)),
                start,
                {
                    "least squares": variances,
                    "logistic regression": dict.fromkeys(constant, logistic.variance / B),
                },
            ),
            "sgd_floor": of_floors(squares, start, of_squares, of_decaying, floors, B),
        },
    )


def _one_step(squares: LeastSquares, logistic: Logistic, settings: Settings) -> Claim:
    """Check the one-step inequality with batches of one row, whose expectation is a mean over n rows."""
    problems: tuple[Problem, ...] = (squares, logistic)
    tried, worst = 0, -np.inf
    for rate in (share for share in settings.rates if share <= 1):
        for problem in problems:
            alpha = rate / problem.K
            for point in range(POINTS):
                offset = rng.normal(rng.key(settings.seed, "lab/sgd/points", point), (settings.features + 1,))
                w = problem.optimum + offset * 10.0 ** (point % 5 - 3)
                after = problem.losses((w - alpha * problem.row_gradients(w)).T).mean()
                change = float(after - problem.losses(w[:, None])[0])
                allowed = one_step_bound(problem, w, alpha, 1)
                size = abs(allowed) + alpha / 2 * float((problem.row_gradients(w) ** 2).sum(axis=1).mean())
                worst, tried = max(worst, (change - allowed) / size), tried + 1
    return Claim(
        f"One step: at {tried:,} points, at distances of 10⁻³ to 10 from the optimum, the expected change of the loss in a step is at"
        " most -α/2 |∇L|² + Kα²/2 σ², for both problems and all rates up to 1/K.",
        # The losses nearly cancel, so their difference has fewer correct digits.
        tried > 0 and worst <= 1e-9,
    )


def _no_guarantee(settings: Settings) -> Claim:
    rates = [rate for rate in settings.rates if rate <= 1]
    keys = [rng.key(settings.seed, "lab/sgd/counterexample", i) for i in range(len(rates))]
    at_optimum = [counterexample(rate, 0.0, 1, key) for rate, key in zip(rates, keys, strict=True)]
    found = [counterexample(rate, 2.0, settings.steps, key) for rate, key in zip(rates, keys, strict=True)]
    shares = {rate: share for rate, share in zip(rates, found, strict=True) if share is not None}
    measured = ", ".join(f"{share:.0%} at {rate:g}/K" for rate, share in shares.items())
    return Claim(
        "No rate up to 1/K lowers the loss at every step: on ½ · mean((w ± 1)²) every step from the optimum raises the loss,"
        f" as do at least half of the steps from |w| < 1. Measured along trajectories: {measured or 'no step starts there'}.",
        bool(rates)
        and all(share == 1 for share in at_optimum)
        and all(share >= 0.5 - MANY * np.sqrt(0.25 / settings.steps) for share in shares.values()),
    )


def _in_expectation(
    squares: LeastSquares, noisier: LeastSquares, start: Array, rate: float, batch_size: int
) -> Claim:
    offset = start - squares.optimum
    direction = offset / np.linalg.norm(offset)
    alpha = rate / squares.K
    near, far = (radius(problem, direction, alpha, batch_size) for problem in (squares, noisier))
    if near is None or far is None:
        return Claim(
            f"At α = {rate:g}/K a step on a batch of {batch_size} lowers the expected loss nowhere: the variance"
            " grows with the distance as fast as the squared gradient.",
            False,
        )
    at_optimum = expected_change(squares, squares.optimum, alpha, batch_size)
    return Claim(
        f"The expected loss falls far from the optimum and rises near it: at {rate:g}/K, in the direction of the start (distance"
        f" {np.linalg.norm(offset):.2f}), the expected change is negative beyond a distance of {near:.4f} and positive below it,"
        f" {at_optimum:.2g} at w*. With residuals twice as large, so four times σ², that distance is {far / near:.6f} times as large.",
        # With residuals twice as large, all terms at twice the distance are four times as large.
        at_optimum > 0 and abs(far / near - 2) < 1e-6,
    )


def _under_the_bound(
    name: str, problem: Problem, start: Array, rate: float, variance: float, course: Course
) -> Claim:
    """Compare with the bound, using a confidence interval that holds for all N at once (Bonferroni)."""
    if rate > 1:
        at_end = f"{course.mean[-1]:.3g}" if np.isfinite(course.mean[-1]) else "infinite"
        return Claim(
            f"At α = {rate:g}/K, above 1/K, the theorem does not apply to {name}: the mean excess loss is {at_end} at the end.",
            False,
        )
    if not np.isfinite(variance):
        return Claim(
            f"At α = {rate:g}/K the gradient variance of {name} grows without limit, as single rows have more curvature than"
            " their mean: no σ² bounds it, and the theorem does not apply.",
            False,
        )
    N = len(course.mean)
    distance = float(np.linalg.norm(start - problem.optimum))
    limits = bound(distance, rate / problem.K, variance, np.arange(1.0, N + 1))
    z = float(stdtrit(course.trajectories - 1, 1 - 0.025 / N))
    on_average, at_last = (
        m + z * course.error(dev)
        for m, dev in ((course.running_mean, course.running_deviation), (course.mean, course.deviation))
    )
    of_average, of_last = float((on_average / limits).max()), float((at_last / limits).max())
    return Claim(
        f"{name.capitalize()} at {rate:g}/K, {course.trajectories} seeds: the mean excess loss of the first N iterates is below"
        f" the bound at every N up to {N:,}; its upper confidence limit is at most {of_average:.0%} of the bound. For the last"
        f" iterate, which the theorem does not cover, it is {of_last:.0%}.",
        of_average <= 1,
    )


def _floor(problem: LeastSquares, rate: float, batch_size: int) -> float:
    moments = stationary(problem, rate / problem.K, batch_size)
    return np.inf if moments is None else expected_excess(problem, moments)


def _floors_by_rate(
    courses: dict[float, Course], exact: dict[float, tuple[Array, Array]], floors: dict[float, float]
) -> Claim:
    if not courses:
        return Claim("Least squares has a noise floor at none of these rates.", False)
    deviation = max(_deviation(course, exact[rate][0]) for rate, course in courses.items())
    ordered = [floors[rate] for rate in sorted(courses)]
    ratios = ", ".join(f"{floors[rate] / rate:.3g} at {rate:g}/K" for rate in courses)
    return Claim(
        f"The noise floor grows with α: the exact stationary excess loss, divided by αK, is {ratios}; the measurements are"
        f" within {deviation:.1f} standard errors of it.",
        deviation <= MANY and ordered == sorted(ordered),
    )


def _floor_by_noise(usual: Course, noisier: Course, rate: float) -> Claim:
    ratio = float(noisier.late.mean() / usual.late.mean())
    # Relative errors of the two means add up, to first order.
    allowed = (
        MANY * ratio * np.hypot(_error(usual) / usual.late.mean(), _error(noisier) / noisier.late.mean())
    )
    return Claim(
        f"The noise floor grows with σ²: with residuals twice as large, it is {ratio:.2f} ± {allowed:.2f} times as high at"
        f" {rate:g}/K (expected: 4).",
        abs(ratio - 4) <= allowed,
    )


def _decaying(course: Course, floor: float, rate: float) -> Claim:
    reached = float(course.mean[-1] + MANY * course.error(course.deviation)[-1])
    return Claim(
        f"A decaying rate falls below the floor: {rate:g}/K · √({DELAY} / ({DELAY} + t)) reaches {course.mean[-1]:.3g}; the floor"
        f" of the constant rate {rate:g}/K is {_number(floor)}.",
        reached < floor,
    )


def _gradient_descent(
    squares: LeastSquares, logistic: Logistic, start: Array, floors: dict[float, float], settings: Settings
) -> Claim:
    problems: tuple[Problem, ...] = (squares, logistic)
    worst, last = 0.0, list[float]()
    for problem in problems:
        excess = plain(problem, start, 1 / problem.K, settings.steps)
        distance = float(np.linalg.norm(start - problem.optimum))
        limits = bound(distance, 1 / problem.K, 0.0, np.arange(1.0, settings.steps + 1))
        worst, last = max(worst, float((excess / limits).max())), [*last, float(excess[-1])]
    return Claim(
        f"Gradient descent on all rows has no floor: at 1/K the excess loss is at most {worst:.0%} of |w⁰ - w*|² / (2αN) at every"
        f" N, and at the end {last[0]:.0e} (least squares) and {max(last[1], 0):.0e} (logistic regression).",
        worst <= 1 and last[0] < min(floors.values()),
    )


def _deviation(course: Course, exact: Array) -> float:
    """Return the deviation of the late mean from its expectation, in standard errors."""
    expected = float(exact[len(exact) // 2 :].mean())
    return float(abs(course.late.mean() - expected) / _error(course))


def _error(course: Course) -> float:
    return float(course.late.std(ddof=1) / np.sqrt(course.trajectories))


def _number(x: float) -> str:
    return f"{x:.3g}" if np.isfinite(x) else "none: it grows without limit"
