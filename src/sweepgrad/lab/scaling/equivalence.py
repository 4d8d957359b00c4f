"""The equivalence of a scale of the output sigmoid with another start and other learning rates."""

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
"""Epsilon of Adagrad and Adam: a power of two, so that dividing it by another one is exact."""
OTHERS = (Momentum(0.02, 0.9), Adagrad(0.05, EPSILON), Adam(0.01, 0.9, 0.999, EPSILON))
HIDDEN, RATE_BY_HAND, STEPS_BY_HAND = 6, 0.1, 50
EPS = float(np.finfo(np.float64).eps)


def slope(scale: float, z: float) -> float:
    """Return the slope of sigmoid(scale z) at z, computed with `Value`."""
    x = Value(z)
    (result,) = gradient(sigmoid(x, scale), [x])
    return result.item()


def pull(scale: float, z: Array, y: Array) -> Array:
    """Return the gradient of each row's loss with respect to its score z (N,), computed with `Value`; (N,)."""
    scores = Value(z)
    (result,) = gradient(negative_loglikelihood_of_scores(y, scores, scale) * len(y), [scores])
    return result.data


def at_scale_one(stepper: Stepper, scale: float) -> Stepper:
    """Return the optimizer that at scale 1 trains u = scale · v as `stepper` at `scale` trains the last weights v.

    The gradient with respect to v is `scale` times that with respect to u. Steps of SGD and momentum are
    proportional to it, so the rate of u is scale² times as large. Adagrad and Adam normalize the gradient, so one
    of the two factors is left.
    """
    if isinstance(stepper, SGD | Momentum):
        return replace(stepper, lr=float(stepper.lr) * scale**2)
    return replace(stepper, lr=float(stepper.lr) * scale, epsilon=float(stepper.epsilon) / scale)


@dataclass(frozen=True)
class Runs:
    """Training of logistic regression on a table, from given weights.

    Arguments:
        batch_size, seed: as for a run.
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
    def stable_rate(self) -> float:
        """2 / K at scale 1, with the largest K of a single row, |(x, 1)|² / 4: no batch has a larger one."""
        return 8 / float((1 + (self.train.X**2).sum(axis=1)).max())

    def trained(self, scale: float, stepper: Stepper, start: Array) -> Fit:
        """Train at a scale from weights `start` (n_parameters,), and return the last state."""
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
        """Return the difference of scale · v, trained at `scale`, and u, trained at scale 1 by `at_scale_one`.

        It is the largest difference of a weight, relative to the largest weight; both start at the same function.
        """
        start = rng.normal(rng.key(self.seed, "lab/scale"), (self.network.n_parameters,))
        v = self.trained(scale, stepper, start).state[0]
        u = self.trained(1.0, at_scale_one(stepper, scale), scale * start).state[0]
        return _difference([scale * v], [u])

    def loss(self, scale: float, rate: float) -> float:
        """Return the training loss of SGD at this rate, starting from zero weights."""
        start = np.zeros(self.network.n_parameters)
        return self.trained(scale, SGD(rate), start).history[-1].train_loss


def with_a_hidden_layer(
    rows: Examples, scale: float, rates: tuple[float, float], start: Sequence[Array]
) -> list[Array]:
    """Return the weights after some steps of gradient descent on all rows, with a hidden layer of tanh units.

    Arguments:
        rates: of the hidden and of the last layer.
        start: the first weights, in the form of `Network.initial`.
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
    """Return the same as `Runs.difference` with a hidden layer, which keeps its rate unless `one_rate` is set."""
    start = Network(rows.X.shape[1], (HIDDEN,), "tanh").initial(seed)
    *hidden, matrix, bias = with_a_hidden_layer(rows, scale, (RATE_BY_HAND, RATE_BY_HAND), start)
    last = RATE_BY_HAND * scale**2
    larger = [*start[:-2], scale * start[-2], scale * start[-1]]
    others = with_a_hidden_layer(rows, 1.0, (last if one_rate else RATE_BY_HAND, last), larger)
    return _difference([*hidden, scale * matrix, scale * bias], others)


def rounding(steps: int, batch_size: int, features: int) -> float:
    """Estimate from above the difference by rounding of two runs that are equivalent in exact arithmetic.

    It is relative to the largest weight. A step of gradient descent on a convex loss at a rate of at most 2/K
    does not increase the distance of two points (docs/lab/scale.md), so the errors of the steps add up and do not
    grow. A step sums `features` + 1 products for each row, and `batch_size` rows, each rounded to half an ulp, and
    has about ten more operations; the factor 4 allows for weights that are larger during training than at its end,
    and for the norm of a vector of errors. Since it neglects cancellation within sums, it is no proven bound.
    """
    return 4 * steps * (features + batch_size + 10) * EPS


def mean_loss(y: Array, log_odds: Array) -> float:
    """Return the mean negative log-likelihood of labels y (N,) at these log-odds (N,)."""
    return float(np.logaddexp(0, (1 - 2 * y) * log_odds).mean())


def _difference(some: Sequence[Array], others: Sequence[Array]) -> float:
    """Return the largest difference of two lists of arrays, relative to the largest number of the second."""
    a, b = (np.concatenate([array.reshape(-1) for array in arrays]) for arrays in (some, others))
    return float(np.abs(a - b).max() / np.abs(b).max())
