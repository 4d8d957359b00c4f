"""One network trained with and without each trick, and what its gradients are like then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.fit import Examples, fit
from sweepgrad.lab.lipschitz import batch_gradients, curvature, flattened, loss
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn import Network, Weights
from sweepgrad.optim import CONSTANT, SGD, Adagrad, InverseRoot, Schedule, Staircase


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
    """What a trained network's gradients are like; one number for each seed, (S,) each.

    Attributes:
        norm: of the gradient of all training rows, without dropout.
        variance: of a batch's gradient as training has it, the mean of |g - ḡ|² over the batches of a pass.
        ratio: the length of the first layer's gradient over the last one's.
        curvature: see `lipschitz.curvature`.
        trembling: how much the training loss changes from epoch to epoch, over the last quarter of them.
        nll: on training rows, at the end.
        length: of all weights.
    """

    norm: Array
    variance: Array
    ratio: Array
    curvature: Array
    trembling: Array
    nll: Array
    length: Array


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

    def one(seed: int) -> list[float]:
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
        layers = network.divided(whole.data)
        losses = np.array([epoch.train_nll for epoch in last.history])
        late = losses[-max(4, epochs // 4) :]
        return [
            float(np.linalg.norm(whole.data)),
            float(((batches - batches.mean(axis=0)) ** 2).sum(axis=1).mean()),
            _length(layers[:2]) / _length(layers[-2:]),
            curvature(network, flat, rows, key),
            float(np.abs(np.diff(late)).mean()),
            float(losses[-1]),
            float(np.linalg.norm(flat)),
        ]

    return Signs(*np.array(side_by_side(one, seeds)).T)


def _length(layer: Weights) -> float:
    """A layer that is dead has no gradient at all; then it is the smallest number."""
    return max(float(np.linalg.norm(flattened(layer))), float(np.finfo(np.float64).tiny))
