"""The picture of docs/lab/gradients.md."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sweepgrad.autograd.value import Array
from sweepgrad.lab.depth import predicted, weight_variance
from sweepgrad.lab.tricks import Signs
from sweepgrad.training.plots import GREY, TEST, TRAIN, VAL


def picture(by_depth: dict[str, dict[int, Array]], found: dict[str, Signs], width: int) -> Figure:
    """Gradients by depth, and what the tricks end with."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (depth, trembling), (variance, curvature) = figure.subplots(2, 2)
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
        (trembling, "trembling", "change of the loss, epoch to epoch, late"),
        (variance, "variance", "variance of a batch's gradient, at the end"),
        (curvature, "curvature", "local Lipschitz constant of the gradient, at the end"),
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
