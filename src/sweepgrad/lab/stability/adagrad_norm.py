"""AdaGrad-Norm: one learning rate, divided by the root of the sum of squared norms of all gradients so far."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.nn.optimizers import Number, State


@dataclass(frozen=True)
class AdagradNorm:
    """s ← s + |g|²; w ← w - lr g / √s (Ward, Wu & Bottou, "AdaGrad stepsizes", ICML 2019, with b₀ = 0).

    Unlike `nn.optimizers.Adagrad` it has one rate for all coordinates, so a step has the direction of -g, and
    the first has the length `lr`. It is the rule that the assignment names. The state repeats s for each
    weight, as states have the shape of the weights. A tiny constant keeps 0 / 0 out.
    """

    lr: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return (np.full_like(w, np.finfo(w.dtype).tiny),)

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        (s,) = state
        s = s + (g * g).sum()
        return w - self.lr * (g / s**0.5), (s,)
