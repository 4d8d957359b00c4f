"""Claims about the noise floor of a constant rate on least squares."""

from itertools import pairwise

import numpy as np

from sweepgrad.lab.convergence.confidence import MANY, late_error
from sweepgrad.lab.convergence.descent import variance_at
from sweepgrad.lab.convergence.measurements import DELAY, Measured, floor
from sweepgrad.lab.finding import Claim

TINY = 1e-4
"""A rate, in units of 1/K, at which the floor is proportional to it."""


def floor_claims(measured: Measured) -> tuple[list[Claim], list[str]]:
    """Compare measured floors with exact ones, and exact ones with each other; claims and notes."""
    if not measured.bounded:
        return [], ["Least squares has a noise floor at none of these rates."]
    claims, notes = [_exact(measured)], []
    if len(measured.bounded) > 1:
        claims.append(_by_rate(measured))
    else:
        notes.append("How the floor depends on α is not tested, as there is one at a single rate only.")
    claims.append(_proportional(measured))
    smallest = min(measured.rates)
    if smallest in measured.bounded and _forgotten(measured, smallest):
        claims.append(_by_noise(measured))
    else:
        notes.append(
            f"How the floor depends on the noise is not tested: at {smallest:g}/K the mean excess loss has not reached the"
            " floor in the first half of the steps."
        )
    claims.append(_decaying(measured))
    return claims, notes


def _forgotten(measured: Measured, rate: float) -> bool:
    """Return whether the exact mean excess loss is at the floor, to within 1 %, after half of the steps."""
    excess = measured.exact[rate].excess
    return abs(float(excess[len(excess) // 2]) / measured.floors[rate] - 1) < 0.01


def _exact(measured: Measured) -> Claim:
    deviations = {}
    for rate in measured.bounded:
        course, expected = measured.of_squares[rate], measured.exact[rate].excess
        expected_late = float(expected[len(expected) // 2 :].mean())
        deviations[rate] = abs(float(course.late.mean()) - expected_late) / late_error(course)
    listed = ", ".join(f"{deviation:.1f} at {rate:g}/K" for rate, deviation in deviations.items())
    return Claim(
        "exact moments",
        "On least squares the mean excess loss over the second half of the steps is the one that the recursion of the moments gives.",
        f"standard errors apart: {listed} ({MANY:g} are accepted)",
        all(deviation <= MANY for deviation in deviations.values()),
    )


def _by_rate(measured: Measured) -> Claim:
    rates = sorted(measured.bounded)
    floors = [measured.floors[rate] for rate in rates]
    return Claim(
        "floor and rate",
        "The exact noise floor is higher at each higher rate.",
        ", ".join(f"{each:.3g} at {rate:g}/K" for rate, each in zip(rates, floors, strict=True)),
        all(low < high for low, high in pairwise(floors)),
    )


def _proportional(measured: Measured) -> Claim:
    problem, size = measured.problem, measured.batch_size
    noise = variance_at(problem, problem.optimum, size)
    share = floor(problem, TINY, size) / (TINY / problem.K * noise)
    return Claim(
        "floor at a small rate",
        f"At the rate {TINY:g}/K the exact floor is a quarter of ασ²(θ*), to within 1 %.",
        f"{share:.4f} ασ²(θ*)",
        abs(share - 0.25) < 0.0025,
    )


def _by_noise(measured: Measured) -> Claim:
    rate = min(measured.rates)
    usual, noisier = measured.of_squares[rate], measured.of_noisier
    ratio = float(noisier.late.mean() / usual.late.mean())
    # Relative errors of independent means add up in squares, to first order.
    relative = np.hypot(late_error(usual) / usual.late.mean(), late_error(noisier) / noisier.late.mean())
    return Claim(
        "floor and noise",
        "With residuals twice as large, so four times the variance, the mean excess loss over the second half of the steps is four"
        f" times as high at {rate:g}/K.",
        f"{ratio:.2f} ± {ratio * relative:.2f} (standard error) times as high",
        abs(ratio - 4) <= MANY * ratio * relative,
    )


def _decaying(measured: Measured) -> Claim:
    course, rate = measured.of_decaying, max(measured.bounded)
    last, deviation = float(course.mean[-1]), float(course.error(course.deviation)[-1])
    return Claim(
        "decaying rate",
        f"The rate {rate:g}/K · √({DELAY} / ({DELAY} + t)) ends below the floor of the constant rate {rate:g}/K.",
        f"{last:.2g} ± {deviation:.1g} (standard error); the floor is {measured.floors[rate]:.3g}",
        last + MANY * deviation < measured.floors[rate],
    )
