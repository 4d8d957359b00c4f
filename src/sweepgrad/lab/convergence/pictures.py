"""The pictures of docs/lab/sgd.md."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.convex import LeastSquares, Problem
from sweepgrad.lab.convergence.descent import bound, expected_change, plain
from sweepgrad.lab.convergence.trajectories import Course
from sweepgrad.training.plots import GREY, TEST, TRAIN, VAL


def _colors(n: int) -> list[str]:
    return [TRAIN, VAL, TEST, "#c44e52", "#8172b3", "#937860", *[GREY] * n][:n]


def _drawable(losses: Array) -> Array:
    """Return the losses with NaN for those that are too large to be drawn."""
    return np.where(losses < 1e3, losses, np.nan)


def of_bounds(
    problems: Sequence[tuple[str, Problem, dict[float, Course]]],
    start: Array,
    variances: dict[str, dict[float, float]],
) -> Figure:
    """Draw the mean excess loss of the first iterates and its bound, for each problem.

    Arguments:
        problems: with the course at each rate, in units of 1/K.
        variances: σ² by problem and rate; infinite if there is no bound.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, (name, problem, courses) in zip(figure.subplots(1, len(problems)), problems, strict=True):
        distance = float(np.linalg.norm(start - problem.optimum))
        for (rate, course), color in zip(courses.items(), _colors(len(courses)), strict=True):
            N, variance = np.arange(1.0, len(course.mean) + 1), variances[name][rate]
            axes.plot(N, _drawable(course.running_mean), color=color, label=f"α = {rate:g}/K")
            if rate <= 1 and np.isfinite(variance):
                limits = bound(distance, rate / problem.K, variance, N)
                axes.plot(N, limits, color=color, linestyle="--", linewidth=1)
        descent = np.cumsum(plain(problem, start, 1 / problem.K, len(N))) / N
        axes.plot(N, descent, color="black", linewidth=1, label="gradient descent, 1/K")
        axes.set(xscale="log", yscale="log", xlabel="steps N", title=name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    figure.axes[0].set(ylabel="mean excess loss of the first N iterates")
    figure.suptitle("measured (lines) and bound (dashes)", fontsize="medium")
    return figure


def of_floors(
    squares: LeastSquares,
    start: Array,
    courses: dict[float, Course],
    decaying: Course,
    floors: dict[float, float],
    batch_size: int,
) -> Figure:
    """Draw the excess loss by step with the exact floors, and the expected change of the loss by distance.

    Arguments:
        courses, floors: by rate, in units of 1/K.
        decaying: at the decaying rate.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    course, change = figure.subplots(1, 2)
    N = np.arange(1.0, len(next(iter(courses.values())).mean) + 1)
    for (rate, each), color in zip(courses.items(), _colors(len(courses)), strict=True):
        course.plot(N, _drawable(each.mean), color=color, linewidth=0.8, label=f"α = {rate:g}/K")
        if np.isfinite(floors[rate]):
            course.axhline(floors[rate], color=color, linestyle=":")
    course.plot(N, decaying.mean, color="black", linewidth=0.8, label="decaying, 1/√t")
    course.set(
        xscale="log",
        yscale="log",
        xlabel="step",
        ylabel="mean excess loss",
        title="noise floors (dotted: exact)",
    )
    offset = start - squares.optimum
    direction = offset / np.linalg.norm(offset)
    distances = np.linspace(0, 1.2, 200)
    for rate, color in zip(courses, _colors(len(courses)), strict=True):
        changes = [
            expected_change(squares, squares.optimum + r * direction, rate / squares.K, batch_size)
            for r in distances
        ]
        change.plot(distances, changes, color=color, label=f"α = {rate:g}/K")
    change.axhline(0, color=GREY, linewidth=0.8)
    change.set(
        xlabel="distance to w*", ylabel="expected change of the loss", title="one step, in expectation"
    )
    for axes in (course, change):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    return figure
