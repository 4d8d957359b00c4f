"""Many trajectories of SGD at once: one tape whose weights are a matrix with a column per trajectory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweepgrad import engine, rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.engine.recorder import record
from sweepgrad.engine.tape import Tape
from sweepgrad.lab.convergence.convex import Problem
from sweepgrad.lab.convergence.neuron import Neuron


@dataclass(frozen=True)
class Course:
    """The excess loss L(w) - L(w*), or another measure, of T trajectories; arrays have the steps 1 to N, (N,).

    Attributes:
        mean, deviation: mean and standard deviation of the excess loss over trajectories, after each step.
        running_mean, running_deviation: the same for the average excess loss of a trajectory up to each step.
        late: the mean excess loss of each trajectory over the second half of the steps, (T,).
        trajectories: T.
    """

    mean: Array
    deviation: Array
    running_mean: Array
    running_deviation: Array
    late: Array
    trajectories: int

    def error(self, deviation: Array) -> Array:
        """Return the standard error of a mean over trajectories."""
        error: Array = deviation / np.sqrt(self.trajectories)
        return error


def descend(
    problem: Problem | Neuron,
    rates: Array,
    *,
    start: Array,
    batch_size: int,
    trajectories: int,
    key: int,
    measure: Callable[[Value], Value] | None = None,
    name: engine.Name = "native",
) -> Course:
    """Run SGD from `start` (d,) with batches drawn with replacement, independently for each trajectory.

    Arguments:
        rates: the learning rate of each step, (N,).
        key: random key, from `rng.key`; trajectory t uses `rng.fold(key, t)`.
        measure: what is collected of the weights (d, T), (T,); the excess loss by default.
        name: of the engine.
    """
    tape = _tape(problem, batch_size, trajectories, measure or problem.excess)
    buffer = np.zeros(tape.length)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    tape.inputs["weights"].of(buffer)[...] = start[:, None]
    total = tape.inputs["total"].of(buffer)
    steps, half = len(rates), len(rates) // 2
    order = drawn(key, len(problem.y), steps, batch_size, trajectories)
    replay, at_half = engine.load(name), total
    collected = []
    for first, last in ((0, half), (half, steps)):
        scalars = np.stack([rates[first:last], np.arange(first + 1, last + 1)], axis=1)
        rows = order[first:last].reshape(-1)
        _, numbers = replay(tape, buffer, problem.X, problem.y.reshape(-1, 1), rows, scalars, key, first + 1)
        collected.append(numbers)
        if first == 0:
            at_half = total.copy()
    mean, square, running, running_square = np.concatenate(collected).T
    return Course(
        mean,
        _deviation(mean, square, trajectories),
        running,
        _deviation(running, running_square, trajectories),
        (total - at_half) / (steps - half),
        trajectories,
    )


def drawn(key: int, rows: int, steps: int, batch_size: int, trajectories: int) -> NDArray[np.int64]:
    """Return the rows of each step, (steps, batch_size, trajectories)."""
    of_each = [
        np.floor(rows * rng.uniform(rng.fold(key, t), (steps, batch_size))).astype(np.int64)
        for t in range(trajectories)
    ]
    return np.stack(of_each, axis=2)


def _tape(
    problem: Problem | Neuron, batch_size: int, trajectories: int, measure: Callable[[Value], Value]
) -> Tape:
    """Record a step of all trajectories that collects mean and mean square of the excess and its running mean."""
    d = problem.X.shape[1]
    shape = (batch_size, trajectories)
    features = Value(np.zeros((d, batch_size * trajectories)), "features")
    targets = Value(np.zeros((1, batch_size * trajectories)), "targets")
    rate, step = Value(0.5, "rate"), Value(1.0, "step")
    w, total = Value(np.zeros((d, trajectories)), "weights"), Value(np.zeros(trajectories), "total")
    x = features.reshape(d, *shape)
    scores = (x * w.reshape(d, 1, trajectories)).sum(axis=0)
    errors = problem.errors(scores, targets.reshape(*shape))
    gradient = (x * errors.reshape(1, *shape)).mean(axis=1)
    new = w - rate * gradient
    excess = measure(new)
    new_total = total + excess
    running = new_total / step
    return record(
        features=features,
        targets=targets,
        carried=[(w, new), (total, new_total)],
        scalars=[rate, step],
        collected=[part.mean() for each in (excess, running) for part in (each, each * each)],
    )


def _deviation(mean: Array, square: Array, n: int) -> Array:
    """Return the standard deviation over trajectories, from means and mean squares."""
    with np.errstate(invalid="ignore", over="ignore"):  # trajectories may have diverged
        deviation: Array = np.sqrt(np.maximum(square - mean**2, 0) * n / (n - 1))
    return deviation
