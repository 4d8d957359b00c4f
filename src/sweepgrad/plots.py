"""Pictures, drawn without a display and without pyplot's global state."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweepgrad.fit import Epoch
from sweepgrad.metrics import Calibration

TRAIN, VAL, TEST, GREY = "#4c72b0", "#dd8452", "#55a868", "#999999"


def learning_curve(history: Sequence[Epoch], best_epoch: int, path: Path) -> None:
    """Loss and accuracy on training and validation rows by epoch, the best epoch marked."""
    epochs = range(1, len(history) + 1)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, name, train, val in (
        (loss, "negative log-likelihood", "train_nll", "val_nll"),
        (accuracy, "accuracy", "train_accuracy", "val_accuracy"),
    ):
        axes.plot(epochs, [getattr(e, train) for e in history], color=TRAIN, label="training")
        axes.plot(epochs, [getattr(e, val) for e in history], color=VAL, label="validation")
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    accuracy.legend(frameon=False)
    _save(figure, path)


def reliability(calibration: Calibration, path: Path) -> None:
    """Predicted probability against observed frequency, with the number of rows in each bin below."""
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    curve, counts = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    curve.plot(calibration.predicted, calibration.observed, color=TEST, marker="o", label="test rows")
    curve.set(
        ylabel="observed share of positives",
        title=f"calibration error {calibration.error:.3f}",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    curve.grid(alpha=0.3)
    curve.legend(frameon=False, loc="upper left")
    counts.bar(np.asarray(calibration.predicted), calibration.count, width=0.06, color=TEST)
    counts.set(xlabel="predicted probability", ylabel="rows")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=100)
