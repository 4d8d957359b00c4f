"""Train a network with and without each trick, and measure its gradients afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.lab.stability.adagrad_norm import AdagradNorm
from sweepgrad.lab.stability.lipschitz import batch_gradients, curvature, loss
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad
from sweepgrad.nn.schedules import CONSTANT, InverseRoot, Schedule, Staircase
from sweepgrad.training.loop import Examples, fit


@dataclass(frozen=True)
class Trick:
    """The settings for training a network; by default plain SGD with a constant rate and ReLU units."""

    optimizer: SGD | Adagrad | AdagradNorm
    schedule: Schedule = CONSTANT
    activation: str = "relu"
    clip: float | None = None
    dropout: float = 0.0


@dataclass(frozen=True)
class Statistics:
    """Statistics of the gradients of a trained network; one number for each seed, (S,), except `layers`.

    Attributes:
        norm: norm of the gradient over all training rows, without dropout.
        variance: variance of a batch's gradient in training, before clipping: the mean of |g - ḡ|² over the
            batches of a pass.
        ratio: gradient norm of the first layer divided by that of the last one.
        curvature: see `lipschitz.curvature`.
        noise: see `noise_of`, over the last quarter of the epochs.
        nll: loss on the training rows after training.
        length: norm of all weights.
        rate: the learning rate of the last step; NaN for Adagrad, which has one for each weight.
        layers: `norm` and `variance` of each layer, (S, L, 2).
        weights: after training, (S, n_parameters).
    """

    norm: Array
    variance: Array
    ratio: Array
    curvature: Array
    noise: Array
    nll: Array
    length: Array
    rate: Array
    layers: Array
    weights: Array


NAMES = ("norm", "variance", "ratio", "curvature", "noise", "nll", "length")


PASSES = 5
"""Number of passes over which `raised_by_masks` takes the mean."""
RATES = ("1/√t", "staircase", "Adagrad", "AdaGrad-Norm")
"""The tricks of `tricks` that change the learning rate."""


def tricks(
    lr: float, epochs: int, delay: int, norm_lr: float, clip: float, dropout: float
) -> dict[str, Trick]:
    """Return the tricks by name, plain SGD first.

    Arguments:
        delay: in steps, of the rate that decays with 1/√t.
        norm_lr: of AdaGrad-Norm, the length of its first step.
    """
    plain = Trick(SGD(lr))
    return {
        "plain": plain,
        "1/√t": replace(plain, schedule=InverseRoot(delay)),
        "staircase": replace(plain, schedule=Staircase(max(1, epochs // 3), 0.3)),
        "Adagrad": Trick(Adagrad(lr / 5, 1e-8)),
        "AdaGrad-Norm": Trick(AdagradNorm(norm_lr)),
        "tanh": replace(plain, activation="tanh"),
        "sigmoid": replace(plain, activation="sigmoid"),
        "clipped": replace(plain, clip=clip),
        "dropout": replace(plain, dropout=dropout),
    }


def statistics(
    trick: Trick,
    hidden: tuple[int, ...],
    rows: Examples,
    seeds: Sequence[int],
    *,
    epochs: int,
    batch_size: int,
) -> Statistics:
    """Train with each seed and measure the gradients."""

    def one(seed: int) -> tuple[list[float], list[list[float]], Array]:
        network = Network(rows.X.shape[1], hidden, trick.activation, trick.dropout)
        *_, last = fit(
            network,
            trick.optimizer,
            rows,
            Examples(rows.X[:1], rows.y[:1]),
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            schedule=trick.schedule,
            clip=trick.clip,
        )
        flat = last.state[0]
        key = rng.key(seed, "lab/gradients/signs")
        w = Value(flat)
        (whole,) = gradient(loss(network, w, Value(rows.X), Value(rows.y)), [w])
        batches = batch_gradients(network, flat, rows, batch_size, key, drop=trick.dropout > 0)
        squares = (batches - batches.mean(axis=0)) ** 2
        ends = np.cumsum([0, *((inputs + 1) * outputs for inputs, outputs in pairwise(network.widths))])
        layers = [
            [_length(whole.data[a:b]), float(squares[:, a:b].sum(axis=1).mean())] for a, b in pairwise(ends)
        ]
        losses = np.array([epoch.train_loss for epoch in last.history])
        late = losses[-max(4, epochs // 4) :]
        numbers = [
            float(np.linalg.norm(whole.data)),
            float(squares.sum(axis=1).mean()),
            layers[0][0] / layers[-1][0],
            curvature(network, flat, rows, key),
            noise_of(late),
            float(losses[-1]),
            float(np.linalg.norm(flat)),
            _last_rate(trick, last.state, epochs, -(-len(rows.y) // batch_size)),
        ]
        return numbers, layers, flat

    found = side_by_side(one, seeds)
    norm, variance, ratio, steepest, noise, nll, length, rate = np.array([numbers for numbers, *_ in found]).T
    layers, weights = (np.array([each[place] for each in found]) for place in (1, 2))
    return Statistics(norm, variance, ratio, steepest, noise, nll, length, rate, layers, weights)


def noise_of(losses: Array) -> float:
    """Return the mean of |Lₜ₊₁ - 2Lₜ + Lₜ₋₁| over epochs (N,): how much the loss scatters around its trend.

    Progress at a constant pace adds nothing to it.
    """
    return float(np.abs(np.diff(losses, 2)).mean())


def raised_by_masks(
    weights: Array, hidden: tuple[int, ...], rows: Examples, dropout: float, *, batch_size: int, seed: int
) -> Array:
    """Return the variance of a batch's gradient with dropout divided by that without, at the same weights; (S,).

    Both are means over `PASSES` passes, with the same batches.

    Arguments:
        weights: of networks with ReLU units, (S, n_parameters).
    """
    network = Network(rows.X.shape[1], hidden, "relu", dropout)

    def one(number: int) -> float:
        with_masks, without = (
            [
                batch_gradients(
                    network, weights[number], rows, batch_size, rng.fold(key, number, n), drop=drop
                )
                for n in range(PASSES)
            ]
            for drop in (True, False)
        )
        return float(np.mean([*map(spread, with_masks)]) / np.mean([*map(spread, without)]))

    key = rng.key(seed, "lab/gradients/masks")
    return np.array(side_by_side(one, range(len(weights))))


def spread(vectors: Array) -> float:
    """Return the variance of vectors (N, P): the mean squared distance from their mean."""
    return float(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())


def at_batch_sizes(
    lr: float,
    hidden: tuple[int, ...],
    rows: Examples,
    seeds: Sequence[int],
    *,
    sizes: Sequence[int],
    n_steps: int,
) -> dict[int, Statistics]:
    """Train plain SGD with batches of several sizes for the same number of steps, up to a part of an epoch.

    Only the noise of the gradients differs, and with it the number of passes over the rows.
    """
    found = {}
    for size in sizes:
        epochs = epochs_of(n_steps, len(rows.y), size)
        found[size] = statistics(Trick(SGD(lr)), hidden, rows, seeds, epochs=epochs, batch_size=size)
    return found


def without_noise(
    rates: Sequence[float],
    hidden: tuple[int, ...],
    rows: Examples,
    seeds: Sequence[int],
    *,
    total: float,
) -> dict[float, Statistics]:
    """Train by gradient descent on all rows at several rates, until the sum of the rates is `total`."""
    found = {}
    for lr in rates:
        epochs = max(2, round(total / lr))
        found[lr] = statistics(Trick(SGD(lr)), hidden, rows, seeds, epochs=epochs, batch_size=len(rows.y))
    return found


def epochs_of(n_steps: int, n_rows: int, batch_size: int) -> int:
    """Return the number of epochs, at least two, that is closest to a number of steps."""
    return max(2, round(n_steps / -(-n_rows // batch_size)))


def _last_rate(trick: Trick, state: Array, epochs: int, steps_an_epoch: int) -> float:
    if isinstance(trick.optimizer, Adagrad):
        return float("nan")
    n_steps, lr = epochs * steps_an_epoch, float(trick.optimizer.lr)
    if isinstance(trick.optimizer, AdagradNorm):
        return lr / float(np.sqrt(state[1, 0]))
    return lr * float(trick.schedule.shares(np.array([n_steps - 1]), n_steps, steps_an_epoch)[0])


def _length(layer: Array) -> float:
    """Return the norm of a layer's gradient; for a dead layer, the smallest positive number instead of 0."""
    return max(float(np.linalg.norm(layer)), float(np.finfo(np.float64).tiny))
