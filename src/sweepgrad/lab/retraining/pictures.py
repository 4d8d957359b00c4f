"""The pictures of docs/lab/twice.md, one panel each."""

import numpy as np
from matplotlib.figure import Figure

from sweepgrad.drawing.style import HEIGHT, Theme, panel
from sweepgrad.lab.retraining.pairs import SAME_FUNCTION, Pairs
from sweepgrad.lab.retraining.sources import HALF_THE_DIGITS, Source
from sweepgrad.lab.retraining.symmetry import matched, units


def by_source(theme: Theme, found: list[Source]) -> Figure:
    """Draw the distance of two runs for each source of differences alone."""
    figure, axes = panel(HEIGHT)
    colors = {"equal": theme.ink, "random": theme.colors[1], "rounding": theme.colors[0]}
    markers = {"equal": "o", "random": "s", "rounding": "D"}
    shown = set()
    for place, source in enumerate(found):
        nonzero = source.distances[source.distances > 0]
        if nonzero.size:
            axes.plot(
                nonzero,
                np.full(nonzero.size, place),
                linestyle="",
                marker=markers[source.kind],
                color=colors[source.kind],
                alpha=0.8,
                label=None
                if source.kind in shown
                else {"random": "random numbers"}.get(source.kind, source.kind),
            )
            shown.add(source.kind)
        else:
            axes.text(2e-18, place, "exactly 0", va="center", color=colors[source.kind], fontsize=8)
    axes.axvline(HALF_THE_DIGITS, color=theme.faint, linestyle=":", label="half of the digits")
    axes.set(
        xscale="log",
        xlim=(1e-18, 10),
        xticks=[1e-16, 1e-12, 1e-8, 1e-4, 1],
        xlabel="relative distance of the weights",
        yticks=range(len(found)),
        yticklabels=[source.name for source in found],
        ylim=(len(found) - 0.5, -0.5),
    )
    figure.legend(loc="outside upper center", ncols=3, title="Two runs that differ in …", columnspacing=1)
    return figure


def hidden_units(theme: Theme, pairs: Pairs, *, match: bool) -> Figure:
    """Draw the hidden units of two networks in the plane of their incoming weights."""
    figure, axes = panel()
    a, b = pairs.example
    first, second = pairs.nets[a], pairs.nets[b]
    if match:
        second = matched(second, first, pairs.activation)
    for net, color, marker, size, label in (
        (first, theme.colors[0], "o", 60, f"seed {a + 1}"),
        (second, theme.colors[1], "x", 40, f"seed {b + 1}{', matched' if match else ''}"),
    ):
        x, y, *_ = units(net).T
        axes.scatter(x, y, color=color, marker=marker, s=size, label=label)
        shift = (7, 4) if marker == "o" else (-11, -11)
        for n, place in enumerate(zip(x, y, strict=True), start=1):
            axes.annotate(f"{n}", place, xytext=shift, textcoords="offset points", color=color)
    axes.axhline(0, color=theme.ink, linewidth=0.5)
    axes.axvline(0, color=theme.ink, linewidth=0.5)
    limits = [1.2 * max(float(np.abs(units(net)[:, i]).max()) for net in (first, second)) for i in (0, 1)]
    axes.set(xlim=(-limits[0], limits[0]), ylim=(-limits[1], limits[1]))  # signs do not change them
    axes.set(xlabel="weight of x₁", ylabel="weight of x₂")
    title = "Hidden units, matched" if match else "Hidden units, as trained"
    figure.legend(loc="outside upper center", ncols=2, title=title)
    return figure


def distances(theme: Theme, pairs: Pairs) -> Figure:
    """Draw the distances of all pairs before and after matching."""
    figure, axes = panel()
    for chosen, color, marker, label in (
        (pairs.same, theme.colors[1], "s", f"same function (within {SAME_FUNCTION})"),
        (~pairs.same, theme.colors[0], "o", "different functions"),
    ):
        axes.scatter(pairs.before[chosen], pairs.after[chosen], color=color, marker=marker, s=16, label=label)
    limits = np.array([pairs.before.min(), pairs.before.max()])
    axes.plot(limits, limits, color=theme.faint, linestyle=":", label="no change")
    axes.set(xlabel="distance of the weights as trained", ylabel="after matching", ylim=(-0.05, None))
    figure.legend(loc="outside upper center", ncols=2, title=f"All {len(pairs.indices)} pairs of seeds")
    return figure
