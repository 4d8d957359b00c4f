"""Optimizers: how a step follows from a gradient.

Each is a frozen record of its hyperparameters with two functions. `start(w)` gives the state kept for one
weight array: a tuple of arrays of its shape. `step(w, g, state, t)` takes the weight, its gradient, its
state and the number of the step (from 1), and returns the new weight and the new state. They use
arithmetic only, so the same lines work on arrays and on `Value`s.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sweepgrad.autograd.value import Array

State = tuple[Array, ...]


class Optimizer(Protocol):
    def start(self, w: Array) -> State: ...

    def step(self, w: Array, g: Array, state: State, t: int) -> tuple[Array, State]: ...


@dataclass(frozen=True)
class SGD:
    """w ← w - lr g (Robbins & Monro, "A stochastic approximation method", 1951)."""

    lr: float

    def start(self, w: Array) -> State:
        return ()

    def step(self, w: Array, g: Array, state: State, t: int) -> tuple[Array, State]:
        return w - self.lr * g, ()


@dataclass(frozen=True)
class Momentum:
    """v ← momentum v + g; w ← w - lr v (Polyak, 1964; in this form Sutskever et al., ICML 2013)."""

    lr: float
    momentum: float

    def start(self, w: Array) -> State:
        return (np.zeros_like(w),)

    def step(self, w: Array, g: Array, state: State, t: int) -> tuple[Array, State]:
        (v,) = state
        v = self.momentum * v + g
        return w - self.lr * v, (v,)


@dataclass(frozen=True)
class Adagrad:
    """s ← s + g²; w ← w - lr g / (√s + epsilon) (Duchi, Hazan & Singer, JMLR 12, 2011)."""

    lr: float
    epsilon: float

    def start(self, w: Array) -> State:
        return (np.zeros_like(w),)

    def step(self, w: Array, g: Array, state: State, t: int) -> tuple[Array, State]:
        (s,) = state
        s = s + g * g
        return w - self.lr * g / (s**0.5 + self.epsilon), (s,)


@dataclass(frozen=True)
class Adam:
    """Running means of g and g², corrected for their start at zero (Kingma & Ba, ICLR 2015, algorithm 1)."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float

    def start(self, w: Array) -> State:
        return np.zeros_like(w), np.zeros_like(w)

    def step(self, w: Array, g: Array, state: State, t: int) -> tuple[Array, State]:
        m, v = state
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * (g * g)
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        return w - self.lr * m_hat / (v_hat**0.5 + self.epsilon), (m, v)


OPTIMIZERS: dict[str, type[SGD | Momentum | Adagrad | Adam]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "adam": Adam,
}
