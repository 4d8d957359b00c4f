"""Train a small network in one call of the engine.

`training.loop.fit` evaluates the network after every epoch, which takes longer than training it on few rows.
Where only the last weights matter, all steps are replayed at once, with the bits of `fit`.
"""

import numpy as np

from sweepgrad import engine, rng
from sweepgrad.autograd.value import Array
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import Optimizer
from sweepgrad.nn.schedules import CONSTANT, Schedule
from sweepgrad.training.loop import Examples, Fit, fit
from sweepgrad.training.shuffle import shuffled
from sweepgrad.training.steps import Update, training


def last_weights(
    network: Network,
    update: Update,
    rows: Examples,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    schedule: Schedule = CONSTANT,
    start: Weights | None = None,
    program: engine.Name = "native",
) -> Weights:
    """Return the weights after the last epoch, the same as those of `fit` to the last bit.

    Arguments:
        seed: for the order of rows and dropout, and for the initial weights if there is no `start`.
        start: the first weights.
        program: the engine.
    """
    start = network.initial(seed) if start is None else start
    batch_size = min(batch_size, len(rows.y))
    steps, rest = divmod(len(rows.y), batch_size)
    if not rest:  # else the last batch of an epoch is smaller and needs a tape of its own
        weights = _at_once(network, update, rows, epochs, steps, seed, schedule, start, program)
        if weights is not None:
            return weights
    *_, last = fit(
        network,
        update.optimizer,
        rows,
        Examples(rows.X[:1], rows.y[:1]),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        schedule=schedule,
        weight_decay=update.weight_decay,
        clip=update.clip,
        engine=engine.load(program),
        start=_begun(update.optimizer, start),
    )
    return network.divided(last.state[0])


def _begun(optimizer: Optimizer, start: Weights) -> Fit:
    flat = np.concatenate([w.reshape(-1) for w in start])
    return Fit((), start, 0, np.stack([flat, *optimizer.start(flat)]))


def _at_once(
    network: Network,
    update: Update,
    rows: Examples,
    epochs: int,
    steps: int,
    seed: int,
    schedule: Schedule,
    start: Weights,
    program: engine.Name,
) -> Weights | None:
    """Return the last weights, None if training diverged: `fit` reports where and why."""
    tape = training(network, update, len(rows.y) // steps, np.float64)
    buffer = np.zeros(tape.length)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    for label, number in {"scale": network.scale, "dropout": network.dropout, **update.inputs}.items():
        if label in tape.inputs:
            tape.inputs[label].of(buffer)[...] = number
    weights: Array = tape.inputs["weights"].of(buffer)
    weights[:] = np.concatenate([w.reshape(-1) for w in start])
    order = [shuffled(rng.key(seed, "order", epoch), len(rows.y)) for epoch in range(1, epochs + 1)]
    numbers = np.arange(epochs * steps)
    rates = float(update.optimizer.lr) * schedule.shares(numbers, len(numbers), steps)
    scalars = np.stack([np.broadcast_to(rates, numbers.shape), numbers + 1.0], axis=1)
    done, _ = engine.load(program)(
        tape,
        buffer,
        rows.X,
        rows.y.reshape(-1, 1),
        np.concatenate(order),
        scalars,
        rng.key(seed, "dropout"),
        1,
    )
    return network.divided(weights) if done == len(numbers) else None
