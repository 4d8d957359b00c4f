"""An optimizer, an activation, a metric and a leak check for sweepgrad."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from sweepgrad.autograd.value import Array, Value
from sweepgrad.config import model, optimizers
from sweepgrad.data.leakage.check import ColumnCheck, Feature
from sweepgrad.data.leakage.columns import COLUMN_CHECKS
from sweepgrad.nn.activations import ACTIVATIONS, Activation
from sweepgrad.nn.optimizers import OPTIMIZERS, Number, State
from sweepgrad.stats.metrics import Metric
from sweepgrad.tasks.registry import add_metric


class SignSettings(optimizers.Optimizer):
    name: Literal["sign"]
    epsilon: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Sign:
    """w ← w - lr g / (|g| + epsilon), number by number."""

    lr: Number
    epsilon: Number

    def start(self, w: Array) -> tuple[Array, ...]:
        return ()

    def step(self, w: Any, g: Any, state: State, t: Any) -> tuple[Any, State]:
        return w - self.lr * (g / ((g * g) ** 0.5 + self.epsilon)), ()


def swish(x: Value) -> Value:
    """Return x sigmoid(x)."""
    return x * x.sigmoid()


def squared_errors(y: Array, scores: Array) -> Array:
    """Return (p - y)² of each row, (N,), where p is the probability of a positive row."""
    errors: Array = (expit(scores) - y) ** 2
    return errors


def known_afterwards(feature: Feature) -> str | None:
    """Object to a column that, by its name, is known only after the event."""
    return f"{feature.name} is known only afterwards" if feature.name.startswith("after_") else None


def register() -> None:
    """Add all of them; sweepgrad calls this once a process."""
    optimizers.OPTIMIZERS.add("sign", SignSettings)
    OPTIMIZERS.add("sign", Sign)
    model.ACTIVATIONS.add("swish", None)
    ACTIVATIONS.add("swish", Activation(swish))
    add_metric(
        Metric(
            name="brier",
            title="Brier score",
            heading="Brier",
            abbreviation="Brier",
            sign=-1,
            value=lambda y, scores, threshold: float(np.mean(squared_errors(y, scores))),
            contributions=lambda y, scores: -squared_errors(y, scores),
        )
    )
    COLUMN_CHECKS.add("afterwards", ColumnCheck(known_afterwards, refuse=False))
