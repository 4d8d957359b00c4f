"""A teacher network that labels a table, and networks of the same size trained on it."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from sweepgrad import engine, rng
from sweepgrad.config.section import Section, Seed
from sweepgrad.lab.retraining.symmetry import Activation, Symmetry
from sweepgrad.lab.training import last_weights
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import SGD, Adam
from sweepgrad.nn.schedules import Cosine, Schedule
from sweepgrad.training.loop import Examples
from sweepgrad.training.steps import Update

FEATURES = 2


class Settings(Section):
    """The settings of `conf/experiment/lab/twice.yaml`."""

    hidden: Annotated[int, Field(ge=2, le=100)]
    activation: Activation
    rows: Annotated[int, Field(ge=100, le=5_000)]
    epochs: Annotated[int, Field(ge=1, le=5_000)]
    batch_size: Annotated[int, Field(ge=1, le=5_000)]
    lr: Annotated[float, Field(gt=0)]
    seeds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


@dataclass(frozen=True)
class Teacher:
    """A network, and a table whose labels are drawn with its probabilities."""

    network: Network
    weights: Weights
    rows: Examples

    @staticmethod
    def of(settings: Settings) -> "Teacher":
        network = Network(FEATURES, (settings.hidden,), settings.activation)
        shapes = ((FEATURES, settings.hidden), (settings.hidden,), (settings.hidden, 1))
        sizes = (2.0, 1.0, 4.0)  # large enough for the labels to depend on every unit
        into, bias, out = (
            size * rng.normal(rng.key(settings.seed, "lab/twice/teacher", i), shape)
            for i, (size, shape) in enumerate(zip(sizes, shapes, strict=True))
        )
        X = rng.normal(rng.key(settings.seed, "lab/twice/X"), (settings.rows, FEATURES))
        weights = (into, bias, out, np.zeros(1))
        y = rng.uniform(rng.key(settings.seed, "lab/twice/y"), (settings.rows,)) < network.probabilities(
            weights, X
        )
        return Teacher(network, weights, Examples(X, y.astype(np.float64)))

    def trained(
        self,
        seed: int,
        settings: Settings,
        *,
        start: Weights | None = None,
        epochs: int | None = None,
        name: engine.Name = "native",
    ) -> Weights:
        """Train from the initial weights of a seed or from `start`; return the last weights.

        Arguments:
            start: the first weights; the order of rows is still that of the seed.
        """
        return trained(
            self.network,
            self.rows,
            Adam(settings.lr, 0.9, 0.999, 1e-8),
            Cosine(0.0),
            epochs or settings.epochs,
            settings.batch_size,
            seed,
            start,
            name,
        )


def trained(
    network: Network,
    rows: Examples,
    optimizer: Adam | SGD,
    schedule: Schedule,
    epochs: int,
    batch_size: int,
    seed: int,
    start: Weights | None = None,
    name: engine.Name = "native",
) -> Weights:
    """Train and return the last weights; see `Teacher.trained`."""
    return last_weights(
        network,
        Update(optimizer),
        rows,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        schedule=schedule,
        start=start,
        program=name,
    )


def symmetries(network: Network, key: int) -> list[Symmetry]:
    """Return a permutation, and a flip (tanh) or a rescaling by powers of two (ReLU) of hidden units."""
    (n_hidden,) = network.hidden
    order = np.roll(np.arange(n_hidden), 1)
    coins = rng.uniform(key, (n_hidden,)) < 0.5
    coins[0] = True
    factors = np.where(coins, -1.0 if network.activation == "tanh" else 4.0, 1.0)
    return [Symmetry(order, np.ones(n_hidden)), Symmetry(np.arange(n_hidden), factors)]
