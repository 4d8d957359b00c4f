"""Activations: what comes after each hidden layer, how weights start before it, and where it learns nothing.

One that is made of operations of `Value` needs no more than its record here and its name in `config.model`:
it is recorded on the tape as these operations, for both engines. For one that is fused with its layer, see
`engine.tape.FUSED`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.extensions import Registry

# Saturated: the activation's slope, by which backpropagation multiplies, is below this share of its largest.
FLAT = 0.01


def he(key: int, inputs: int, outputs: int) -> Array:
    """Return weights (inputs, outputs), normal with variance 2 / inputs.

    He et al., "Delving deep into rectifiers", ICCV 2015: half of what a ReLU takes in comes out as 0.
    """
    weights: Array = rng.normal(key, (inputs, outputs)) * np.sqrt(2 / inputs)
    return weights


def glorot(key: int, inputs: int, outputs: int) -> Array:
    """Return weights (inputs, outputs), uniform with variance 2 / (inputs + outputs).

    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """
    weights: Array = (2 * rng.uniform(key, (inputs, outputs)) - 1) * np.sqrt(6 / (inputs + outputs))
    return weights


def dead_units(h: Value) -> Value:
    """Return the share of units of h (width, N), none of it below 0, that give 0 for every row; a scalar."""
    return (1 - h.sum(axis=1).step()).mean()


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        function: of what a layer's weights give, (width, N), to as many numbers.
        initial: random weights (inputs, outputs) before it, of a key.
        stuck: the share of what it gives, (width, N), that nothing is learned through; a scalar. None where
            this cannot be told of what it gives.
        stuck_as: whether `stuck` counts dead units or saturated unit-row pairs.
    """

    function: Callable[[Value], Value]
    initial: Callable[[int, int, int], Array] = glorot
    stuck: Callable[[Value], Value] | None = None
    stuck_as: Literal["dead", "saturated"] = "saturated"


ACTIVATIONS: Registry[Activation] = Registry(
    "activation's function",
    {
        "relu": Activation(Value.relu, he, dead_units, "dead"),
        "tanh": Activation(Value.tanh, stuck=lambda h: (FLAT - (1 - h * h)).step().mean()),
        # Its slope is 1/4 at most.
        "sigmoid": Activation(Value.sigmoid, stuck=lambda h: (FLAT * 0.25 - h * (1 - h)).step().mean()),
    },
)
