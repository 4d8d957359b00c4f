"""The pictures of docs/lab/gradients.md."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from sweepgrad.autograd.value import Array
from sweepgrad.drawing.style import Theme, integers, panel
from sweepgrad.lab.stability.clipping import opposed
from sweepgrad.lab.stability.depth import predicted, weight_variance
from sweepgrad.lab.stability.ratios import Ratio
from sweepgrad.lab.stability.trained import THRESHOLD, relative
from sweepgrad.lab.stability.tricks import Statistics
from sweepgrad.lab.stability.untrained import POINTS, VANISHED

_TITLES = {
    "noise": "noise of the loss, last quarter",
    "variance": "variance of a batch's gradient",
    "curvature": "curvature of the loss, ‖H‖",
}


def by_depth(theme: Theme, found: Mapping[str, Mapping[int, Array]], width: int) -> Figure:
    """Draw the gradient of an early matrix relative to that of the last one, by the number of hidden layers."""
    figure, axes = panel()
    # ReLU and tanh nearly coincide: the first one's circles are open and larger.
    markers: tuple[dict[str, Any], ...] = (
        {"fmt": "o", "markerfacecolor": "none", "markersize": 8},
        {"fmt": "s"},
        {"fmt": "^"},
    )
    for (name, ratios), color, marker in zip(found.items(), theme.colors, markers, strict=False):
        depths = sorted(ratios)
        means = [Ratio.of(ratios[depth]) for depth in depths]
        theory = [predicted(name, depth, weight_variance(name)) for depth in depths]
        _points(axes, depths, means, color=color, label=f"{name}: mean, 95 % interval", **marker)
        axes.plot(depths, theory, color=color, linewidth=1)
    axes.plot([], [], color=theme.ink, linewidth=1, label="theory of wide layers")
    axes.axhline(VANISHED, color=theme.faint, linestyle=":", label=f"vanished: below {VANISHED:g}")
    axes.set(
        yscale="log",
        xlabel="number of hidden layers",
        ylabel="gradient norm, layer 2 / last",
        title=f"initial weights, width {width}",
    )
    axes.yaxis.set_minor_locator(NullLocator())
    integers(axes)
    axes.legend(loc="lower left")
    return figure


def by_trick(theme: Theme, found: Mapping[str, Statistics], key: str) -> Figure:
    """Draw a statistic of each trick relative to plain SGD."""
    figure, axes = panel()
    names = tuple(name for name in found if name != "plain")
    ratios = list(relative(found, key, names).values())
    for number, ratio in enumerate(ratios):
        axes.errorbar(
            ratio.value,
            number,
            xerr=[[ratio.value - ratio.low], [ratio.high - ratio.value]],
            fmt="o",
            capsize=2,
            color=theme.colors[0],
            label="mean, 95 % interval" if number == 0 else None,
        )
    axes.plot([1, 1], [-0.5, len(names) - 0.4], color=theme.faint, linestyle="--", label="plain SGD")
    axes.set(xscale="log", xlabel="relative to plain SGD", title=_TITLES[key], ylim=(len(names) + 0.7, -0.5))
    axes.set_yticks(range(len(names)), names)
    _log_ticks(axes.xaxis, min(ratio.low for ratio in ratios), max(ratio.high for ratio in ratios))
    axes.legend(loc="lower left", ncols=2, frameon=True, framealpha=1, edgecolor="none")
    return figure


def by_batch_size(theme: Theme, found: Mapping[int, Statistics], lr: float) -> Figure:
    """Draw the curvature after training times the learning rate, by batch size."""
    figure, axes = panel()
    sizes = sorted(found)
    products = [Ratio.of(lr * found[size].curvature) for size in sizes]
    _points(axes, sizes, products, fmt="o-", color=theme.colors[0], label="mean, 95 % interval")
    axes.axhline(THRESHOLD, color=theme.colors[1], linestyle="--", label="threshold of stability, 2")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="batch size (right: all rows)",
        ylabel="rate × curvature, α‖H‖",
        title=f"same rate {lr:g}, same number of steps",
    )
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    _log_ticks(axes.yaxis, min(p.low for p in products), max(*(p.high for p in products), THRESHOLD))
    axes.legend(loc="lower right")
    return figure


def opposed_gradients(theme: Theme) -> Figure:
    """Draw the mean of two opposed gradients, plain and clipped."""
    figure, axes = panel()
    together, short = opposed(POINTS, 1.0)
    axes.plot(POINTS, together, color=theme.colors[0], label="mean of the gradients, slope ½")
    axes.plot(POINTS, short, color=theme.colors[1], linestyle="--", label="mean of the clipped gradients")
    axes.annotate(
        "slope −49.5",
        (0.01005, 0.0025),
        (0.0062, 0.0012),
        arrowprops={"arrowstyle": "->", "color": theme.ink},
    )
    axes.set(
        xlabel="θ",
        ylabel="mean gradient",
        title="gradients 100θ and −99θ, clipped to 1",
        ylim=(-0.0004, 0.0088),
    )
    axes.set_xticks([0, 0.004, 0.008, 0.012])
    axes.legend(loc="upper left")
    return figure


def _points(axes: Axes, places: Sequence[int], ratios: Sequence[Ratio], **style: Any) -> None:
    low, high = ([getattr(ratio, end) for ratio in ratios] for end in ("low", "high"))
    values = np.array([ratio.value for ratio in ratios])
    axes.errorbar(places, values, yerr=[values - low, high - values], capsize=2, **style)


def _log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2 and 5 of each decade, or decades if there are many."""
    wide = high / low > 50
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**d for d in decades for step in ((1,) if wide else (1, 2, 5))]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
