"""Train a small network in one call of the engine.

`training.loop.fit` evaluates the network after every epoch, which takes longer than training it on so few
rows. Where only the last weights matter, all steps are replayed at once, with the bits of `fit`.
"""

import numpy as np

from sweepgrad import engine, rng
from sweepgrad.autograd.value import Array
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import Optimizer
from sweepgrad.training.loop import Examples, fit
from sweepgrad.training.shuffle import shuffled
from sweepgrad.training.steps import Update, training


def last_weights(
    network: Network, update: Update, rows: Examples, *, epochs: int, batch_size: int, seed: int
) -> Weights:
    """Return the weights after the last epoch, the same as those of `fit` to the last bit."""
    batch_size = min(batch_size, len(rows.y))
    steps, rest = divmod(len(rows.y), batch_size)
    if rest:  # the last batch of an epoch is smaller, so it needs a tape of its own
        return _by_epochs(network, update, rows, epochs, batch_size, seed)
    tape = training(network, update, batch_size, np.float64)
    buffer = np.zeros(tape.length)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    for label, number in {"scale": network.scale, "dropout": network.dropout, **update.inputs}.items():
        if label in tape.inputs:
            tape.inputs[label].of(buffer)[...] = number
    weights: Array = tape.inputs["weights"].of(buffer)
    weights[:] = np.concatenate([w.reshape(-1) for w in network.initial(seed)])
    order = [shuffled(rng.key(seed, "order", epoch), len(rows.y)) for epoch in range(1, epochs + 1)]
    numbers = np.arange(1.0, epochs * steps + 1)
    scalars = np.stack([np.full(len(numbers), float(update.optimizer.lr)), numbers], axis=1)
    targets = rows.y.reshape(-1, 1)
    replay = engine.load("native")
    done, _ = replay(
        tape, buffer, rows.X, targets, np.concatenate(order), scalars, rng.key(seed, "dropout"), 1
    )
    if done < len(numbers):  # it says where and why training diverged
        return _by_epochs(network, update, rows, epochs, batch_size, seed)
    return network.divided(weights)


def _by_epochs(
    network: Network, update: Update, rows: Examples, epochs: int, batch_size: int, seed: int
) -> Weights:
    optimizer: Optimizer = update.optimizer
    *_, last = fit(
        network,
        optimizer,
        rows,
        Examples(rows.X[:1], rows.y[:1]),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        weight_decay=update.weight_decay,
        clip=update.clip,
    )
    return network.divided(last.state[0])
