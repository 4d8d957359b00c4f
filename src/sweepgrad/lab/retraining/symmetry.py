"""Symmetries of networks with one hidden layer: permuted, flipped and rescaled hidden units."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sweepgrad.autograd.value import Array
from sweepgrad.nn.network import Weights

Activation = Literal["tanh", "relu"]


@dataclass(frozen=True)
class Symmetry:
    """A change of weights that does not change the function.

    Attributes:
        order: the index of the old unit for each new one, (H,).
        factors: each new unit's incoming weights and bias are multiplied by its factor and its outgoing weight is
            divided by it, (H,): -1 or 1 for tanh, which is odd; any positive number for ReLU.
    """

    order: NDArray[np.int64]
    factors: Array

    def of(self, weights: Weights) -> Weights:
        """Return the changed weights."""
        into, bias, out, last = weights
        c = self.factors
        return into[:, self.order] * c, bias[self.order] * c, out[self.order] / c[:, None], last


def units(weights: Weights) -> Array:
    """Return each hidden unit as a vector: its incoming weights, bias and outgoing weight; (H, D + 2)."""
    into, bias, out, _ = weights
    return np.concatenate([into.T, bias[:, None], out], axis=1)


def balanced(weights: Weights) -> Weights:
    """Return the same ReLU network with incoming and outgoing weights of equal norm for each unit."""
    into, bias, out, _ = weights
    length = np.sqrt((into**2).sum(axis=0) + bias**2)
    factors = np.sqrt(np.abs(out[:, 0]) / length)
    return Symmetry(np.arange(len(bias)), factors).of(weights)


def matched(weights: Weights, to: Weights, activation: Activation) -> Weights:
    """Return the weights of the same function that are nearest to those of another network.

    The best permutation is an assignment problem (Kuhn, "The Hungarian method", 1955), with the better sign of
    each pair for tanh. ReLU networks are `balanced` first, which fixes the factors.
    """
    if activation == "relu":
        weights, to = balanced(weights), balanced(to)
    own, other = units(weights), units(to)
    plain = ((other[:, None] - own[None]) ** 2).sum(axis=2)
    flipped = ((other[:, None] + own[None]) ** 2).sum(axis=2)
    costs = np.minimum(plain, flipped) if activation == "tanh" else plain
    rows, order = linear_sum_assignment(costs)
    signs = np.where(flipped[rows, order] < plain[rows, order], -1.0, 1.0)
    return Symmetry(order, signs if activation == "tanh" else np.ones(len(order))).of(weights)


def distance(weights: Weights, to: Weights) -> float:
    """Return the norm of the difference divided by the norm of the other's weights."""
    own, other = (np.concatenate([w.reshape(-1) for w in each]) for each in (weights, to))
    return float(np.linalg.norm(own - other) / np.linalg.norm(other))
