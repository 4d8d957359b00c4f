"""The training loop: a step is recorded once, and replayed for every step of every epoch."""

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

# Rows per batch of the evaluation after an epoch: enough for long loops, few enough to stay in cache.
EVALUATED_AT_ONCE = 256
# Parameters times rows per call of the engine, a few tenths of a second: Ctrl-C waits for its end.
WORK_AT_ONCE = 300_000_000
SMALLEST_WORK = 1_500  # the least cost of a step, in the same unit
_CARRIED = re.compile(r"weights|state\d+")  # labels of the arrays that `steps.training` carries between steps


@dataclass(frozen=True)
class Fit:
    """The state of training after an epoch.

    Attributes:
        history: the figures of each epoch so far.
        weights: the weights after the best epoch.
        best_epoch: the first epoch with the lowest validation loss, counted from 1.
        state: the state to continue from, (1 + K, n_parameters): all weights after the last epoch, then the
            K arrays of the optimizer.
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
    """Train with minibatches, and yield the state after each epoch; the last one is the result.

    Every epoch uses every row once, in a new order; the last batch may be smaller. The same arguments give
    the same bits. Weights have the dtype of the training features.

    Arguments:
        batch_size: rows per step; if larger than the training set, all rows.
        seed: for the initial weights, the order of rows and dropout.
        task: the kind of target.
        patience: stop after that many epochs without a lower validation loss; None never stops early.
        schedule: the factor of the learning rate at each step.
        weight_decay: decoupled weight decay of the matrices, see `steps.Update`.
        clip: the norm to which the gradient of a batch is clipped; None does not clip.
        class_weights: factors of the training losses, see `Task.class_weights`; None for none.
        diagnose: record layer statistics after each epoch; the training itself is the same to the bit.
        engine: from `engine.load`; None for the native one.
        start: a result of the same arguments with fewer epochs, to continue from. The bits are those of
            training all epochs at once, unless the schedule depends on the number of epochs.

    Raises:
        Diverged: a loss or weight is infinite or NaN.
        ShapeError: the examples or `start` do not fit the network.
        ValueError: no rows; a target that the task does not have; a feature is not finite; dtypes differ.
    """
    for examples in (train, val):
        check(examples, network, task)
    if val.X.dtype != train.X.dtype or batch_size < 1:
        types = f"{train.X.dtype} and {val.X.dtype}"
        raise ValueError(f"features must have one dtype, not {types}, and batches at least 1 row")
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
        """Return the learning rate and the number of each of these steps, (S, 2)."""
        shares = schedule.shares(numbers - 1, epochs * steps_an_epoch, steps_an_epoch)
        values = np.empty((len(numbers), 2), dtype)
        values[:, 0], values[:, 1] = float(optimizer.lr) * shares, numbers
        return values

    history: tuple[Epoch, ...] = ()
    best_weights, best_epoch = steps.weights.copy(), 0
    if start is not None:
        steps.restore(start.state)
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
    """Return the figures of weights, with the same bits as in `fit`."""
    record = partial(evaluation, network, dtype=examples.X.dtype.type, task=task)
    inputs = {"scale": network.scale, "dropout": network.dropout}
    evaluate = _Passes(record, EVALUATED_AT_ONCE, inputs, engine)
    evaluate.weights[:] = np.concatenate([w.reshape(-1) for w in weights])
    return _evaluated(evaluate, examples, task)[0]


class _Passes:
    """Passes over rows in batches: a tape for full batches, one for the last batch, and a buffer for both.

    Arguments:
        close_up: a tape that replaces that for full batches in the first step of a pass.

    Attributes:
        seen: the numbers that `close_up` collected.
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
        for label, number in inputs.items():  # at the same places on all tapes
            if label in whole.inputs:
                whole.inputs[label].of(self.buffer)[...] = number
        work = max(SMALLEST_WORK, self.weights.size * batch_size)
        self.steps_at_once = max(1, WORK_AT_ONCE // work)

    @property
    def weights(self) -> Array:
        """The weights, (n_parameters,), a view of the buffer."""
        return self._tapes[self.batch_size].inputs["weights"].of(self.buffer)

    @property
    def carried(self) -> list[Array]:
        """The weights and the optimizer's arrays, each (n_parameters,), as views of the buffer."""
        inputs = self._tapes[self.batch_size].inputs
        return [slot.of(self.buffer) for label, slot in inputs.items() if _CARRIED.fullmatch(label)]

    def restore(self, state: Array) -> None:
        """Restore the weights and the optimizer's arrays from `Fit.state`."""
        carried = self.carried
        shape = (len(carried), self.weights.size)
        if state.shape != shape or state.dtype != self.buffer.dtype:
            kind = f"{self.buffer.dtype} {shape}, not {state.dtype} {state.shape}"
            raise ShapeError(f"the state to continue from must be {kind}, for this network and optimizer")
        for array, values in zip(carried, state, strict=True):
            array[:] = values

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
            order: of the rows; None for that of the table.
            scalars: takes the numbers of steps (S,), returns the scalar inputs of each, (S, C).
            key: random key of the dropout masks.
            first: number of the first step.

        Returns:
            The number of steps done, and the numbers that each collected.
        """
        n, step, collected = len(examples.y), 0, []
        while step * self.batch_size < n:
            whole_left = n // self.batch_size - step
            rows = self.batch_size if whole_left else n % self.batch_size
            steps = min(whole_left or 1, self.steps_at_once)
            start = step * self.batch_size
            end = start + steps * rows
            chosen = np.arange(start, end) if order is None else order[start:end]
            values = scalars(np.arange(first + step, first + step + steps))
            before = 0
            if step == 0 and self.close_up is not None:  # if it diverges, so does the other tape
                batch = chosen[:rows]
                before, (self.seen,) = self._replayed(self.close_up, examples, batch, values[:1], key, first)
            rest, at = chosen[before * rows :], first + step + before
            done, numbers = self._replayed(self._tape(rows), examples, rest, values[before:], key, at)
            done += before
            collected.append(numbers)
            step += done
            if done < steps:
                break
        return step, np.concatenate(collected)

    def _tape(self, rows: int) -> Tape:
        """Return the tape for batches of that many rows."""
        if rows not in self._tapes:
            self._tapes[rows] = self.record(rows)
        return self._tapes[rows]

    def _replayed(
        self, tape: Tape, examples: Examples, order: NDArray[np.int64], scalars: Array, key: int, first: int
    ) -> tuple[int, Array]:
        """Replay a tape, see `native.replay`, after writing its constants to the buffer."""
        if tape.length > len(self.buffer):
            self.buffer = np.concatenate([self.buffer, np.zeros(tape.length - len(self.buffer), tape.dtype)])
        for slot, constant in tape.constants:
            slot.of(self.buffer)[...] = constant
        targets = examples.y.reshape(-1, 1)
        return self.replay(tape, self.buffer, examples.X, targets, order, scalars, key, first)


def _evaluated(
    evaluate: _Passes, examples: Examples, task: Task
) -> tuple[dict[str, float], Mapping[str, float]]:
    """Return the figures of the rows, and the shares for layer statistics if they were collected."""
    _, sums = evaluate.run(examples, None, lambda steps: np.zeros((len(steps), 0), examples.X.dtype))
    loss, *means = (sums.sum(axis=0) / len(examples.y)).tolist()
    counts = dict(zip((*task.counted, *task.watched), means, strict=False))
    return task.figures(loss, counts), {name: counts[name] for name in task.watched if name in counts}
