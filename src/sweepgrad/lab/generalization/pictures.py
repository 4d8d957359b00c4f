"""The pictures of docs/lab/bias_variance.md, one panel each."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sweepgrad.autograd.value import Array
from sweepgrad.drawing.style import HEIGHT, Theme, panel
from sweepgrad.lab.generalization.decomposition import PARTS, Estimate
from sweepgrad.lab.generalization.methods import Method
from sweepgrad.lab.generalization.peak import Fits
from sweepgrad.lab.generalization.world import World

MARKERS = ("o", "s", "D")


def differences(theme: Theme, methods: list[Method]) -> Figure:
    """Draw what each method changes, with intervals, below the name of its group."""
    figure, axes = panel(HEIGHT + 1.1)
    rows: list[str | Method] = []
    for method in methods:
        if all(not isinstance(row, Method) or row.group != method.group for row in rows):
            rows.append(method.group)
        rows.append(method)
    places = np.array([place for place, row in enumerate(rows) if isinstance(row, Method)])
    for (part, title), color, marker, shift in zip(
        PARTS.items(), theme.colors, MARKERS, (-0.22, 0, 0.22), strict=False
    ):
        changes: list[Estimate] = [getattr(method, part) for method in methods]
        values = np.array([change.value for change in changes])
        halves = np.array([change.high - change.value for change in changes])
        axes.errorbar(values, places + shift, xerr=halves, fmt=marker, color=color, label=title, markersize=4)
    axes.axvline(0, color=theme.ink, linewidth=0.8)
    axes.set(
        yticks=range(len(rows)),
        yticklabels=[row.name if isinstance(row, Method) else row for row in rows],
        ylim=(len(rows) - 0.4, -0.6),
        xlabel="change (95 % intervals)",
    )
    axes.grid(visible=False, axis="y")
    for row, label, tick in zip(rows, axes.get_yticklabels(), axes.yaxis.get_major_ticks(), strict=True):
        if not isinstance(row, Method):
            label.set_fontweight("bold")
            tick.tick1line.set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, handletextpad=0.2, title="Squared error, by method")
    return figure


def widths(theme: Theme, world: World, found: dict[int, dict[str, Estimate]]) -> Figure:
    """Draw bias², variance and their sum by width, with intervals."""
    figure, axes = panel()
    for (part, title), color, marker in zip(PARTS.items(), theme.colors, MARKERS, strict=False):
        _line(axes, {width: parts[part] for width, parts in found.items()}, color, marker, title)
    axes.axvline((world.settings.rows - 1) / 4, color=theme.faint, linestyle=":", label="parameters = rows")
    axes.set(xscale="log", xlabel="hidden units", ylabel="squared error", ylim=(0, None))
    _ticks(axes, [], list(found))
    figure.legend(loc="outside upper center", ncols=2, title="Trained networks (bands: 95 % intervals)")
    return figure


def features(theme: Theme, world: World, fits: dict[int, Fits]) -> Figure:
    """Draw the error of random features by their number, with quartiles over training sets."""
    figure, axes = panel()
    lines = (("errors", "least norm", "-", "o"), ("penalised", "with a penalty", "--", "s"))
    for (name, title, style, marker), color in zip(lines, theme.colors, strict=False):
        _quartiles(axes, {m: getattr(f, name) for m, f in fits.items()}, color, style, marker, title)
    _of_features(axes, theme, world, fits)
    axes.set(ylabel="squared error")
    figure.legend(loc="outside upper center", ncols=2, title="Random features (bands: quartiles)")
    return figure


def noise(theme: Theme, world: World, fits: dict[int, Fits]) -> Figure:
    """Draw the variance of the predictions over the noise of the labels, and the error that it is a part of."""
    figure, axes = panel()
    lines = (("errors_mean", "mean error over labels", "-", "o"), ("noise", "amplified noise", "--", "s"))
    for (name, title, style, marker), color in zip(lines, (theme.colors[0], theme.colors[2]), strict=True):
        _quartiles(axes, {m: getattr(f, name) for m, f in fits.items()}, color, style, marker, title)
    _of_features(axes, theme, world, fits)
    axes.axhline(world.noise, color=theme.ink, linewidth=0.8, linestyle="-.", label="noise of a label")
    axes.set(ylabel="squared error")
    figure.legend(loc="outside upper center", ncols=2, title="Least norm (bands: quartiles)")
    return figure


def _of_features(axes: Axes, theme: Theme, world: World, fits: dict[int, Fits]) -> None:
    axes.axvline(world.settings.rows, color=theme.faint, linestyle=":", label="features = rows")
    axes.set(xscale="log", yscale="log", xlabel="random features m")
    _ticks(axes, [world.settings.rows] if world.settings.rows in fits else [], list(fits))


def _line(axes: Axes, found: dict[int, Estimate], color: str, marker: str, title: str) -> None:
    x = list(found)
    axes.plot(x, [e.value for e in found.values()], color=color, marker=marker, label=title)
    low, high = [e.low for e in found.values()], [e.high for e in found.values()]
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def _quartiles(
    axes: Axes, found: dict[int, Array], color: str, style: str, marker: str, title: str
) -> list[Line2D]:
    low, middle, high = (
        [float(np.quantile(values, q)) for values in found.values()] for q in (0.25, 0.5, 0.75)
    )
    axes.fill_between(list(found), low, high, color=color, alpha=0.2, linewidth=0)
    return axes.plot(list(found), middle, color=color, linestyle=style, marker=marker, label=title)


def _ticks(axes: Axes, first: list[int], places: list[int]) -> None:
    """Label logarithmic axes with plain numbers, the x-axis with those measured, as far as there is room."""
    shown, room = list(first), np.log(places[-1] / places[0]) / 9
    for place in places:
        if all(abs(np.log(place / other)) > room for other in shown):
            shown.append(place)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
