"""Training that leaves the finite numbers: saying in which layer, and the likely cause."""

import numpy as np

from sweepgrad.autograd.value import Array, Value, shapes_only
from sweepgrad.nn.network import Network
from sweepgrad.training.steps import Update

_ROWS_AT_ONCE = 256


class Diverged(ArithmeticError):
    """Training left the finite numbers; the message says when, in which layer, and the likely cause."""


def diverged(when: str, network: Network, update: Update, flat: Array, X: Array) -> Diverged:
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
    for start in range(0, len(X), _ROWS_AT_ONCE):
        rows = Value(X[start : start + _ROWS_AT_ONCE].T)
        with shapes_only():
            for number, h in enumerate(network.layers([Value(w) for w in weights], rows), start=1):
                if not np.isfinite(h.data).all():
                    largest = max(float(np.abs(w).max()) for w in weights[2 * number - 2 : 2 * number])
                    return (
                        f"layer {number} of {layers} gives infinite numbers, its weights reach {largest:.3g}"
                    )
    return f"the loss is infinite, weights of the last layer reach {np.abs(weights[-2]).max():.3g}"
