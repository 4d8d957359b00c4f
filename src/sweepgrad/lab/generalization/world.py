"""The settings of docs/lab/bias_variance.md, and their training sets."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.section import Fraction, Section, Seed
from sweepgrad.lab.generalization.replicates import Recipe, drawn, of_all, resampled, truth
from sweepgrad.training.loop import Examples

Count = Annotated[int, Field(ge=1, le=2_000)]
Positive = Annotated[float, Field(gt=0)]
Widths = Annotated[tuple[Count, ...], Field(min_length=2, max_length=30)]


class Settings(Section):
    """The settings of `conf/experiment/lab/bias_variance.yaml`."""

    rows: Annotated[int, Field(ge=10, le=1_000)]
    replicates: Annotated[int, Field(ge=5, le=200)]
    points: Annotated[int, Field(ge=10, le=2_000)]
    widths: Widths
    feature_widths: Widths
    features: Annotated[int, Field(ge=2, le=100)]
    penalty: Positive
    width: Count
    epochs: Count
    batch_size: Count
    lr: Positive
    weight_decay: Positive
    dropout: Fraction
    ensemble: Annotated[int, Field(ge=2, le=50)]
    more: Annotated[int, Field(ge=2, le=10)]
    copies: Annotated[int, Field(ge=2, le=10)]
    jitter: Positive
    seed: Seed

    @field_validator("widths", "feature_widths")
    @classmethod
    def _ascending(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if list(widths) != sorted(set(widths)):
            raise ValueError(f"should ascend, not {list(widths)}")
        return widths

    @property
    def recipe(self) -> Recipe:
        """The training of the network without any method."""
        return Recipe(self.width, self.epochs, self.batch_size, self.lr)


@dataclass(frozen=True)
class World:
    """Training and validation sets, and the points at which predictions are compared with the truth."""

    settings: Settings
    sets: list[Examples]
    vals: list[Examples]
    points: Array
    truth: Array

    @staticmethod
    def of(settings: Settings) -> "World":
        def keys(purpose: str) -> list[int]:
            return [
                rng.key(settings.seed, f"lab/bias_variance/{purpose}", r) for r in range(settings.replicates)
            ]

        points = 2 * rng.uniform(rng.key(settings.seed, "lab/bias_variance/points"), (settings.points, 2)) - 1
        sets = [drawn(settings.rows, key) for key in keys("sets")]
        vals = [drawn(max(settings.rows // 2, 2), key) for key in keys("validation")]
        return World(settings, sets, vals, points, truth(points))

    @property
    def noise(self) -> float:
        """The squared error of the best prediction: the mean of p (1 - p)."""
        return float((self.truth * (1 - self.truth)).mean())

    def predictions(self, recipe: Recipe, sets: list[Examples] | None = None, member: int = 0) -> Array:
        """Return the predictions of a network trained on each set, (R, X).

        Arguments:
            sets: in place of the training sets.
            member: which network of an ensemble: each has seeds of its own, and number 0 those of all others.
        """
        n = len(self.sets)
        tasks = [
            partial(recipe.predictions, rows, val, self.points, member * n + r)
            for r, (rows, val) in enumerate(zip(sets or self.sets, self.vals, strict=True))
        ]
        return of_all(tasks)

    def ensemble(self) -> Array:
        """Return the predictions of networks with other seeds on the same training sets, (R, M, X)."""
        members = range(self.settings.ensemble)
        return np.stack([self.predictions(self.settings.recipe, member=m) for m in members], axis=1)

    def bagged(self) -> Array:
        """Return the predictions of networks that are each trained on a resample of a set, (R, M, X)."""
        found = []
        for m in range(self.settings.ensemble):
            sets = [resampled(rows, self.key(f"resample {m}", r)) for r, rows in enumerate(self.sets)]
            found.append(self.predictions(self.settings.recipe, sets, member=m))
        return np.stack(found, axis=1)

    def key(self, purpose: str, replicate: int) -> int:
        return rng.key(self.settings.seed, f"lab/bias_variance/{purpose}", replicate)
