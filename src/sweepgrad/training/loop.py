"""The one training loop: recorded once, replayed for every step of every epoch."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sweepgrad import engine as engines
from sweepgrad import rng
from sweepgrad.autograd.value import Array, ShapeError
from sweepgrad.engine import Replay
from sweepgrad.engine.tape import Tape
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import Optimizer
from sweepgrad.nn.schedules import CONSTANT, Schedule
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.task import RowWeights, Task
from sweepgrad.training.dataset import Examples as Examples
from sweepgrad.training.dataset import check
from sweepgrad.training.divergence import Diverged as Diverged
from sweepgrad.training.divergence import diverged
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import Examination
from sweepgrad.training.shuffle import shuffled
from sweepgrad.training.steps import Update, evaluation, training

# Rows whose losses are computed at once, after an epoch: enough for long loops, few enough to stay in cache.
EVALUATED_AT_ONCE = 256
# Parameters times rows that are replayed in one go, a few tenths of a second: Ctrl-C waits for the end of it.
WORK_AT_ONCE = 300_000_000
SMALLEST_WORK = 1_500  # what a step costs at least, in these units
_CARRIED = re.compile(r"weights|state\d+")  # the labels of what `steps.training` carries from step to step


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
    task: Task = BINARY,
    patience: int | None = None,
    schedule: Schedule = CONSTANT,
    weight_decay: float = 0.0,
    clip: float | None = None,
    class_weights: RowWeights | None = None,
    diagnose: bool = False,
    engine: Replay | None = None,
    start: Fit | None = None,
) -> Iterator[Fit]:
    """Train by minibatches, and give the state of things after each epoch; the last one is the result.

    Every epoch uses every row once, in an order of its own; the last batch may be smaller. The same
    arguments give the same bits. Weights are of the dtype of the training features.

    Arguments:
        batch_size: rows a step; more than there are means all of them.
        seed: for the initial weights, the order of rows and dropout.
        task: what the targets are.
        patience: stop after that many epochs without a lower validation loss; None never stops early.
        schedule: what share of the optimizer's learning rate each step takes.
        weight_decay: of the matrices, beside the optimizer's step; see `steps.Update`.
        clip: the length to which the gradient of a batch is shortened; None leaves it.
        class_weights: what losses are multiplied by in training, see `Task.class_weights`; None leaves them.
        diagnose: record statistics of the layers after each epoch; nothing else changes by it, to the bit.
        engine: from `engine.load`; None is the native one.
        start: what the same arguments gave with fewer epochs: training goes on from there, and comes to the
            same bits as without. A schedule that looks at the number of epochs takes another course.

    Raises:
        Diverged: a loss or weight is no longer a finite number.
        ShapeError: the examples, or the start, do not fit the network.
        ValueError: no rows; a target is none of the task; a feature is not finite; types differ.
    """
    for examples in (train, val):
        check(examples, network, task)
    if val.X.dtype != train.X.dtype or batch_size < 1:
        types = f"{train.X.dtype} and {val.X.dtype}"
        raise ValueError(f"features are of one type, not {types}, and batches of 1 row or more")
    dtype = train.X.dtype.type
    replay = engine or engines.load("native", dtype)
    update = Update(optimizer, weight_decay, clip)
    batch_size = min(batch_size, len(train.y))
    classes = class_weights.inputs if class_weights else {}
    inputs = {"scale": network.scale, "dropout": network.dropout, **update.inputs, **classes}
    record = partial(training, network, update, dtype=dtype, task=task, weighted=class_weights is not None)
    close_up = record(batch_size, closely=True) if diagnose else None
    steps = _Passes(record, batch_size, inputs, replay, close_up)
    steps.weights[:] = np.concatenate([w.reshape(-1) for w in network.initial(seed)])
    record = partial(evaluation, network, dtype=dtype, task=task, closely=diagnose)
    evaluate = _Passes(record, EVALUATED_AT_ONCE, inputs, replay)
    examination = Examination(network, train.X, replay, task) if diagnose else None
    key = rng.key(seed, "dropout")
    steps_an_epoch = -(-len(train.y) // batch_size)

    def scalars(numbers: NDArray[np.int64]) -> Array:
        """The learning rate of each of these steps, and its number."""
        shares = schedule.shares(numbers - 1, epochs * steps_an_epoch, steps_an_epoch)
        told = np.empty((len(numbers), 2), dtype)
        told[:, 0], told[:, 1] = float(optimizer.lr) * shares, numbers
        return told

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
            raise diverged(when, network, update, steps.weights, train.X[rows])
        evaluate.weights[:] = steps.weights
        (on_train, _), (on_val, watched) = (_evaluated(evaluate, rows, task) for rows in (train, val))
        if not (
            np.isfinite([*on_train.values(), *on_val.values()]).all() and np.isfinite(steps.weights).all()
        ):
            raise diverged(f"at the end of epoch {epoch}", network, update, steps.weights, train.X)
        stats = examination.stats(steps.weights, steps.seen, watched) if examination else None
        history = (*history, Epoch(on_train, on_val, stats))
        if best_epoch == 0 or history[-1].val_loss < history[best_epoch - 1].val_loss:
            best_weights, best_epoch = steps.weights.copy(), epoch
        yield Fit(history, network.divided(best_weights), best_epoch, np.stack(steps.carried))


def evaluated(
    network: Network, weights: Weights, examples: Examples, engine: Replay, task: Task = BINARY
) -> dict[str, float]:
    """The figures of weights, to the bits that `fit` has after an epoch with them."""
    record = partial(evaluation, network, dtype=examples.X.dtype.type, task=task)
    inputs = {"scale": network.scale, "dropout": network.dropout}
    evaluate = _Passes(record, EVALUATED_AT_ONCE, inputs, engine)
    evaluate.weights[:] = np.concatenate([w.reshape(-1) for w in weights])
    return _evaluated(evaluate, examples, task)[0]


class _Passes:
    """Passes over rows in batches: a tape for whole batches, one for the rest, and a buffer for both.

    Arguments:
        close_up: takes the place of the tape for whole batches at the first of these in a pass.

    Attributes:
        seen: what the close-up collected.
    """

    def __init__(
        self,
        record: Callable[[int], Tape],
        batch_size: int,
        inputs: dict[str, float],
        replay: Replay,
        close_up: Tape | None = None,
    ) -> None:
        self.record, self.batch_size, self.replay = record, batch_size, replay
        self.close_up, self.seen = close_up, np.zeros(0)
        self._tapes = {batch_size: record(batch_size)}
        whole = self._tapes[batch_size]
        self.buffer = np.zeros(whole.length, whole.dtype)
        for label, number in inputs.items():  # which have the same places on all tapes
            if label in whole.inputs:
                whole.inputs[label].of(self.buffer)[...] = number
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
        while step * self.batch_size < n:
            whole_left = n // self.batch_size - step
            rows = self.batch_size if whole_left else n % self.batch_size
            steps = min(whole_left or 1, self.steps_at_once)
            start = step * self.batch_size
            end = start + steps * rows
            chosen = np.arange(start, end) if order is None else order[start:end]
            told = scalars(np.arange(first + step, first + step + steps))
            seen = 0
            if step == 0 and self.close_up is not None:  # where it stops, so does the plain one
                few, few_told = chosen[:rows], told[:1]
                seen, (self.seen,) = self._replayed(self.close_up, examples, few, few_told, key, first)
            rest, rest_told, at = chosen[seen * rows :], told[seen:], first + step + seen
            done, numbers = self._replayed(self._tape(rows), examples, rest, rest_told, key, at)
            done += seen
            collected.append(numbers)
            step += done
            if done < steps:
                break
        return step, np.concatenate(collected)

    def _tape(self, rows: int) -> Tape:
        """The tape for batches of so many rows."""
        if rows not in self._tapes:
            self._tapes[rows] = self.record(rows)
        return self._tapes[rows]

    def _replayed(
        self, tape: Tape, examples: Examples, order: NDArray[np.int64], told: Array, key: int, first: int
    ) -> tuple[int, Array]:
        """As `native.replay`, with the tape's constants put into the buffer, which may have to grow."""
        if tape.length > len(self.buffer):
            self.buffer = np.concatenate([self.buffer, np.zeros(tape.length - len(self.buffer), tape.dtype)])
        for slot, constant in tape.constants:
            slot.of(self.buffer)[...] = constant
        targets = examples.y.reshape(-1, 1)
        return self.replay(tape, self.buffer, examples.X, targets, order, told, key, first)


def _evaluated(
    evaluate: _Passes, examples: Examples, task: Task
) -> tuple[dict[str, float], Mapping[str, float]]:
    """The figures of the rows; and the shares that only a diagnosis asks for, where they were collected."""
    _, sums = evaluate.run(examples, None, lambda steps: np.zeros((len(steps), 0), examples.X.dtype))
    loss, *means = (sums.sum(axis=0) / len(examples.y)).tolist()
    counts = dict(zip((*task.counted, *task.watched), means, strict=False))
    return task.figures(loss, counts), {name: counts[name] for name in task.watched if name in counts}
