"""Diverged training: report the layer and the likely cause."""

import numpy as np

from sweepgrad.autograd.value import Array, Value, shapes_only
from sweepgrad.nn.network import Network
from sweepgrad.training.steps import Update

_ROWS_AT_ONCE = 256


class Diverged(ArithmeticError):
    """Training diverged: a loss or weight is infinite or NaN."""


def diverged(when: str, network: Network, update: Update, flat: Array, X: Array) -> Diverged:
    """Return the error with the layer and the likely cause, found by computing rows X layer by layer."""
    remedies = [f"optimizer.lr ({update.optimizer.lr:g})"]
    if network.scale > 1:
        remedies.append(f"model.scale ({network.scale:g})")
    if update.weight_decay > 0:
        remedies.append(f"train.weight_decay ({update.weight_decay:g})")
    return Diverged(f"training diverged {when}: {_cause(network, flat, X)}; lower {' or '.join(remedies)}")


def _cause(network: Network, flat: Array, X: Array) -> str:
    weights, layers = network.divided(flat), len(network.widths) - 1
    for number in range(1, layers + 1):
        if not all(np.isfinite(w).all() for w in weights[2 * number - 2 : 2 * number]):
            return f"weights of layer {number} of {layers} are infinite or NaN"
    for start in range(0, len(X), _ROWS_AT_ONCE):
        rows = Value(X[start : start + _ROWS_AT_ONCE].T)
        with shapes_only():
            for number, h in enumerate(network.layers([Value(w) for w in weights], rows), start=1):
                if not np.isfinite(h.data).all():
                    largest = max(float(np.abs(w).max()) for w in weights[2 * number - 2 : 2 * number])
                    return (
                        f"the outputs of layer {number} of {layers} are infinite, with weights up to"
                        f" {largest:.3g}"
                    )
    return f"the loss is infinite, with weights of the last layer up to {np.abs(weights[-2]).max():.3g}"
