"""The variance of a batch's gradient, for the loss ½ (w - x)² at w = 0."""

from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from sweepgrad import rng
from sweepgrad.config.section import Section, Seed
from sweepgrad.drawing.style import Theme, panel
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table

Count = Annotated[int, Field(ge=1)]


class Settings(Section):
    """The keys of batch.yaml."""

    rows: Annotated[int, Field(ge=2)]
    sizes: Annotated[tuple[Count, ...], Field(min_length=2)]
    draws: Annotated[int, Field(ge=100)]
    seed: Seed


def answer(settings: Settings, lab: Lab) -> Finding:
    """Measure the variance for each batch size and compare it with σ² / B."""
    gradients = -rng.normal(rng.key(settings.seed, "batch/rows"), (settings.rows,))
    measured = np.array([variance(gradients, B, settings) for B in settings.sizes])
    expected = gradients.var() / np.array(settings.sizes)
    errors = expected * np.sqrt(2 / (settings.draws - 1))  # of a variance of normal numbers
    deviation = float(np.abs((measured - expected) / errors).max())
    rows = [
        [str(B), f"{value:.4f} ± {error:.4f}", f"{exact:.4f}"]
        for B, value, error, exact in zip(settings.sizes, measured, errors, expected, strict=True)
    ]

    def draw(theme: Theme) -> Figure:
        figure, axes = panel()
        axes.errorbar(settings.sizes, measured, errors, fmt="o", label="measured, ± 1 standard error")
        axes.plot(settings.sizes, expected, color=theme.ink, label="σ² / B")
        axes.set(xlabel="batch size B", ylabel="variance of the gradient", xscale="log", yscale="log")
        axes.legend()
        return figure

    claim = Claim(
        "noise by batch size",
        "The variance of a batch's gradient is σ² / B.",
        f"largest deviation {deviation:.1f} standard errors (4 are allowed)",
        deviation <= 4,
    )
    return Finding(
        claims=(claim,),
        numbers={"deviation": deviation},
        tables=(table(["B", "measured", "σ² / B"], rows),),
        pictures={"batch": draw},
    )


def variance(gradients: np.ndarray, size: int, settings: Settings) -> float:
    """Return the variance of the mean gradient over many batches of one size."""
    u = rng.uniform(rng.key(settings.seed, "batch/draws", size), (settings.draws, size))
    rows = (u * len(gradients)).astype(int)
    return float(gradients[rows].mean(axis=1).var(ddof=1))
