"""The trajectories and exact courses that the claims about many steps are checked on."""

import logging
from dataclasses import dataclass

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.convex import LeastSquares, Logistic, expected_excess, stationary
from sweepgrad.lab.convergence.descent import expected_course, plain
from sweepgrad.lab.convergence.neuron import Neuron
from sweepgrad.lab.convergence.trajectories import Course, descend
from sweepgrad.nn.schedules import InverseRoot

log = logging.getLogger(__name__)

DELAY = 10
"""Delay of the decaying rate, in steps."""


@dataclass(frozen=True)
class Exact:
    """The exact course of SGD on least squares, steps 1 to N, (N,) each.

    Attributes:
        excess: the mean excess loss after each step.
        variance: the mean variance of the gradient before it.
    """

    excess: Array
    variance: Array


@dataclass(frozen=True)
class Measured:
    """Hold the measurements; rates are shares of 1/K of their problem.

    Attributes:
        noisier, fitted: least squares with residuals that are twice as large, and with none.
        start: of all trajectories but those of the neuron, which start at `far`.
        rates: all constant rates; `covered` are those up to 1, `bounded` those of them at which the moments of SGD
            on least squares stay bounded.
        of_squares, of_logistic, of_neuron: trajectories by rate; of the neuron, |∇L|² is measured.
        of_noisier: at the smallest rate; `of_fitted`: at `fitted_rate`, a learning rate.
        decaying: the learning rate of each step; the first is the largest of `bounded`.
        exact, floors: by rate, on least squares. A floor is infinite if the moments grow without limit.
    """

    problem: LeastSquares
    logistic: Logistic
    noisier: LeastSquares
    fitted: LeastSquares
    neuron: Neuron
    batch_size: int
    start: Array
    far: Array
    rates: tuple[float, ...]
    of_squares: dict[float, Course]
    of_logistic: dict[float, Course]
    of_neuron: dict[float, Course]
    of_noisier: Course
    of_fitted: Course
    fitted_rate: float
    decaying: Array
    of_decaying: Course
    exact: dict[float, Exact]
    exact_decaying: Exact
    floors: dict[float, float]
    descent: Array

    @property
    def covered(self) -> list[float]:
        return [rate for rate in self.rates if rate <= 1]

    @property
    def bounded(self) -> list[float]:
        return [rate for rate in self.covered if np.isfinite(self.floors[rate])]

    @property
    def steps(self) -> Array:
        return np.arange(1.0, len(self.decaying) + 1)

    @property
    def distance(self) -> float:
        """The distance from the start to the optimum of least squares."""
        return float(np.linalg.norm(self.start - self.problem.optimum))


def floor(problem: LeastSquares, rate: float, batch_size: int) -> float:
    """Return the stationary excess loss at a rate in units of 1/K; infinite if the moments grow without limit."""
    moments = stationary(problem, rate / problem.K, batch_size)
    return np.inf if moments is None else expected_excess(problem, moments)


def measure(
    squares: LeastSquares,
    logistic: Logistic,
    rates: tuple[float, ...],
    *,
    batch_size: int,
    steps: int,
    trajectories: int,
    seed: int,
) -> Measured:
    """Run all trajectories, and compute the exact courses."""
    best = squares.X @ squares.optimum
    noisier, fitted = LeastSquares(squares.X, 2 * squares.y - best), LeastSquares(squares.X, best)
    neuron = Neuron(logistic.X, logistic.y)
    start, far = np.zeros(squares.X.shape[1]), -logistic.optimum
    floors = {rate: floor(squares, rate, batch_size) for rate in rates}
    covered = [rate for rate in rates if rate <= 1]
    first = max((rate for rate in covered if np.isfinite(floors[rate])), default=max(covered))
    decaying = first / squares.K * InverseRoot(DELAY).shares(np.arange(steps), steps, steps)
    fitted_rate = 1 / (2 * fitted.K_rows)
    log.info(f"{3 * len(rates) + 3} times {trajectories} trajectories of {steps:,} steps …")

    def course(
        problem: LeastSquares | Logistic | Neuron, rates: float | Array, purpose: int, start: Array = start
    ) -> Course:
        return descend(
            problem,
            np.broadcast_to(rates, steps),
            start=start,
            batch_size=batch_size,
            trajectories=trajectories,
            key=rng.key(seed, "lab/sgd", purpose),
            measure=problem.squared_gradient if isinstance(problem, Neuron) else None,
        )

    def exact(rates: Array) -> Exact:
        return Exact(*expected_course(squares, start, rates, batch_size))

    return Measured(
        problem=squares,
        logistic=logistic,
        noisier=noisier,
        fitted=fitted,
        neuron=neuron,
        batch_size=batch_size,
        start=start,
        far=far,
        rates=rates,
        of_squares={rate: course(squares, rate / squares.K, i) for i, rate in enumerate(rates)},
        of_logistic={rate: course(logistic, rate / logistic.K, 100 + i) for i, rate in enumerate(rates)},
        of_neuron={rate: course(neuron, rate / neuron.K, 400 + i, far) for i, rate in enumerate(covered)},
        of_noisier=course(noisier, min(rates) / squares.K, 200),
        of_fitted=course(fitted, fitted_rate, 500),
        fitted_rate=fitted_rate,
        decaying=decaying,
        of_decaying=course(squares, decaying, 300),
        exact={rate: exact(np.full(steps, rate / squares.K)) for rate in rates},
        exact_decaying=exact(decaying),
        floors=floors,
        descent=plain(squares, start, 1 / squares.K, steps),
    )
