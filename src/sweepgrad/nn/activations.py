"""Activations of hidden layers, with their initial weights and their measure of stuck units.

An activation made of operations of `Value` needs only a record here and its name in `config.model`: both
engines record these operations on the tape. For one that is fused with its layer, see `engine.tape.FUSED`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.extensions import Registry

# A unit is saturated where the activation's slope is below this share of its largest.
FLAT = 0.01


def he(key: int, inputs: int, outputs: int) -> Array:
    """Return weights (inputs, outputs), normal with variance 2 / inputs.

    He et al., "Delving deep into rectifiers", ICCV 2015: a ReLU sets half of its inputs to 0.
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
    """Return the share of units of h (width, N), all at least 0, that are 0 for every row; a scalar."""
    return (1 - h.sum(axis=1).step()).mean()


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        function: maps a layer's pre-activations (width, N) to its outputs (width, N).
        initial: draws the weights (inputs, outputs) before it from a key.
        stuck: from the outputs (width, N), the share with next to no gradient; a scalar. None where the
            outputs do not show it.
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
        # The slope of the sigmoid is at most 1/4.
        "sigmoid": Activation(Value.sigmoid, stuck=lambda h: (FLAT * 0.25 - h * (1 - h)).step().mean()),
    },
)
