"""Learning rate schedules: constant, inverse root, staircase and cosine.

Each is a frozen record of its settings, which `config.schedules` checks under the same name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sweepgrad.extensions import Registry


class Schedule(Protocol):
    def shares(self, steps: NDArray[np.int64], n_steps: int, steps_an_epoch: int) -> NDArray[np.float64]:
        """Return the factor of the learning rate at each of these steps, from 0, of a run of `n_steps`."""


@dataclass(frozen=True)
class Constant:
    """The full learning rate at every step."""

    def shares(self, steps: NDArray[np.int64], n_steps: int, steps_an_epoch: int) -> NDArray[np.float64]:
        return np.ones(len(steps))


@dataclass(frozen=True)
class InverseRoot:
    """√(delay / (delay + steps taken)); with delay 1 the rate is lr / √t at step t."""

    delay: int

    def shares(self, steps: NDArray[np.int64], n_steps: int, steps_an_epoch: int) -> NDArray[np.float64]:
        return np.sqrt(self.delay / (self.delay + steps))


@dataclass(frozen=True)
class Staircase:
    """The rate is multiplied by `factor` after every `every` epochs."""

    every: int
    factor: float

    def shares(self, steps: NDArray[np.int64], n_steps: int, steps_an_epoch: int) -> NDArray[np.float64]:
        return self.factor ** (steps // (self.every * steps_an_epoch)).astype(np.float64)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from 1 to `final` over the run (Loshchilov & Hutter, ICLR 2017)."""

    final: float

    def shares(self, steps: NDArray[np.int64], n_steps: int, steps_an_epoch: int) -> NDArray[np.float64]:
        return self.final + (1 - self.final) * (1 + np.cos(np.pi * steps / n_steps)) / 2


CONSTANT = Constant()
SCHEDULES: Registry[Callable[..., Schedule]] = Registry(
    "schedule's shares",
    {"constant": Constant, "inverse_root": InverseRoot, "staircase": Staircase, "cosine": Cosine},
)
