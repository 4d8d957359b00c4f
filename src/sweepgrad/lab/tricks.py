"""One network trained with and without each trick, and what its gradients are like then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.lab.lipschitz import batch_gradients, curvature, loss
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad
from sweepgrad.nn.schedules import CONSTANT, InverseRoot, Schedule, Staircase
from sweepgrad.training.loop import Examples, fit


@dataclass(frozen=True)
class Trick:
    """How a network is trained; without changes, plain SGD with a constant rate on ReLU units."""

    optimizer: SGD | Adagrad
    schedule: Schedule = CONSTANT
    activation: str = "relu"
    clip: float | None = None
    dropout: float = 0.0


@dataclass(frozen=True)
class Signs:
    """What a trained network's gradients are like; one number for each seed, (S,) each, but for `layers`.

    Attributes:
        norm: of the gradient of all training rows, without dropout.
        variance: of a batch's gradient as training has it, before it is clipped: the mean of |g - ḡ|² over the
            batches of a pass.
        ratio: the length of the first layer's gradient over the last one's.
        curvature: see `lipschitz.curvature`.
        trembling: how much the training loss changes from epoch to epoch, over the last quarter of them.
        nll: on training rows, at the end.
        length: of all weights.
        layers: `norm` and `variance` of each layer's part, (S, L, 2).
    """

    norm: Array
    variance: Array
    ratio: Array
    curvature: Array
    trembling: Array
    nll: Array
    length: Array
    layers: Array


NAMES = ("norm", "variance", "ratio", "curvature", "trembling", "nll", "length")


def tricks(lr: float, epochs: int, delay: int, clip: float, dropout: float) -> dict[str, Trick]:
    """The plain one first."""
    plain = Trick(SGD(lr))
    return {
        "plain": plain,
        "1/√t": replace(plain, schedule=InverseRoot(delay)),
        "staircase": replace(plain, schedule=Staircase(max(1, epochs // 3), 0.3)),
        "Adagrad": Trick(Adagrad(lr / 5, 1e-8)),
        "tanh": replace(plain, activation="tanh"),
        "sigmoid": replace(plain, activation="sigmoid"),
        "clipped": replace(plain, clip=clip),
        "dropout": replace(plain, dropout=dropout),
    }


def signs(
    trick: Trick,
    hidden: tuple[int, ...],
    rows: Examples,
    seeds: Sequence[int],
    *,
    epochs: int,
    batch_size: int,
) -> Signs:
    """Train with each seed, and look."""

    def one(seed: int) -> tuple[list[float], list[list[float]]]:
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
        apart = (batches - batches.mean(axis=0)) ** 2
        ends = np.cumsum([0, *((inputs + 1) * outputs for inputs, outputs in pairwise(network.widths))])
        layers = [
            [_length(whole.data[a:b]), float(apart[:, a:b].sum(axis=1).mean())] for a, b in pairwise(ends)
        ]
        losses = np.array([epoch.train_loss for epoch in last.history])
        late = losses[-max(4, epochs // 4) :]
        numbers = [
            float(np.linalg.norm(whole.data)),
            float(apart.sum(axis=1).mean()),
            layers[0][0] / layers[-1][0],
            curvature(network, flat, rows, key),
            float(np.abs(np.diff(late)).mean()),
            float(losses[-1]),
            float(np.linalg.norm(flat)),
        ]
        return numbers, layers

    found = side_by_side(one, seeds)
    norm, variance, ratio, steepest, trembling, nll, length = np.array([numbers for numbers, _ in found]).T
    layers = np.array([of_layers for _, of_layers in found])
    return Signs(norm, variance, ratio, steepest, trembling, nll, length, layers)


def _length(layer: Array) -> float:
    """Of a layer's gradient; one that is dead has none at all, and then it is the smallest number."""
    return max(float(np.linalg.norm(layer)), float(np.finfo(np.float64).tiny))
