"""Pictures of the scale: the curve, the loss by learning rate, and the loss at prediction."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sweepgrad.autograd.value import Array
from sweepgrad.drawing.style import Draw, Theme, panel
from sweepgrad.lab.scaling.equivalence import mean_loss

_MARKERS, _DASHES = "osD^vP", ("-", "--", "-.", ":")


def curves(scales: Sequence[float]) -> Draw:
    """Return a picture of sigmoid(scale · z) for each scale."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        z = np.linspace(-4, 4, 201)
        for scale, (color, _, dashes) in zip(scales, _styles(theme), strict=False):
            axes.plot(z, 1 / (1 + np.exp(-scale * z)), color=color, linestyle=dashes, label=f"s = {scale:g}")
        axes.set(xlabel="score z", ylabel="probability p", title="p = sigmoid(s z): slope s/4 at 0")
        axes.legend(loc="upper left", handlelength=2.6)
        return figure

    return draw


def losses(
    scales: Sequence[float],
    rates: Sequence[float],
    found: Sequence[Sequence[float]],
    *,
    collapsed: bool = False,
) -> Draw:
    """Return a picture of the training loss against the rate of SGD, or against scale² · rate if collapsed."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.3)
        for scale, line, (color, marker, dashes) in zip(scales, found, _styles(theme), strict=False):
            x = np.asarray(rates) * (scale**2 if collapsed else 1)
            axes.plot(
                x,
                line,
                color=color,
                marker=marker,
                linestyle="" if collapsed else dashes,
                label=f"s = {scale:g}",
                fillstyle="none" if collapsed else "full",
            )
        axes.set(xscale="log", yscale="log", ylabel="training loss (nll)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(
            xlabel="s² · learning rate" if collapsed else "learning rate",
            title="Against s² · rate: one curve" if collapsed else "SGD from zero weights",
        )
        axes.xaxis.set_major_locator(LogLocator(numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower center", ncols=3, handlelength=2.8)
        return figure

    return draw


def prediction(y: Array, log_odds: Array, best: float | None) -> Draw:
    """Return a picture of the validation loss against a scale that is applied to a trained model."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        grid = np.geomspace(0.05, 20, 200)
        axes.plot(
            grid, [mean_loss(y, s * log_odds) for s in grid], color=theme.colors[0], label="validation loss"
        )
        axes.axvline(1, color=theme.faint, linestyle=":", label="s = 1, as trained")
        if best is not None:
            axes.plot(
                [best],
                [mean_loss(y, best * log_odds)],
                "o",
                color=theme.colors[1],
                label=f"lowest: s = {best:.2f}",
            )
        axes.set(xscale="log", xticks=[0.1, 1, 10], xticklabels=["0.1", "1", "10"])
        axes.set(
            xlabel="scale s applied to a trained model", ylabel="validation loss (nll)", title="At prediction"
        )
        axes.legend(loc="upper left")
        return figure

    return draw


def _styles(theme: Theme) -> Iterator[tuple[str, str, str]]:
    return zip(cycle(theme.colors), cycle(_MARKERS), cycle(_DASHES), strict=False)
