"""Plots, drawn without a display and without pyplot's global state."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sweepgrad.messages.escape import label as shown
from sweepgrad.stats.calibration import Calibration
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.training.bundle import Bundle
from sweepgrad.training.dataset import Examples
from sweepgrad.training.epoch import Epoch

TRAIN, VAL, TEST, GREY = "#4c72b0", "#dd8452", "#55a868", "#999999"

_POINTS = 10_000  # more make a picture heavy, not clearer


def learning_curve(history: Sequence[Epoch], best_epoch: int, path: Path) -> None:
    """Draw the figures of training and validation rows by epoch, and mark the best epoch."""
    epochs = range(1, len(history) + 1)
    names = list(history[0].val)
    figure = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
    places = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(places, names, strict=True):
        axes.plot(epochs, [epoch.train[name] for epoch in history], color=TRAIN, label="training")
        axes.plot(epochs, [epoch.val[name] for epoch in history], color=VAL, label="validation")
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(xlabel="epoch", title=METRICS[name].title)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    places[-1].legend(frameon=False)
    _save(figure, path)


def has_boundary(bundle: Bundle) -> bool:
    """Return whether the model has exactly two numeric columns, so that its decisions can be drawn."""
    preprocessor = bundle.members[0].preprocessor
    return len(preprocessor.numeric) == 2 and not preprocessor.categorical


def decision_boundary(bundle: Bundle, examples: Examples, path: Path) -> None:
    """Draw the predicted probability over the plane of two numeric columns, and some of the examples.

    Raises:
        ValueError: the model does not have exactly two numeric columns.
    """
    if not has_boundary(bundle):
        raise ValueError(f"a boundary needs exactly two numeric columns, not {bundle.columns}")
    x, y = bundle.columns
    some = slice(None, None, -(-len(examples.y) // _POINTS))
    points, labels = bundle.members[0].preprocessor.numbers(examples.X[some]), examples.y[some]
    margin = 0.1 * (points.max() - points.min())
    low, high = points.min() - margin, points.max() + margin
    across, up = np.linspace(low[x], high[x], 200), np.linspace(low[y], high[y], 200)
    grid = pd.DataFrame({x: np.tile(across, len(up)), y: np.repeat(up, len(across))})
    p = bundle.probabilities(grid).reshape(len(up), len(across))
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    axes = figure.subplots()
    shades = axes.contourf(across, up, p, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    axes.contour(across, up, p, levels=[0.5], colors="black", linewidths=1)
    for label, color in ((0, "#2166ac"), (1, "#b2182b")):
        rows = points[labels == label]
        axes.scatter(rows[x], rows[y], s=9, color=color, edgecolor="white", linewidth=0.3)
    figure.colorbar(shades, label=shown(f"probability of {bundle.target} = {bundle.positive}"))
    axes.set(xlabel=shown(x), ylabel=shown(y), title="decision boundary, validation rows")
    _save(figure, path)


def reliability(calibration: Calibration, before: Calibration | None, path: Path) -> None:
    """Draw predicted probability against observed frequency, and the number of rows in each bin.

    Arguments:
        before: calibration before temperature scaling; None without temperature scaling.
    """
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    curve, counts = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    drawn = [(calibration, TEST, "o", "-", "test rows")]
    if before is not None:
        drawn = [
            (before, TRAIN, "s", "--", f"as trained: {before.error:.3f}"),
            (calibration, TEST, "o", "-", f"with temperature: {calibration.error:.3f}"),
        ]
    for found, color, marker, line, label in drawn:
        curve.plot(
            found.predicted,
            found.observed,
            color=color,
            marker=marker,
            linestyle=line,
            markersize=5,
            label=label,
        )
    title = (
        f"calibration error {calibration.error:.3f}"
        if before is None
        else "calibration error on the test rows"
    )
    curve.set(ylabel="observed share of positives", title=title, xlim=(0, 1), ylim=(0, 1))
    curve.grid(alpha=0.3)
    curve.legend(frameon=False, loc="upper left")
    for place, (found, color, *_) in enumerate(drawn):
        width = 0.06 / len(drawn)
        off = width * (place - (len(drawn) - 1) / 2)
        counts.bar(np.asarray(found.predicted) + off, found.count, width=width, color=color)
    counts.set(xlabel="predicted probability", ylabel="rows")
    _save(figure, path)


def splits(
    metric: Metric,
    names: Sequence[str],
    validation: Sequence[float],
    test: Sequence[float],
    interval: tuple[float, float],
    path: Path,
) -> None:
    """Draw the chosen model's metric on each split's validation and test rows, and the mean test metric."""
    figure = Figure(figsize=(7, 1.6 + 0.22 * len(names)), layout="constrained")
    axes = figure.subplots()
    places = range(len(names))
    axes.axvline(
        fmean(test), color=TEST, linestyle=":", label=f"mean on test rows ({metric.figure(fmean(test))})"
    )
    axes.axvspan(*interval, color=TEST, alpha=0.12, linewidth=0, label="its 95 % interval")
    axes.hlines(places, validation, test, color=GREY, linewidth=1)
    axes.scatter(validation, places, color=VAL, label="validation rows", zorder=3)
    axes.scatter(test, places, color=TEST, label="test rows", zorder=3)
    axes.set(
        yticks=places,
        yticklabels=[shown(name) for name in names],
        xlabel=f"{metric.title} of the chosen model",
    )
    axes.invert_yaxis()
    if metric.percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(alpha=0.3, axis="x")
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=100)
