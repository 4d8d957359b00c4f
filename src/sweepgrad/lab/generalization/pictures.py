"""The picture of docs/lab/bias_variance.md."""

import numpy as np
from matplotlib.figure import Figure

from sweepgrad.autograd.value import Array
from sweepgrad.lab.generalization.decomposition import Parts
from sweepgrad.lab.generalization.world import Method, World
from sweepgrad.training.plots import GREY, TEST, TRAIN, VAL


def picture(
    world: World,
    by_width: dict[int, Array],
    errors: dict[int, Array],
    smallest: dict[int, float],
    base: Array,
    methods: list[Method],
) -> Figure:
    """Draw errors by width, singular values, and the decomposition for each method."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (network, descent), (values, bars) = figure.subplots(2, 2)
    parts = {width: Parts.of(predictions, world.truth) for width, predictions in by_width.items()}
    network.plot(
        list(parts), [p.bias2 for p in parts.values()], color=TRAIN, marker="o", markersize=4, label="bias²"
    )
    network.plot(
        list(parts),
        [p.variance for p in parts.values()],
        color=VAL,
        marker="o",
        markersize=4,
        label="variance",
    )
    network.plot(list(parts), [p.error for p in parts.values()], color="black", label="sum")
    network.axvline(world.settings.rows / 4, color=GREY, linestyle=":", label="parameters = rows")
    network.set(xscale="log", xlabel="width", title="trained networks")
    n = world.settings.rows
    descent.plot(
        list(errors),
        [np.median(e) for e in errors.values()],
        color="black",
        marker="o",
        markersize=4,
        label="median",
    )
    low, high = ([np.quantile(e, q) for e in errors.values()] for q in (0.25, 0.75))
    descent.fill_between(list(errors), low, high, color=GREY, alpha=0.3, label="quartiles over training sets")
    descent.axvline(n, color=GREY, linestyle=":", label="features = rows")
    descent.set(xscale="log", yscale="log", xlabel="random features", title="least-norm fits: squared error")
    values.plot(list(smallest), list(smallest.values()), color=TEST, marker="o", markersize=4)
    values.axvline(n, color=GREY, linestyle=":")
    values.set(xscale="log", yscale="log", xlabel="random features", title="smallest singular value")
    names = ["no method", *(method.name for method in methods)]
    found = [Parts.of(base, world.truth), *(Parts.of(method.predictions, world.truth) for method in methods)]
    places = np.arange(len(names))
    bias2 = [max(p.bias2, 0) for p in found]
    bars.barh(places, bias2, color=TRAIN, label="bias²")
    bars.barh(places, [p.variance for p in found], left=bias2, color=VAL, label="variance")
    bars.set(
        yticks=places,
        yticklabels=names,
        title=f"methods for a better trade-off, width {world.settings.width}",
    )
    bars.invert_yaxis()
    for axes in (network, descent, values, bars):
        axes.grid(alpha=0.3)
        if axes is not values:
            axes.legend(frameon=False, fontsize="small")
    return figure
