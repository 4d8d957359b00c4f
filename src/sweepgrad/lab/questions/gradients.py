"""Methods against vanishing, exploding and noisy gradients; docs/lab/gradients.md explains them."""

import logging
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from sweepgrad.autograd.value import Array
from sweepgrad.config.data import SimulatedData
from sweepgrad.config.section import Fraction, Section, Seed
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding
from sweepgrad.lab.stability import pictures, trained
from sweepgrad.lab.stability.depth import FUNCTIONS, measured
from sweepgrad.lab.stability.tricks import (
    Statistics,
    at_batch_sizes,
    raised_by_masks,
    statistics,
    tricks,
    without_noise,
)
from sweepgrad.lab.stability.untrained import clipping_claims, depth_claims, dropout_claims
from sweepgrad.lab.tables import simulated
from sweepgrad.training.loop import Examples

log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]


MOST_ROWS = 20_000_000
"""Of all steps together, in training on all rows with as many steps as with batches."""


class Settings(Section):
    """The settings of `conf/experiment/lab/gradients.yaml`."""

    rows: Annotated[int, Field(ge=50, le=5_000)]
    noise: Annotated[float, Field(ge=0, lt=0.5)]
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], Field(min_length=1, max_length=8)]
    epochs: Annotated[int, Field(ge=8, le=2_000)]
    batch_size: Count
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1, max_length=20)]
    lr: Positive
    delay: Count
    norm_lr: Positive
    clip: Positive
    dropout: Fraction
    seeds: Annotated[int, Field(ge=3, le=1_000)]
    depths: Annotated[tuple[Annotated[int, Field(ge=2, le=64)], ...], Field(min_length=1, max_length=20)]
    width: Annotated[int, Field(ge=2, le=512)]
    seed: Seed

    @model_validator(mode="after")
    def _fits_into_memory(self) -> "Settings":
        steps = self.epochs * -(-self.rows // self.batch_size)
        if steps * self.rows > MOST_ROWS:
            raise ValueError(
                f"epochs: {steps:,} steps on all {self.rows} rows need too much memory"
                f" ({steps * self.rows:,} rows, more than {MOST_ROWS:,}); lower epochs or rows"
            )
        return self

    @model_validator(mode="after")
    def _batches_differ(self) -> "Settings":
        if 2 * self.batch_size > self.rows:
            raise ValueError(
                f"batch_size: {self.batch_size} gives fewer than two batches of {self.rows} rows; lower it"
            )
        if max(self.batch_sizes) >= self.rows:
            raise ValueError(
                f"batch_sizes: should be below the number of rows, {self.rows}, which is always among them"
            )
        return self

    @property
    def run_seeds(self) -> range:
        """The seeds of initial weights and of the order of rows."""
        return range(self.seed + 1, self.seed + 1 + self.seeds)


def training_rows(settings: Settings) -> Examples:
    """Return the rows: two moons, some labels flipped, standardized."""
    data = SimulatedData(
        source="simulated",
        name="simulated",
        kind="moons",
        rows=settings.rows * 5 // 3,
        features=2,
        noise=settings.noise,
        seed=settings.seed,
    )
    rows, _ = simulated(data, settings.seed)
    return rows


def at_depths(settings: Settings) -> dict[str, dict[int, Array]]:
    """Return ratios of gradient norms (S,) of initial networks by activation and number of hidden layers."""
    log.info(f"{settings.seeds} initial networks of each of {len(settings.depths)} depths …")
    return {
        name: {depth: measured(name, depth, settings.width, settings.run_seeds) for depth in settings.depths}
        for name in FUNCTIONS
    }


def with_tricks(settings: Settings, rows: Examples) -> dict[str, Statistics]:
    """Train with each trick, plain SGD first."""
    kinds = tricks(
        settings.lr, settings.epochs, settings.delay, settings.norm_lr, settings.clip, settings.dropout
    )
    found = {}
    for name, trick in kinds.items():
        log.info(f"{name}: {settings.seeds} seeds …")
        found[name] = statistics(
            trick,
            settings.hidden,
            rows,
            settings.run_seeds,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
        )
    return found


def with_masks(settings: Settings, rows: Examples, found: Mapping[str, Statistics]) -> dict[str, Array]:
    """Return by what masks multiply the variance of a batch's gradient, at trained weights; (S,) each."""
    return {
        name: raised_by_masks(
            found[name].weights,
            settings.hidden,
            rows,
            settings.dropout,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        for name in ("plain", "dropout")
    }


def with_batch_sizes(settings: Settings, rows: Examples) -> dict[int, Statistics]:
    """Train plain SGD with several batch sizes and with all rows, for the same number of steps."""
    sizes = sorted({*settings.batch_sizes, settings.batch_size, len(rows.y)})
    log.info(f"batches of {', '.join(map(str, sizes))} rows: {settings.seeds} seeds of each …")
    n_steps = settings.epochs * -(-len(rows.y) // settings.batch_size)
    return at_batch_sizes(
        settings.lr, settings.hidden, rows, settings.run_seeds, sizes=sizes, n_steps=n_steps
    )


def at_larger_rates(settings: Settings, rows: Examples) -> dict[float, Statistics]:
    """Train by gradient descent on all rows at twice and four times the rate, to the same sum of rates."""
    rates = (2 * settings.lr, 4 * settings.lr)
    log.info(
        f"all rows at the rates {', '.join(f'{lr:g}' for lr in rates)}: {settings.seeds} seeds of each …"
    )
    total = settings.lr * settings.epochs * -(-len(rows.y) // settings.batch_size)
    return without_noise(rates, settings.hidden, rows, settings.run_seeds, total=total)


def answer(settings: Settings, lab: Lab) -> Finding:
    """Measure gradients by depth, with and without each trick, with clipping and with dropout."""
    rows = training_rows(settings)
    by_depth = at_depths(settings)
    found = with_tricks(settings, rows)
    by_size = with_batch_sizes(settings, rows)
    by_rate = {settings.lr: by_size[len(rows.y)], **at_larger_rates(settings, rows)}
    return Finding(
        claims=(
            *trained.rate_claims(found, settings.lr),
            *trained.batch_claims(by_size, settings.lr, settings.batch_size),
            trained.threshold_claim(by_rate),
            *depth_claims(by_depth, settings.width),
            trained.layer_claim(found),
            *clipping_claims(rows, settings.hidden, settings.clip, settings.batch_size, settings.seed),
            *dropout_claims(settings.dropout, settings.seed),
            *trained.dropout_effects(found, with_masks(settings, rows, found), settings.dropout),
        ),
        numbers={
            **{
                f"{name.replace('/√', '_root_')}/curvature": float(np.median(each.curvature))
                for name, each in found.items()
            },
            **{f"batch_{size}/curvature": float(np.median(each.curvature)) for size, each in by_size.items()},
            **{
                f"all_rows/{lr:g}/curvature": float(np.median(each.curvature)) for lr, each in by_rate.items()
            },
        },
        tables=(
            trained.table_of_ratios(found),
            trained.table_of_batches(by_size, settings.lr),
            trained.table_of_layers(found),
        ),
        pictures={
            "gradients_depth": lambda theme: pictures.by_depth(theme, by_depth, settings.width),
            "gradients_noise": lambda theme: pictures.by_trick(theme, found, "noise"),
            "gradients_variance": lambda theme: pictures.by_trick(theme, found, "variance"),
            "gradients_curvature": lambda theme: pictures.by_trick(theme, found, "curvature"),
            "gradients_batches": lambda theme: pictures.by_batch_size(theme, by_size, settings.lr),
            "gradients_clipping": pictures.opposed_gradients,
        },
    )
