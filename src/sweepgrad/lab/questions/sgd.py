"""The convergence of stochastic gradient descent: whether, how fast, and to what. docs/lab/sgd.md has the proofs."""

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from sweepgrad.config.section import Section, Seed
from sweepgrad.lab.convergence.confidence import late_error
from sweepgrad.lab.convergence.convex import drawn
from sweepgrad.lab.convergence.floors import floor_claims
from sweepgrad.lab.convergence.many_steps import average_shares, bound_claims, descent_claims
from sweepgrad.lab.convergence.measurements import Measured, measure
from sweepgrad.lab.convergence.pictures import pictures
from sweepgrad.lab.convergence.single_steps import radius_claims, single_step_claims
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding, table

MOST_ROWS_DRAWN = 50_000_000
MOST_LOSSES = 20_000_000
MOST_FEATURES = 3_000_000
"""The largest arrays: rows drawn by all trajectories of a rate, losses of all rows after each step, and features in
a step of all trajectories."""


class Settings(Section):
    """The settings of `conf/experiment/lab/sgd.yaml`."""

    rows: Annotated[int, Field(ge=10, le=10_000)]
    features: Annotated[int, Field(ge=1, le=100)]
    noise: Annotated[float, Field(gt=0, le=1e6)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=20)]
    seeds: Annotated[int, Field(ge=2, le=10_000)]
    steps: Annotated[int, Field(ge=10, le=100_000)]
    seed: Seed

    @model_validator(mode="after")
    def _fits_into_memory(self) -> "Settings":
        in_a_step = self.batch_size * self.seeds
        sizes = {
            "steps: steps x batch_size x seeds": (self.steps * in_a_step, MOST_ROWS_DRAWN),
            "steps: steps x rows": (self.steps * self.rows, MOST_LOSSES),
            "seeds: features x batch_size x seeds": (self.features * in_a_step, MOST_FEATURES),
        }
        for what, (size, most) in sizes.items():
            if size > most:
                raise ValueError(
                    f"{what} is {size:,}, more than {most:,}, which needs too much memory; lower one"
                )
        return self

    @model_validator(mode="after")
    def _more_rows_than_weights(self) -> "Settings":
        if self.rows <= self.features + 1:
            raise ValueError(f"rows: must be more than the {self.features + 1} weights, or there is no noise")
        if self.batch_size > self.rows:
            raise ValueError(
                f"batch_size: {self.batch_size} should be at most the number of rows, {self.rows}"
            )
        if len(set(self.rates)) < len(self.rates):
            raise ValueError(f"rates: repeats a value: {list(self.rates)}; give each once")
        if min(self.rates) > 1:
            raise ValueError(f"rates: none of {list(self.rates)} is at most 1 (1/K), so no theorem applies")
        return self


def answer(settings: Settings, lab: Lab) -> Finding:
    """Try single steps, measure trajectories, and compare both with the theorems."""
    squares, logistic = drawn(settings.rows, settings.features, settings.noise, settings.seed)
    measured = measure(
        squares,
        logistic,
        settings.rates,
        batch_size=settings.batch_size,
        steps=settings.steps,
        trajectories=settings.seeds,
        seed=settings.seed,
    )
    single, single_notes = single_step_claims(
        (squares, logistic), measured.covered, settings.seed, settings.steps
    )
    radii, radius_notes = radius_claims(
        squares, measured.noisier, measured.start, measured.covered, settings.batch_size
    )
    shares = average_shares(measured)
    floors, floor_notes = floor_claims(measured)
    return Finding(
        claims=(*single, *radii, *bound_claims(measured, shares), *floors, *descent_claims(measured)),
        numbers={
            "least_squares/K": squares.K,
            "least_squares/mu": squares.mu,
            "logistic/K": logistic.K,
            "neuron/K": measured.neuron.K,
            **{f"floor/rate_{rate:g}": measured.floors[rate] for rate in settings.rates},
            "decaying/last": float(measured.of_decaying.mean[-1]),
        },
        tables=(_table(measured, shares),),
        notes=(*_uncovered(measured), *single_notes, *radius_notes, *floor_notes),
        pictures=pictures(measured),
    )


def _uncovered(measured: Measured) -> list[str]:
    """Return a sentence for each rate at which the theorems do not apply."""
    notes = []
    for rate in measured.rates:
        if rate > 1:
            ends = [courses[rate].mean[-1] for courses in (measured.of_squares, measured.of_logistic)]
            squares, logistic = (f"{end:.3g}" if np.isfinite(end) else "infinite" for end in ends)
            notes.append(
                f"α = {rate:g}/K is above 1/K, so the theorems do not apply; at the end the mean excess loss is {squares}"
                f" (least squares) and {logistic} (logistic regression)."
            )
        elif rate not in measured.bounded:
            notes.append(
                f"At α = {rate:g}/K the gradient variance of least squares grows without limit, as single rows have more"
                " curvature than their mean: no σ² bounds it, and the theorems about many steps do not apply."
            )
    return notes


def _table(measured: Measured, shares: dict[tuple[str, float], tuple[float, float]]) -> str:
    """Return the shares of the bound, and the floors, by problem and rate."""
    rows = []
    for (name, rate), (of_average, of_last) in shares.items():
        floor, late = "", ""
        if name == "least squares":
            course = measured.of_squares[rate]
            floor, late = (
                f"{measured.floors[rate]:.3g}",
                f"{course.late.mean():.3g} ± {late_error(course):.1g}",
            )
        rows.append([f"{name}, {rate:g}/K", f"{of_average:.0%}", f"{of_last:.0%}", floor, late])
    header = ["problem, α", "average / bound", "last iterate / bound", "exact floor", "measured (± 1 s.e.)"]
    return table(header, rows)
