"""The picture of docs/lab/gradients.md."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sweepgrad.autograd.value import Array
from sweepgrad.lab.stability.depth import predicted, weight_variance
from sweepgrad.lab.stability.tricks import Statistics
from sweepgrad.training.plots import GREY, TEST, TRAIN, VAL


def picture(by_depth: dict[str, dict[int, Array]], found: dict[str, Statistics], width: int) -> Figure:
    """Draw gradients by depth, and the statistics of each trick after training."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (depth, noise), (variance, curvature) = figure.subplots(2, 2)
    for (name, ratios), color in zip(by_depth.items(), (TRAIN, VAL, TEST), strict=True):
        depths = sorted(ratios)
        means = [np.exp(np.log(ratios[d]).mean()) for d in depths]
        depth.plot(depths, means, "o", color=color, label=name)
        depth.plot(
            depths, [predicted(name, d, weight_variance(name)) for d in depths], color=color, linewidth=1
        )
    depth.axhline(1e-3, color=GREY, linestyle=":")
    depth.set(
        yscale="log",
        xlabel="hidden layers",
        ylabel="gradient of layer 2 over last hidden",
        title=f"initial weights, width {width} (lines: theory)",
    )
    depth.legend(frameon=False)
    names = list(found)
    for axes, key, title in (
        (noise, "noise", "change of the loss per epoch, last quarter"),
        (variance, "variance", "variance of a batch's gradient, after training"),
        (curvature, "curvature", "local Lipschitz constant of the gradient, after training"),
    ):
        values = [getattr(found[name], key) for name in names]
        axes.boxplot(
            values,
            orientation="horizontal",
            tick_labels=names,
            widths=0.6,
            medianprops={"color": VAL},
            flierprops={"markersize": 3},
        )
        axes.set(xscale="log", title=title)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_yaxis()
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return figure
