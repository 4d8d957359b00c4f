"""Layer statistics, recorded after each epoch of a run with `train.diagnose`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.engine import Replay
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network
from sweepgrad.tasks.task import Task
from sweepgrad.training.steps import probe

# Training rows used after each epoch. A unit that is 0 on all 128 is active on less than 2.3 % of rows like
# them, with 95 % confidence.
PROBED = 128


def finite(value: Any) -> float:
    """Return a number of a file.

    Raises:
        ValueError: it is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is not a finite number")
    return float(value)


@dataclass(frozen=True)
class LayerStats:
    """Statistics of one layer; its weights are matrix and bias together.

    Attributes:
        gradient_norm: norm of the gradient at the first batch of the epoch, before clipping. In the first
            epoch this is at the initial weights, where a step that is too large does most harm.
        update_ratio: norm of that step divided by the norm of the weights before it.
        dead_share: share of units that are 0 for all probed rows; None if the activation cannot be dead.
        saturated_share: share of unit-row pairs where the activation's slope is below 1 % of its maximum;
            None if the activation does not saturate.
    """

    gradient_norm: float
    update_ratio: float
    dead_share: float | None = None
    saturated_share: float | None = None


@dataclass(frozen=True)
class EpochStats:
    """Statistics after an epoch, without dropout.

    Attributes:
        layers: the hidden layers, then the output layer.
        output_saturated: share of probed rows for which the output is saturated, see `Task.saturated`.
        output: shares of the validation rows that the task defines, by name, see `Task.watched`.
    """

    layers: tuple[LayerStats, ...]
    output_saturated: float
    output: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of a record."""
        layers = [asdict(layer) for layer in self.layers]
        return {"layers": layers, "output_saturated": self.output_saturated, **self.output}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "EpochStats":
        """Return the statistics that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: they are damaged, or of another version.
        """
        rest = dict(values)
        layers = tuple(LayerStats(**layer) for layer in rest.pop("layers"))
        for name, value in (pair for layer in layers for pair in asdict(layer).items()):
            if value is not None or name in ("gradient_norm", "update_ratio"):
                finite(value)
        saturated = finite(rest.pop("output_saturated"))
        return EpochStats(layers, saturated, {name: finite(value) for name, value in rest.items()})

    @property
    def metrics(self) -> dict[str, float]:
        """All statistics, by their names in MLflow."""
        named = {"output/saturated": self.output_saturated}
        named |= {f"output/{name}": value for name, value in self.output.items()}
        for number, layer in enumerate(self.layers, start=1):
            found = asdict(layer).items()
            named |= {f"layer{number}/{name}": value for name, value in found if value is not None}
        return named


class Examination:
    """Compute the statistics of a network in training.

    Arguments:
        X: the training rows, (N, n_features); `PROBED` of them, evenly spaced, are used.
    """

    def __init__(self, network: Network, X: Array, replay: Replay, task: Task) -> None:
        rows = min(PROBED, len(X))
        self._X, self._replay = X, replay
        self._n_hidden, self._huge = len(network.hidden), float(np.finfo(X.dtype).max)
        self._stuck_as = network.activation and ACTIVATIONS[network.activation].stuck_as
        self._order = np.arange(rows) * len(X) // rows
        self._tape = probe(network, rows, X.dtype.type, task=task)
        self._buffer = np.zeros(self._tape.length, self._tape.dtype)
        for slot, constant in self._tape.constants:
            slot.of(self._buffer)[...] = constant
        self._tape.inputs["scale"].of(self._buffer)[...] = network.scale
        self._weights = self._tape.inputs["weights"].of(self._buffer)
        self._none = np.zeros((1, 0), self._tape.dtype)  # the tape reads neither targets nor scalars

    def stats(self, weights: Array, lengths: Array, output: Mapping[str, float]) -> EpochStats:
        """Return the statistics after an epoch.

        Arguments:
            weights: (n_parameters,).
            lengths: the norms that `steps.training` collects with `closely`, (3 · layers,).
            output: see `EpochStats`.
        """
        self._weights[:] = weights
        none = self._none
        _, found = self._replay(self._tape, self._buffer, self._X, none, self._order, none, 0, 1)
        # Removes the rounding of shares, in float32 too.
        *stuck, saturated = [round(share, 6) for share in found[0].tolist()]
        shares = [{f"{self._stuck_as}_share": share} for share in stuck] or [{}] * self._n_hidden
        numbers = lengths.tolist()
        if not isfinite(sum(numbers)):  # a square overflowed, and JSON has no infinity
            numbers = [number if isfinite(number) else self._huge for number in numbers]
        layers = tuple(
            LayerStats(
                gradient,
                min(update / before, self._huge) if before else 0.0,  # the ratio may overflow too
                **share,
            )
            for gradient, update, before, share in zip(
                numbers[::3], numbers[1::3], numbers[2::3], [*shares, {}], strict=True
            )
        )
        return EpochStats(layers, saturated, output)
