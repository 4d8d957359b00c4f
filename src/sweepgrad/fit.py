"""The one training loop: recorded once, replayed for every step of every epoch."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweepgrad import engine as engines
from sweepgrad import rng
from sweepgrad.autograd.value import Array, ShapeError, Value, shapes_only
from sweepgrad.engine import Replay
from sweepgrad.engine.tape import Tape
from sweepgrad.nn import Network, Weights
from sweepgrad.optim import CONSTANT, Optimizer, Schedule
from sweepgrad.order import shuffled
from sweepgrad.steps import Update, evaluation, training

# Rows whose losses are computed at once, after an epoch: enough for long loops, few enough to stay in cache.
EVALUATED_AT_ONCE = 256
# Parameters times rows that are replayed in one go, a few tenths of a second: Ctrl-C waits for the end of it.
WORK_AT_ONCE = 300_000_000
SMALLEST_WORK = 1_500  # what a step costs at least, in these units
CHECKED_AT_ONCE = 1 << 16
_CARRIED = re.compile(r"weights|state\d+")  # the labels of what `steps.training` carries from step to step


class Diverged(ArithmeticError):
    """Training left the finite numbers; the message says when, in which layer, and the likely cause."""


@dataclass(frozen=True)
class Examples:
    """Features X (N, D) in C order and labels y (N,), zeros and ones; both float64, or both float32."""

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
        state: what training goes on from, (1 + K, n_parameters): all weights after the last epoch, and below
            them the K arrays that the optimizer keeps.
    """

    history: tuple[Epoch, ...]
    weights: Weights
    best_epoch: int
    state: Array

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
    schedule: Schedule = CONSTANT,
    weight_decay: float = 0.0,
    clip: float | None = None,
    engine: Replay | None = None,
    start: Fit | None = None,
) -> Iterator[Fit]:
    """Train by minibatches, and give the state of things after each epoch; the last one is the result.

    Every epoch uses every row once, in an order of its own; the last batch may be smaller. The same
    arguments give the same bits. Weights are of the dtype of the training features.

    Arguments:
        batch_size: rows a step; more than there are means all of them.
        seed: for the initial weights, the order of rows and dropout.
        patience: stop after that many epochs without a lower validation loss; None never stops early.
        schedule: what share of the optimizer's learning rate each step takes.
        weight_decay: of the matrices, beside the optimizer's step; see `steps.Update`.
        clip: the length to which the gradient of a batch is shortened; None leaves it.
        engine: from `engine.load`; None is the native one.
        start: what the same arguments gave with fewer epochs: training goes on from there, and comes to the
            same bits as without. A schedule that looks at the number of epochs takes another course.

    Raises:
        Diverged: a loss or weight is no longer a finite number.
        ShapeError: the examples, or the start, do not fit the network.
        ValueError: no rows; a label is neither 0 nor 1; a feature is not finite; types differ.
    """
    for examples in (train, val):
        _check(examples, network)
    if val.X.dtype != train.X.dtype or batch_size < 1:
        types = f"{train.X.dtype} and {val.X.dtype}"
        raise ValueError(f"features are of one type, not {types}, and batches of 1 row or more")
    dtype = train.X.dtype.type
    replay = engine or engines.load("native", dtype)
    update = Update(optimizer, weight_decay, clip)
    batch_size = min(batch_size, len(train.y))
    inputs = {"scale": network.scale, "dropout": network.dropout, **update.inputs}
    steps = _Passes(lambda rows: training(network, update, rows, dtype), batch_size, inputs, replay)
    steps.weights[:] = np.concatenate([w.reshape(-1) for w in network.initial(seed)])
    evaluate = _Passes(lambda rows: evaluation(network, rows, dtype), EVALUATED_AT_ONCE, inputs, replay)
    key = rng.key(seed, "dropout")
    steps_an_epoch = -(-len(train.y) // batch_size)

    def scalars(numbers: NDArray[np.int64]) -> Array:
        """The learning rate of each of these steps, and its number."""
        shares = schedule.shares(numbers - 1, epochs * steps_an_epoch, steps_an_epoch)
        return np.stack([float(optimizer.lr) * shares, numbers], axis=1).astype(dtype)

    history: tuple[Epoch, ...] = ()
    best_weights, best_epoch = steps.weights.copy(), 0
    if start is not None:
        steps.go_on_from(start.state)
        history, best_epoch = start.history, start.best_epoch
        best_weights = np.concatenate([w.reshape(-1) for w in start.weights])
    for epoch in range(len(history) + 1, epochs + 1):
        if patience is not None and history and len(history) - best_epoch >= patience:
            return
        order = shuffled(rng.key(seed, "order", epoch), len(train.y))
        done, _ = steps.run(train, order, scalars, key, first=(epoch - 1) * steps_an_epoch + 1)
        if done < steps_an_epoch:
            rows = order[done * batch_size : (done + 1) * batch_size]
            when = f"in epoch {epoch}, at step {done + 1} of {steps_an_epoch}"
            raise _diverged(when, network, update, steps.weights, train.X[rows])
        evaluate.weights[:] = steps.weights
        numbers = [*_loss_and_accuracy(evaluate, train), *_loss_and_accuracy(evaluate, val)]
        if not (np.isfinite(numbers).all() and np.isfinite(steps.weights).all()):
            raise _diverged(f"at the end of epoch {epoch}", network, update, steps.weights, train.X)
        history = (*history, Epoch(*numbers))
        if best_epoch == 0 or history[-1].val_nll < history[best_epoch - 1].val_nll:
            best_weights, best_epoch = steps.weights.copy(), epoch
        yield Fit(history, network.divided(best_weights), best_epoch, np.stack(steps.carried))


def _check(examples: Examples, network: Network) -> None:
    X, y = examples.X, examples.y
    if X.ndim != 2 or X.shape[1] != network.n_features:
        raise ShapeError(f"the network takes (N, {network.n_features}) features, not {X.shape}")
    if y.shape != (len(X),) or y.dtype != X.dtype:
        raise ShapeError(
            f"features are {X.dtype} {X.shape}, so labels are ({len(X)},), not {y.dtype} {y.shape}"
        )
    if X.dtype not in (np.float64, np.float32) or not X.flags.c_contiguous:
        raise ValueError(f"features are float64 or float32 and in C order, not {X.dtype} {X.strides}")
    if not len(X):
        raise ValueError("there must be rows to train on, and to validate on")
    if not ((y == 0) | (y == 1)).all():
        raise ValueError("labels must be 0 or 1")
    for start in range(0, len(X), CHECKED_AT_ONCE):  # a large table may be mapped from a file
        if not np.isfinite(X[start : start + CHECKED_AT_ONCE]).all():
            raise ValueError("a feature is infinite or no number")


class _Passes:
    """Passes over rows in batches: a tape for whole batches, one for the rest, and a buffer for both."""

    def __init__(
        self, record: Callable[[int], Tape], batch_size: int, inputs: dict[str, float], replay: Replay
    ) -> None:
        self.record, self.batch_size, self.inputs, self.replay = record, batch_size, inputs, replay
        self._tapes = {batch_size: record(batch_size)}
        whole = self._tapes[batch_size]
        self.buffer = np.zeros(whole.length, whole.dtype)
        work = max(SMALLEST_WORK, self.weights.size * batch_size)
        self.steps_at_once = max(1, WORK_AT_ONCE // work)

    @property
    def weights(self) -> Array:
        """(n_parameters,), a view of the buffer."""
        return self._tapes[self.batch_size].inputs["weights"].of(self.buffer)

    @property
    def carried(self) -> list[Array]:
        """The weights and the optimizer's arrays, each (n_parameters,), as views of the buffer."""
        inputs = self._tapes[self.batch_size].inputs
        return [slot.of(self.buffer) for label, slot in inputs.items() if _CARRIED.fullmatch(label)]

    def go_on_from(self, state: Array) -> None:
        """Take what was carried to the end of an earlier epoch, as `Fit.state` has it."""
        carried = self.carried
        shape = (len(carried), self.weights.size)
        if state.shape != shape or state.dtype != self.buffer.dtype:
            kind = f"{self.buffer.dtype} {shape}, not {state.dtype} {state.shape}"
            raise ShapeError(f"the state that this network and optimizer go on from is {kind}")
        for mine, given in zip(carried, state, strict=True):
            mine[:] = given

    def run(
        self,
        examples: Examples,
        order: NDArray[np.int64] | None,
        scalars: Callable[[NDArray[np.int64]], Array],
        key: int = 0,
        first: int = 1,
    ) -> tuple[int, Array]:
        """Go through the rows once, until a number is not finite.

        Arguments:
            order: of the rows; None takes them as they stand.
            scalars: takes numbers of steps (S,), gives what is told to each of them, (S, C).
            key: of the masks.
            first: the number of the first step.

        Returns:
            The number of steps done, and what each collected.
        """
        n, step, collected = len(examples.y), 0, []
        targets = examples.y.reshape(-1, 1)
        while step * self.batch_size < n:
            whole_left = n // self.batch_size - step
            rows = self.batch_size if whole_left else n % self.batch_size
            steps = min(whole_left or 1, self.steps_at_once)
            start = step * self.batch_size
            end = start + steps * rows
            chosen = np.arange(start, end) if order is None else order[start:end]
            told = scalars(np.arange(first + step, first + step + steps))
            tape = self._ready(rows)
            done, numbers = self.replay(
                tape, self.buffer, examples.X, targets, chosen, told, key, first + step
            )
            collected.append(numbers)
            step += done
            if done < steps:
                break
        return step, np.concatenate(collected)

    def _ready(self, rows: int) -> Tape:
        """The tape for batches of so many rows, its constants and inputs in the buffer."""
        if rows not in self._tapes:
            self._tapes[rows] = self.record(rows)
        tape = self._tapes[rows]
        if tape.length > len(self.buffer):
            self.buffer = np.concatenate([self.buffer, np.zeros(tape.length - len(self.buffer), tape.dtype)])
        for slot, constant in tape.constants:
            slot.of(self.buffer)[...] = constant
        for label, number in self.inputs.items():
            if label in tape.inputs:
                tape.inputs[label].of(self.buffer)[...] = number
        return tape


def _loss_and_accuracy(evaluate: _Passes, examples: Examples) -> tuple[float, float]:
    _, sums = evaluate.run(examples, None, lambda steps: np.zeros((len(steps), 0), examples.X.dtype))
    loss, wrong = sums.sum(axis=0) / len(examples.y)
    return float(loss), 1 - float(wrong)


def _diverged(when: str, network: Network, update: Update, flat: Array, X: Array) -> Diverged:
    """Say in which layer and why, by computing these rows layer by layer once more."""
    remedies = [f"optimizer.lr ({update.optimizer.lr:g})"]
    if network.scale > 1:
        remedies.append(f"model.scale ({network.scale:g})")
    if update.weight_decay > 0:
        remedies.append(f"train.weight_decay ({update.weight_decay:g})")
    return Diverged(f"training diverged {when}: {_culprit(network, flat, X)}; lower {' or '.join(remedies)}")


def _culprit(network: Network, flat: Array, X: Array) -> str:
    weights, layers = network.divided(flat), len(network.widths) - 1
    for number in range(1, layers + 1):
        if not all(np.isfinite(w).all() for w in weights[2 * number - 2 : 2 * number]):
            return f"weights of layer {number} of {layers} are infinite or no number"
    for start in range(0, len(X), EVALUATED_AT_ONCE):
        rows = Value(X[start : start + EVALUATED_AT_ONCE].T)
        with shapes_only():
            for number, h in enumerate(network.layers([Value(w) for w in weights], rows), start=1):
                if not np.isfinite(h.data).all():
                    largest = max(float(np.abs(w).max()) for w in weights[2 * number - 2 : 2 * number])
                    return (
                        f"layer {number} of {layers} gives infinite numbers, its weights reach {largest:.3g}"
                    )
    return f"the loss is infinite, weights of the last layer reach {np.abs(weights[-2]).max():.3g}"
