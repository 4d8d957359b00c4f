"""The pictures of docs/lab/sgd.md, one panel each."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sweepgrad.autograd.value import Array
from sweepgrad.drawing.style import Draw, Theme, panel
from sweepgrad.lab.convergence.bounds import average_bound, gradient_bound
from sweepgrad.lab.convergence.convex import Problem
from sweepgrad.lab.convergence.descent import expected_change, plain
from sweepgrad.lab.convergence.many_steps import points_before, variance
from sweepgrad.lab.convergence.measurements import Measured
from sweepgrad.lab.convergence.trajectories import Course

BAND = 1.96
"""Standard errors of a 95 % interval."""
SHOWN = 250
"""Steps that are drawn of a trajectory."""
LARGEST, SMALLEST = 1e3, 1e-6
"""Losses beyond these are not drawn."""


def pictures(measured: Measured) -> dict[str, Draw]:
    """Return the pictures by name."""
    return {
        "sgd_change": _change(measured),
        "sgd_cost": _cost(measured),
        "sgd_bound_squares": _bound(measured, "least squares", measured.problem, measured.of_squares),
        "sgd_bound_logistic": _bound(
            measured, "logistic regression", measured.logistic, measured.of_logistic
        ),
        "sgd_floor": _floor(measured),
        "sgd_nonconvex": _nonconvex(measured),
    }


def _drawable(losses: Array) -> Array:
    """Return the losses with NaN for those that are too large or too small to be drawn."""
    with np.errstate(invalid="ignore"):
        drawable: Array = np.where((losses < LARGEST) & (losses > SMALLEST), losses, np.nan)
    return drawable


def _some(n: int) -> NDArray[np.int64]:
    """Return indices of about `SHOWN` steps, evenly spaced on a logarithmic axis."""
    return np.unique(np.geomspace(1, n, SHOWN).round().astype(np.int64)) - 1


def _band(axes: Axes, mean: Array, deviation: Array, course: Course, color: str, label: str) -> None:
    """Draw a mean over trajectories with its 95 % interval."""
    some = _some(len(mean))
    mean, half = mean[some], BAND * course.error(deviation)[some]
    axes.plot(some + 1, _drawable(mean), color=color, linewidth=1.0, label=label)
    low, high = _drawable(mean - half), _drawable(mean + half)
    axes.fill_between(some + 1, low, high, color=color, alpha=0.3, linewidth=0)


def _legend(axes: Axes, theme: Theme, line: Line2D) -> None:
    """Add a legend above the lines: those with a label, another style of line, and the bands."""
    _, top = axes.get_ylim()
    axes.set_ylim(top=top * 30)
    line.set(color=theme.ink, linewidth=1.0)
    band = Patch(color=theme.ink, alpha=0.3, linewidth=0, label="95 % interval")
    lines = axes.get_legend_handles_labels()[0]
    axes.legend(handles=[*lines, line, band], ncols=2, loc="upper center")


def _bound(measured: Measured, name: str, problem: Problem, courses: dict[float, Course]) -> Draw:
    """Draw the mean excess loss of the first iterates, and its bound where there is one."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.6)
        N, some = measured.steps, _some(len(measured.steps))
        distance = float(np.linalg.norm(measured.start - problem.optimum))
        rates = measured.bounded if name == "least squares" else measured.covered
        for (rate, course), color in zip(courses.items(), theme.colors * len(courses), strict=False):
            _band(axes, course.running_mean, course.running_deviation, course, color, f"α = {rate:g}/K")
            if rate in rates:
                bounds = average_bound(distance, rate / problem.K, variance(measured, name, rate), N)
                axes.plot(N[some], bounds[some], color=color, linestyle="--", linewidth=1.0)
        descent = np.cumsum(plain(problem, measured.start, 1 / problem.K, len(N))) / N
        axes.plot(N[some], _drawable(descent[some]), color=theme.ink, label="gradient descent, 1/K")
        axes.set(xscale="log", yscale="log", xlabel="number of steps N", title=name.capitalize())
        axes.set_ylabel("mean excess loss of iterates 1 to N")
        _legend(axes, theme, Line2D([], [], linestyle="--", label="bound for the same α"))
        return figure

    return draw


