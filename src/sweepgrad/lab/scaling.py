"""What a scale of the output sigmoid is equal to: another start, and other learning rates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.functional import margins, negative_loglikelihood_of_scores, sigmoid
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.training.loop import Examples, Fit, fit

Stepper = SGD | Momentum | Adagrad | Adam

EPSILON = 2.0**-20
"""Of Adagrad and Adam here: a power of two, so that dividing it by another one rounds nothing."""
OTHERS = (Momentum(0.02, 0.9), Adagrad(0.05, EPSILON), Adam(0.01, 0.9, 0.999, EPSILON))
HIDDEN, RATE_BY_HAND, STEPS_BY_HAND = 6, 0.1, 50
EPS = float(np.finfo(np.float64).eps)


def slope(scale: float, z: float) -> float:
    """The slope of sigmoid(scale z) at z, by `Value`."""
    x = Value(z)
    (result,) = gradient(sigmoid(x, scale), [x])
    return result.item()


def pull(scale: float, z: Array, y: Array) -> Array:
    """The gradient of each row's loss with respect to its score z (N,), by `Value`; (N,)."""
    scores = Value(z)
    (result,) = gradient(negative_loglikelihood_of_scores(y, scores, scale) * len(y), [scores])
    return result.data


def at_scale_one(stepper: Stepper, scale: float) -> Stepper:
    """What trains u = scale · v at scale 1 as `stepper` trains the weights v of a last layer at `scale`.

    The gradient with respect to v is `scale` times that to u. SGD and momentum step in proportion to it, so u
    moves by scale² times the rate. Adagrad and Adam divide it by its own size, up to epsilon: of the two
    factors one is left.
    """
    if isinstance(stepper, SGD | Momentum):
        return replace(stepper, lr=float(stepper.lr) * scale**2)
    return replace(stepper, lr=float(stepper.lr) * scale, epsilon=float(stepper.epsilon) / scale)


@dataclass(frozen=True)
class Runs:
    """Training of logistic regression on a table, from given weights on.

    Arguments:
        batch_size, seed: as of a run.
    """

    train: Examples
    val: Examples
    epochs: int
    batch_size: int
    seed: int

    @property
    def network(self) -> Network:
        return Network(self.train.X.shape[1], (), None)

    @property
    def calm(self) -> float:
        """2 / K at scale 1, with the K of the one row that has the largest, |(x, 1)|² / 4: no batch has more."""
        return 8 / float((1 + (self.train.X**2).sum(axis=1)).max())

    def trained(self, scale: float, stepper: Stepper, start: Array) -> Fit:
        """The last state of training at a scale, from weights `start` (n_parameters,) on."""
        network = replace(self.network, scale=scale)
        begun = Fit((), network.divided(start), 0, np.stack([start, *stepper.start(start)]))
        *_, last = fit(
            network,
            stepper,
            self.train,
            self.val,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            start=begun,
        )
        return last

    def difference(self, scale: float, stepper: Stepper) -> float:
        """How far scale · v, trained at `scale`, is from u, trained at scale 1 by `at_scale_one`.

        The largest difference of a weight, over the largest weight; both start at the same function.
        """
        start = rng.normal(rng.key(self.seed, "lab/scale"), (self.network.n_parameters,))
        v = self.trained(scale, stepper, start).state[0]
        u = self.trained(1.0, at_scale_one(stepper, scale), scale * start).state[0]
        return _apart([scale * v], [u])

    def loss(self, scale: float, rate: float) -> float:
        """The training loss to which SGD at this rate comes from weights of zero."""
        start = np.zeros(self.network.n_parameters)
        return self.trained(scale, SGD(rate), start).history[-1].train_loss


def with_a_hidden_layer(
    rows: Examples, scale: float, rates: tuple[float, float], start: Sequence[Array]
) -> list[Array]:
    """Weights after some steps of gradient descent on all rows, a hidden layer of tanh at its own rate.

    Arguments:
        rates: of the hidden and of the last layer.
        start: the weights to begin with, as `Network.initial` gives them.
    """
    network = Network(rows.X.shape[1], (HIDDEN,), "tanh")
    weights, X = [*start], Value(rows.X)
    for _ in range(STEPS_BY_HAND):
        values = [Value(w) for w in weights]
        loss = margins(rows.y, network.scores(values, X), scale).softplus().mean()
        steps = zip((rates[0], rates[0], rates[1], rates[1]), gradient(loss, values), strict=True)
        weights = [w - rate * g.data for w, (rate, g) in zip(weights, steps, strict=True)]
    return weights


def difference_with_a_hidden_layer(
    rows: Examples, scale: float, seed: int, *, one_rate: bool = False
) -> float:
    """As `Runs.difference`, with a hidden layer, whose rate stays; or does not, with one rate for all."""
    start = Network(rows.X.shape[1], (HIDDEN,), "tanh").initial(seed)
    *hidden, matrix, bias = with_a_hidden_layer(rows, scale, (RATE_BY_HAND, RATE_BY_HAND), start)
    last = RATE_BY_HAND * scale**2
    larger = [*start[:-2], scale * start[-2], scale * start[-1]]
    there = with_a_hidden_layer(rows, 1.0, (last if one_rate else RATE_BY_HAND, last), larger)
    return _apart([*hidden, scale * matrix, scale * bias], there)


def rounding(steps: int, batch_size: int, features: int) -> float:
    """What rounding may part two runs by that are the same on paper, relative to the largest weight.

    A step of gradient descent on a convex loss at a rate of at most 2/K takes no two points further apart
    (docs/lab/sgd.md), so errors add up and do not grow. A step sums `features` + 1 products for each row and
    `batch_size` rows, each rounded to half an ulp, with some ten operations beside; 4 is for weights that are
    larger on the way than at its end, and for the step from the largest error to that of a vector.
    """
    return 4 * steps * (features + batch_size + 10) * EPS


def _apart(some: Sequence[Array], others: Sequence[Array]) -> float:
    """The largest difference of two lists of arrays, over the largest number of the others."""
    a, b = (np.concatenate([array.reshape(-1) for array in arrays]) for arrays in (some, others))
    return float(np.abs(a - b).max() / np.abs(b).max())
