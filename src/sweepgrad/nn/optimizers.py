"""Optimizers: plain SGD, momentum, Adagrad and Adam, and gradient clipping.

Each is a frozen record of its hyperparameters with two functions. `start(w)` returns the initial state for a
weight array: a tuple of arrays of its shape. `step(w, g, state, t)` takes the weight, its gradient, its state
and the number of the step (from 1), and returns the new weight and the new state. They use arithmetic only,
so the same code works on arrays and on `Value`s, hyperparameters too; the training tape is recorded from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sweepgrad.autograd.value import Array, Value
from sweepgrad.extensions import Registry

Number = float | Value
State = tuple[Any, ...]  # arrays, or `Value`s when the weight is one


class Optimizer(Protocol):
    @property
    def lr(self) -> Number: ...

    def start(self, w: Array) -> tuple[Array, ...]: ...

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]: ...


@dataclass(frozen=True)
class SGD:
    """w ← w - lr g (Robbins & Monro, "A stochastic approximation method", 1951)."""

    lr: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return ()

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        return w - self.lr * g, ()


@dataclass(frozen=True)
class Momentum:
    """v ← momentum v + g; w ← w - lr v (Polyak, 1964; in this form Sutskever et al., ICML 2013)."""

    lr: Number
    momentum: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return (np.zeros_like(w),)

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        (v,) = state
        v = self.momentum * v + g
        return w - self.lr * v, (v,)


@dataclass(frozen=True)
class Adagrad:
    """s ← s + g²; w ← w - lr g / (√s + epsilon) (Duchi, Hazan & Singer, JMLR 12, 2011)."""

    lr: Number
    epsilon: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return (np.zeros_like(w),)

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        (s,) = state
        s = s + g * g
        return w - self.lr * (g / (s**0.5 + self.epsilon)), (s,)


@dataclass(frozen=True)
class Adam:
    """Running means of g and g², corrected for their start at zero (Kingma & Ba, ICLR 2015).

    The corrections are moved into the rate and epsilon, as at the end of the paper's section 2. That saves
    two passes over the weights and changes only rounding.
    """

    lr: Number
    beta1: Number
    beta2: Number
    epsilon: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return np.zeros_like(w), np.zeros_like(w)

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        m, v = state
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * (g * g)
        root = (1 - self.beta2**t) ** 0.5
        rate = self.lr * (root / (1 - self.beta1**t))
        return w - rate * (m / (v**0.5 + self.epsilon * root)), (m, v)


OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry(
    "optimizer's step", {"sgd": SGD, "momentum": Momentum, "adagrad": Adagrad, "adam": Adam}
)


def clipped(g: Value, largest: Value) -> tuple[Value, Value]:
    """Return the gradient with its norm clipped to `largest`, and its norm before.

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    norm = (g * g).sum() ** 0.5
    return g * (largest / (largest + (norm - largest).relu())), norm
