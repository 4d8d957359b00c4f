"""Pictures of the Spotify model: test accuracy, the spread between splits, the effect of duplicates."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sweepgrad.drawing.style import Draw, Theme, integers, panel
from sweepgrad.selection.card import Card, Scores
from sweepgrad.selection.evaluation import Mean


def test_accuracy(cards: Mapping[str, Card], goal: float) -> Draw:
    """Return a picture of the chosen models on test rows, and of simpler models on the same rows."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.3)
        for place, card in enumerate(cards.values()):
            low, high = card.test.interval
            value = card.test.value
            label = None if place else "network, 95 % interval"
            axes.errorbar(
                value,
                place,
                xerr=[[value - low], [high - value]],
                fmt="o",
                capsize=3,
                color=theme.colors[0],
                label=label,
            )
            for name, marker, color in (("logistic", "s", theme.colors[1]), ("majority", "D", theme.faint)):
                label = {"logistic": "logistic regression", "majority": "majority class"}[name]
                # below the network, so that neither hides the other
                axes.plot(
                    card.baselines[name].value,
                    place - 0.2,
                    marker,
                    color=color,
                    label=None if place else label,
                )
        axes.axvline(goal, color=theme.ink, linestyle=":", linewidth=1, label=f"goal, {goal:.0%}")
        names = [f"split\n{how}" for how in cards]
        axes.set(yticks=range(len(cards)), yticklabels=names, ylim=(-0.6, len(cards) - 0.5))
        axes.set(xlabel="test accuracy", title="The chosen model on test rows")
        axes.grid(visible=False, axis="y")
        _percent(axes.xaxis)
        figure.legend(loc="outside lower center", ncols=2)
        return figure

    return draw


def between_splits(accuracies: Sequence[float], test: Scores, published: float | None, goal: float) -> Draw:
    """Return a picture of the accuracy on each split, beside the test accuracies of two other splits."""
    mean, sd = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))

    def draw(theme: Theme) -> Figure:
        figure, axes = panel(3.6)
        numbers = np.arange(1, len(accuracies) + 1)
        axes.axhspan(
            mean - 1.96 * sd,
            mean + 1.96 * sd,
            color=theme.colors[0],
            alpha=0.15,
            linewidth=0,
            label="mean ± 1.96 sd",
        )
        axes.plot(numbers, accuracies, "o", color=theme.colors[0], label="a split, validation rows")
        axes.axhline(mean, color=theme.colors[0], label="mean of the splits")
        axes.axhline(
            test.value, color=theme.colors[1], linestyle="--", label=f"test rows here: {test.value:.1%}"
        )
        if published is not None:
            label = f"test rows, seed 0: {published:.1%}"
            axes.axhline(published, color=theme.colors[2], linestyle="-.", label=label)
        axes.axhline(goal, color=theme.ink, linestyle=":", linewidth=1, label=f"goal, {goal:.0%}")
        axes.set(xlabel="random split", ylabel="accuracy", title="The same procedure on other splits")
        integers(axes)
        axes.grid(visible=False, axis="x")
        _percent(axes.yaxis)
        figure.legend(loc="outside lower center", ncols=2)
        return figure

    return draw


def duplicate_gains(gains: Sequence[float], mean: Mean) -> Draw:
    """Return a picture of the effect of duplicates on each split, with the interval of the mean."""

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        numbers = np.arange(1, len(gains) + 1)
        axes.axhspan(
            100 * mean.low,
            100 * mean.high,
            color=theme.colors[0],
            alpha=0.15,
            linewidth=0,
            label="95 % interval",
        )
        axes.axhline(100 * mean.mean, color=theme.colors[0], label="mean")
        axes.plot(numbers, [100 * gain for gain in gains], "o", color=theme.colors[0], label="a split")
        axes.axhline(0, color=theme.ink, linestyle=":", linewidth=1, label="no effect")
        axes.set(
            xlabel="random split",
            ylabel="gain in accuracy, points",
            title="Rows with a duplicate in training",
        )
        integers(axes)
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center", ncols=4)
        return figure

    return draw


def _percent(axis: object) -> None:
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))  # type: ignore[attr-defined]
    axis.set_major_formatter(PercentFormatter(1, decimals=0))  # type: ignore[attr-defined]
