"""Training sets with a known truth, and networks trained on each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.training import last_weights
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Adam
from sweepgrad.training.loop import Examples, fit
from sweepgrad.training.steps import Update

STEEPNESS = 4.0


def truth(X: Array) -> Array:
    """Return the probability of label 1 for each row of X (N, 2), (N,): four fields, as on a chessboard."""
    probabilities: Array = expit(STEEPNESS * np.sin(np.pi * X[:, 0]) * np.sin(np.pi * X[:, 1]))
    return probabilities


def drawn(rows: int, key: int) -> Examples:
    """Draw a training set: points uniform in the square from -1 to 1, labels by their probabilities."""
    X = 2 * rng.uniform(rng.fold(key, 0), (rows, 2)) - 1
    y = rng.uniform(rng.fold(key, 1), (rows,)) < truth(X)
    return Examples(X, y.astype(np.float64))


def jittered(rows: Examples, copies: int, deviation: float, key: int) -> Examples:
    """Return augmented data: each row several times, with noise on its features and the same label."""
    noise = deviation * rng.normal(key, (copies, *rows.X.shape))
    noise[0] = 0
    return Examples((rows.X + noise).reshape(-1, rows.X.shape[1]), np.tile(rows.y, copies))


def resampled(rows: Examples, key: int) -> Examples:
    """Draw a bootstrap sample: as many rows with replacement (Efron, 1979)."""
    chosen = np.floor(len(rows.y) * rng.uniform(key, (len(rows.y),))).astype(np.int64)
    return Examples(rows.X[chosen], rows.y[chosen])


@dataclass(frozen=True)
class Recipe:
    """The settings for training a network on a training set.

    Attributes:
        stopped: keep the weights of the epoch with the lowest validation loss instead of the last ones.
    """

    width: int
    epochs: int
    batch_size: int
    lr: float
    dropout: float = 0.0
    weight_decay: float = 0.0
    stopped: bool = False

    @property
    def network(self) -> Network:
        return Network(2, (self.width,), "relu", self.dropout)

    def predictions(self, rows: Examples, val: Examples, points: Array, seed: int) -> Array:
        """Train a network on these rows; return its probabilities at points (X, 2), (X,)."""
        network, optimizer = self.network, Adam(self.lr, 0.9, 0.999, 1e-8)
        if self.stopped:
            *_, last = fit(
                network,
                optimizer,
                rows,
                val,
                epochs=self.epochs,
                batch_size=self.batch_size,
                seed=seed,
                weight_decay=self.weight_decay,
            )
            weights = last.weights
        else:
            update = Update(optimizer, self.weight_decay)
            weights = last_weights(
                network, update, rows, epochs=self.epochs, batch_size=self.batch_size, seed=seed
            )
        return replace(network, dropout=0.0).probabilities(weights, points)


def of_all(tasks: Sequence[Callable[[], Array]]) -> Array:
    """Return the results of tasks, stacked in their order."""
    return np.stack(side_by_side(lambda task: task(), tasks))
