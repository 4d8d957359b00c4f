"""Layer statistics: what a run with `train.diagnose` records of each epoch, layer by layer."""

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

# Training rows that are looked at after each epoch. A unit that is silent on all of 128 is active on fewer
# than 2.3 % of rows like them, at 95 %.
PROBED = 128


@dataclass(frozen=True)
class LayerStats:
    """Statistics of one layer with its weights, matrix and bias together.

    Attributes:
        gradient_norm: the length of its gradient at the first batch of the epoch, before clipping. In the
            first epoch that is at the initial weights, where a step that is too large does most harm.
        update_ratio: by which share of their own length that step moved its weights.
        dead_share: of its units, those that give 0 for every probed row; None where its activation has none.
        saturated_share: of unit-row pairs, those where the activation's slope is below 1 % of its largest;
            None where its activation has none.
    """

    gradient_norm: float
    update_ratio: float
    dead_share: float | None = None
    saturated_share: float | None = None


@dataclass(frozen=True)
class EpochStats:
    """Statistics after an epoch, without dropout.

    Attributes:
        layers: hidden ones, then the output's.
        output_saturated: the share of probed rows where the output is saturated, see `Task.saturated`.
        output: what the task watches of the validation rows, by name: shares of them.
    """

    layers: tuple[LayerStats, ...]
    output_saturated: float
    output: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it with the shares beside the rest, as records have them."""
        layers = [asdict(layer) for layer in self.layers]
        return {"layers": layers, "output_saturated": self.output_saturated, **self.output}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "EpochStats":
        """Return what `to_json` gave."""
        rest = dict(values)
        layers = tuple(LayerStats(**layer) for layer in rest.pop("layers"))
        return EpochStats(layers, rest.pop("output_saturated"), rest)

    @property
    def metrics(self) -> dict[str, float]:
        """By the names that they have in MLflow."""
        named = {"output/saturated": self.output_saturated}
        named |= {f"output/{name}": value for name, value in self.output.items()}
        for number, layer in enumerate(self.layers, start=1):
            found = asdict(layer).items()
            named |= {f"layer{number}/{name}": value for name, value in found if value is not None}
        return named


class Examination:
    """Takes the statistics of a network in training.

    Arguments:
        X: (N, n_features), the training rows, of which it looks at `PROBED`, spread over all of them.
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
        self._none = np.zeros((1, 0), self._tape.dtype)  # neither targets nor numbers of a step are read

    def stats(self, weights: Array, lengths: Array, output: Mapping[str, float]) -> EpochStats:
        """Return those after an epoch.

        Arguments:
            weights: (n_parameters,).
            lengths: what a step of `steps.training`, looked at closely, collects; (3 · layers,).
            output: what the task watches of the validation rows.
        """
        self._weights[:] = weights
        none = self._none
        _, found = self._replay(self._tape, self._buffer, self._X, none, self._order, none, 0, 1)
        # Rounding, in float32 too, leaves something of a count over a count.
        *stuck, saturated = [round(share, 6) for share in found[0].tolist()]
        shares = [{f"{self._stuck_as}_share": share} for share in stuck] or [{}] * self._n_hidden
        numbers = lengths.tolist()
        if not isfinite(sum(numbers)):  # a square is too large for its type, and JSON knows no infinity
            numbers = [number if isfinite(number) else self._huge for number in numbers]
        layers = tuple(
            LayerStats(
                gradient,
                min(update / before, self._huge) if before else 0.0,  # the share too may be too large
                **share,
            )
            for gradient, update, before, share in zip(
                numbers[::3], numbers[1::3], numbers[2::3], [*shares, {}], strict=True
            )
        )
        return EpochStats(layers, saturated, output)