def _floor(measured: Measured) -> Draw:
    """Draw the excess loss by step, with the exact floors."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.6)
        colors = theme.colors * len(measured.rates)
        for (rate, course), color in zip(measured.of_squares.items(), colors, strict=False):
            _band(axes, course.mean, course.deviation, course, color, f"α = {rate:g}/K")
            if np.isfinite(measured.floors[rate]):
                axes.axhline(measured.floors[rate], color=color, linestyle=":", linewidth=1.0)
        course = measured.of_decaying
        _band(axes, course.mean, course.deviation, course, theme.ink, "decaying, 1/√t")
        axes.set(xscale="log", yscale="log", xlabel="step t", ylabel="mean excess loss after step t")
        axes.set_title("Least squares: noise floors")
        _legend(axes, theme, Line2D([], [], linestyle=":", label="exact floor"))
        return figure

    return draw


def _change(measured: Measured) -> Draw:
    """Draw the exact expected change of the loss in a step, by the distance from the optimum."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        problem, optimum = measured.problem, measured.problem.optimum
        direction = (measured.start - optimum) / measured.distance
        distances = np.linspace(0, 1.2, 200)
        for rate, color in zip(measured.rates, theme.colors * len(measured.rates), strict=False):
            changes = [
                expected_change(problem, optimum + r * direction, rate / problem.K, measured.batch_size)
                for r in distances
            ]
            axes.plot(distances, changes, color=color, label=f"α = {rate:g}/K")
        axes.axhline(0, color=theme.ink, linewidth=0.8)
        axes.set(xlabel="distance from θ*", ylabel="expected change of the loss")
        axes.set_title("One step of SGD")
        axes.legend(loc="lower left")
        return figure

    return draw


def _cost(measured: Measured) -> Draw:
    """Draw the exact mean excess loss of SGD, and that of gradient descent, by row gradients."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        problem, B = measured.problem, measured.batch_size
        n, some = len(problem.y), _some(len(measured.steps))
        for (rate, exact), color in zip(
            measured.exact.items(), theme.colors * len(measured.rates), strict=False
        ):
            axes.plot(B * (some + 1), _drawable(exact.excess[some]), color=color, label=f"SGD, {rate:g}/K")
        shown = n * measured.steps <= B * len(measured.steps)
        at_start = float(problem.losses(measured.start[:, None])[0])
        axes.plot(
            np.concatenate([[B], n * measured.steps[shown]]),
            _drawable(np.concatenate([[at_start], measured.descent[shown]])),
            color=theme.ink,
            linestyle="--",
            drawstyle="steps-post",
            label="gradient descent, 1/K",
        )
        axes.set(xscale="log", yscale="log", xlabel="row gradients computed", ylabel="mean excess loss")
        axes.set_title("SGD and gradient descent at equal cost")
        axes.set_ylim(1e-4, 30)
        axes.legend(loc="upper right")
        return figure

    return draw


def _nonconvex(measured: Measured) -> Draw:
    """Draw the mean squared gradient of the neuron along its trajectories, and the bound."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.6)
        neuron, some = measured.neuron, _some(len(measured.steps))
        loss = float(neuron.losses(measured.far[:, None])[0])
        for (rate, course), color in zip(
            measured.of_neuron.items(), theme.colors * len(measured.of_neuron), strict=False
        ):
            mean, deviation = points_before(measured, course)
            _band(axes, mean, deviation, course, color, f"α = {rate:g}/K")
            sigma = neuron.variance / measured.batch_size
            bounds = gradient_bound(loss, rate / neuron.K, sigma, neuron.K, measured.steps)
            axes.plot(some + 1, bounds[some], color=color, linestyle="--", linewidth=1.0)
        axes.set(xscale="log", yscale="log", xlabel="number of steps N", title="Sigmoid neuron (not convex)")
        axes.set_ylabel("mean of |∇L|² at points 0 to N - 1")
        _legend(axes, theme, Line2D([], [], linestyle="--", label="bound for the same α"))
        return figure

    return draw
