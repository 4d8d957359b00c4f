"""Claims about a single step, parts (i) to (iii) of the question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.bounds import (
    change_bound,
    expected_change_bound,
    sheet_bound,
    sufficient_square,
)
from sweepgrad.lab.convergence.confidence import MANY
from sweepgrad.lab.convergence.convex import LeastSquares, Problem
from sweepgrad.lab.convergence.descent import (
    counterexample,
    expected_change,
    fitted_rows,
    radius,
    step_changes,
)
from sweepgrad.lab.finding import Claim

POINTS = 200
"""Number of points, at distances of 10⁻³ to 10 from the optimum, at which steps are tried."""
ROUNDING = 1e-9
"""Relative error of a difference of losses that nearly cancel."""
FAR = 4.0
"""Distances at which the sign of the expected change is checked are up to this multiple of that of the start."""


@dataclass(frozen=True)
class Steps:
    """The steps from a point along the gradient of each row, (n,) each.

    Attributes:
        change: of the loss.
        products: ∇Lᵢᵀ∇L.
        squares: |∇Lᵢ|².
        size: of the terms, to which rounding errors are relative.
    """

    change: Array
    products: Array
    squares: Array
    size: Array
    rate: float
    K: float

    @property
    def square(self) -> float:
        """The square of the full gradient, |∇L|²."""
        return float(self.products.mean())

    @property
    def variance(self) -> float:
        """The variance of the gradient of a row."""
        return float(self.squares.mean()) - self.square


def tried(problems: Sequence[Problem], rates: Sequence[float], seed: int) -> Iterator[Steps]:
    """Try steps along the gradient of each row from points around the optimum of each problem."""
    for problem in problems:
        optimum = problem.optimum
        for rate in rates:
            alpha = rate / problem.K
            for point in range(POINTS):
                offset = rng.normal(rng.key(seed, "lab/sgd/points", point), optimum.shape)
                w = optimum + offset * 10.0 ** (point % 5 - 3)
                rows = problem.row_gradients(w)
                mean, squares = rows.mean(axis=0), (rows**2).sum(axis=1)
                size = alpha * np.sqrt(squares) * np.linalg.norm(mean) + alpha**2 * problem.K * squares
                size += 1e-5 * (1 + problem.losses(w[:, None]))  # for differences of about a unit of rounding
                yield Steps(step_changes(problem, w, alpha), rows @ mean, squares, size, alpha, problem.K)


def single_step_claims(
    problems: Sequence[Problem], rates: Sequence[float], seed: int, steps: int
) -> tuple[list[Claim], list[str]]:
    """Check the inequalities at random points, and the counterexamples; claims and notes."""
    all_steps = list(tried(problems, rates, seed))
    claims = [
        _change(all_steps),
        _sheet(all_steps),
        _sheet_in_expectation(all_steps),
        _bounded_gradients(rates, seed, steps),
        _fitted_row(),
        _expected(all_steps),
    ]
    condition = _sufficient(all_steps)
    if condition is None:
        return claims, [
            "Kα σ² / (2 − Kα) exceeds |∇L|² at all points, so this condition for descent is not tested."
        ]
    return [*claims, condition], []


def _change(all_steps: list[Steps]) -> Claim:
    over = n = 0
    for each in all_steps:
        gap = each.change - change_bound(each.products, each.squares, each.rate, each.K)
        over, n = over + int((gap > ROUNDING * each.size).sum()), n + len(gap)
    return Claim(
        "one step",
        "For a step along the gradient of any row, L(θ⁺) ≤ L(θ) − α ∇Lᵢᵀ∇L + α²K/2 |∇Lᵢ|².",
        f"{over} of {n:,} steps are above the bound",
        over == 0,
    )


def _sheet(all_steps: list[Steps]) -> Claim:
    violated = unexpected = n = 0
    for each in all_steps:
        gap = each.change - sheet_bound(each.products, each.squares, each.rate, each.K)
        above = gap > ROUNDING * each.size
        violated, n = violated + int(above.sum()), n + len(above)
        unexpected += int((above & (each.products >= 0)).sum())
    return Claim(
        "sheet's inequality",
        "The sheet's inequality, with α/2 in place of α, is violated by some steps, and only by steps with ∇Lᵢᵀ∇L < 0.",
        f"violated by {violated:,} of {n:,} steps, {unexpected} of them with ∇Lᵢᵀ∇L ≥ 0",
        violated > 0 and unexpected == 0,
    )


def _sheet_in_expectation(all_steps: list[Steps]) -> Claim:
    over = 0
    for each in all_steps:
        limit = sheet_bound(each.products, each.squares, each.rate, each.K)
        over += float((each.change - limit).mean()) > ROUNDING * float(each.size.mean())
    return Claim(
        "sheet's inequality in expectation",
        "The mean over all rows satisfies the sheet's inequality at every point.",
        f"violated at {over} of {len(all_steps):,} points",
        over == 0,
    )


def _bounded_gradients(rates: Sequence[float], seed: int, steps: int) -> Claim:
    keys = [rng.key(seed, "lab/sgd/counterexample", i) for i in range(len(rates))]
    shares = [counterexample(rate, 0.0, steps, key) for rate, key in zip(rates, keys, strict=True)]
    error = np.sqrt(0.25 / steps)
    listed = ", ".join(f"{share:.0%} at α = {rate:g}" for rate, share in zip(rates, shares, strict=True))
    return Claim(
        "bounded gradients",
        "On the mean of log cosh(w ± 1), whose gradients are at most 1, at least half of the steps from |w| < 1 raise the loss"
        " at each rate.",
        f"raised by {listed}, of {steps:,} steps each (standard error at most {error:.1%})",
        all(share >= 0.5 - MANY * error for share in shares),
    )


def _fitted_row() -> Claim:
    problem, w = fitted_rows()
    shares = np.linspace(0.01, 1, 100)
    changes = np.array([step_changes(problem, w, share / problem.K)[0] for share in shares])
    return Claim(
        "rows fitted exactly",
        "With rows (1, 0) and (0.8, 0.6) that θ* fits exactly, a step on the first row from θ* + (0.1, −1) raises the loss at"
        " each of 100 rates from 0.01/K to 1/K.",
        f"raised at {(changes > 0).sum()} rates, by {changes.min():.2g} to {changes.max():.2g}",
        bool((changes > 0).all()),
    )


def _expected(all_steps: list[Steps]) -> Claim:
    over = 0
    for each in all_steps:
        limit = expected_change_bound(each.square, each.variance, each.rate, each.K)
        over += float(each.change.mean()) - limit > ROUNDING * float(each.size.mean())
    return Claim(
        "one step in expectation",
        "At every point the expected change of the loss is at most −α/2 |∇L|² + Kα²/2 σ².",
        f"violated at {over} of {len(all_steps):,} points",
        over == 0,
    )


def _sufficient(all_steps: list[Steps]) -> Claim | None:
    met = rises = other = 0
    for each in all_steps:
        raised = float(each.change.mean()) > ROUNDING * float(each.size.mean())
        if each.square >= sufficient_square(each.variance, each.rate, each.K):
            met, rises = met + 1, rises + raised
        else:
            other += raised
    if not met:
        return None
    return Claim(
        "condition for descent",
        "Where |∇L|² ≥ Kα σ² / (2 − Kα), a step does not raise the expected loss.",
        f"raised at {rises} of the {met:,} points where the condition is met, at {other:,} of the other"
        f" {len(all_steps) - met:,}",
        rises == 0,
    )


def radius_claims(
    problem: LeastSquares, noisier: LeastSquares, start: Array, rates: Sequence[float], batch_size: int
) -> tuple[list[Claim], list[str]]:
    """Compare the distances at which the expected change of the loss has its zero; claims and notes.

    Arguments:
        noisier: the same problem with residuals that are twice as large.
        start: gives the direction from the optimum.
    """
    offset = start - problem.optimum
    distance = float(np.linalg.norm(offset))
    direction = offset / distance
    near, doubled = dict[float, float](), dict[float, float]()
    notes, signs_agree = [], True
    for rate in rates:
        alpha = rate / problem.K
        found, found_noisier = (radius(each, direction, alpha, batch_size) for each in (problem, noisier))
        if found is None or found_noisier is None:
            notes.append(
                f"At α = {rate:g}/K a step on a batch of {batch_size} lowers the expected loss nowhere in the direction of the"
                " start: the variance grows with the distance as fast as the squared gradient."
            )
            continue
        near[rate], doubled[rate] = found, found_noisier / found
        for far in np.linspace(0, FAR * distance, 400):
            change = expected_change(problem, problem.optimum + far * direction, alpha, batch_size)
            signs_agree &= abs(far - found) < 1e-6 or (change > 0) == (far < found)
    if not near:
        return [], notes
    radii = ", ".join(f"{each:.3g} at {rate:g}/K" for rate, each in near.items())
    ratios = ", ".join(f"{each:.6f}" for each in doubled.values())
    return [
        Claim(
            "descent away from the optimum",
            "On least squares, in the direction of the start, the expected change of the loss is positive up to one distance from θ*"
            " and negative beyond it.",
            f"r = {radii}; the start is at {distance:.3g}",
            signs_agree,
        ),
        Claim(
            "distance and noise",
            "With residuals twice as large, so four times the variance at θ*, that distance is twice as large.",
            f"{ratios} times as large",
            all(abs(each - 2) < 1e-6 for each in doubled.values()),
        ),
    ], notes
