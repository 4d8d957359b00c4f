"""The one training loop."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sweepgrad import metrics, rng
from sweepgrad.autograd.functional import negative_loglikelihood_of_scores
from sweepgrad.autograd.value import Array, DomainError, Value, gradient
from sweepgrad.nn import Network, Weights
from sweepgrad.optim import Optimizer


class Diverged(ArithmeticError):
    """Training left the finite numbers; the message says when and what the likely cause is."""


@dataclass(frozen=True)
class Examples:
    """Features X (N, D) and labels y (N,), zeros and ones, float64."""

    X: Array
    y: Array


@dataclass(frozen=True)
class Epoch:
    """What held after an epoch, without dropout: mean losses in nats, accuracies in [0, 1]."""

    train_nll: float
    train_accuracy: float
    val_nll: float
    val_accuracy: float


@dataclass(frozen=True)
class Fit:
    """Training so far.

    Attributes:
        history: one record for each epoch.
        weights: those after the best epoch.
        best_epoch: the first with the lowest validation loss, counted from 1.
    """

    history: tuple[Epoch, ...]
    weights: Weights
    best_epoch: int

    @property
    def best(self) -> Epoch:
        return self.history[self.best_epoch - 1]


def fit(
    network: Network,
    optimizer: Optimizer,
    train: Examples,
    val: Examples,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    patience: int | None = None,
) -> Iterator[Fit]:
    """Train by minibatches, and give the state of things after each epoch; the last one is the result.

    Every epoch uses every row once, in an order of its own; the last batch may be smaller. The same
    arguments give the same bits.

    Arguments:
        batch_size: rows a step; more than there are means all of them.
        seed: for the initial weights, the order of rows and dropout.
        patience: stop after that many epochs without a lower validation loss; None never stops early.

    Raises:
        Diverged: a loss or weight is no longer a finite number.
    """
    weights = network.initial(seed)
    states = tuple(optimizer.start(w) for w in weights)
    history: tuple[Epoch, ...] = ()
    best_weights, best_epoch, t = weights, 0, 0
    for epoch in range(1, epochs + 1):
        order = rng.permutation(rng.key(seed, "order", epoch), len(train.y))
        for start in range(0, len(order), batch_size):
            t += 1
            rows = order[start : start + batch_size]
            dropped = network.hidden if network.dropout > 0 else ()
            keys = [rng.key(seed, "dropout", t, layer) for layer in range(len(dropped))]
            gradients = _gradients(network, weights, train.X[rows], train.y[rows], keys, epoch)
            with np.errstate(over="ignore", invalid="ignore"):  # the next step or the epoch's end notices
                steps = [optimizer.step(*each, t) for each in zip(weights, gradients, states, strict=True)]
            weights, states = tuple(w for w, _ in steps), tuple(s for _, s in steps)
        history = (*history, _evaluate(network, weights, train, val, epoch))
        if best_epoch == 0 or history[-1].val_nll < history[best_epoch - 1].val_nll:
            best_weights, best_epoch = weights, epoch
        yield Fit(history, best_weights, best_epoch)
        if patience is not None and epoch - best_epoch >= patience:
            return


def _gradients(
    network: Network, weights: Weights, X: Array, y: Array, dropout_keys: list[int], epoch: int
) -> list[Array]:
    try:
        leaves = [Value(w) for w in weights]
        loss = negative_loglikelihood_of_scores(
            y, network.scores(leaves, Value(X), dropout_keys), network.scale
        )
        return [g.data for g in gradient(loss, leaves)]
    except DomainError as error:
        raise _diverged(epoch, network, str(error)) from None


def _evaluate(network: Network, weights: Weights, train: Examples, val: Examples, epoch: int) -> Epoch:
    try:
        numbers = [*_loss_and_accuracy(network, weights, train), *_loss_and_accuracy(network, weights, val)]
    except DomainError as error:
        raise _diverged(epoch, network, str(error)) from None
    if not all(np.isfinite(array).all() for array in (np.array(numbers), *weights)):
        raise _diverged(epoch, network, "a loss or weight is infinite")
    return Epoch(*numbers)


def _loss_and_accuracy(network: Network, weights: Weights, examples: Examples) -> tuple[float, float]:
    scores = network.scores([Value(w) for w in weights], Value(examples.X))
    loss = negative_loglikelihood_of_scores(examples.y, scores, network.scale).item()
    return loss, metrics.accuracy(examples.y, (scores.data >= 0).astype(np.float64))


def _diverged(epoch: int, network: Network, what: str) -> Diverged:
    scale = f" or model.scale ({network.scale:g})" if network.scale > 1 else ""
    return Diverged(f"training diverged in epoch {epoch}: {what}. Lower optimizer.lr{scale}.")
