"""Signs of how training goes, layer by layer: what a run with `train.diagnose` records of each epoch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.engine import Replay
from sweepgrad.nn import Network
from sweepgrad.steps import probe

# Training rows that are looked at after each epoch. A unit that is silent on all of 512 is active on fewer
# than 0.6 % of rows like them, at 95 %.
PROBED = 512


@dataclass(frozen=True)
class Layer:
    """Of one layer with its weights, matrix and bias together.

    Attributes:
        gradient_norm: the length of its gradient at the first batch of the epoch, before clipping. In the
            first epoch that is at the initial weights, where a step that is too large does most harm.
        update_ratio: by which share of their own length that step moved its weights.
        dead_share: of its units, those that give 0 for every probed row; None where it is not ReLU.
        saturated_share: of unit-row pairs, those where the activation's slope is below 1 % of its largest;
            None where it is not tanh or sigmoid.
    """

    gradient_norm: float
    update_ratio: float
    dead_share: float | None = None
    saturated_share: float | None = None


@dataclass(frozen=True)
class Signs:
    """After an epoch, without dropout.

    Attributes:
        layers: hidden ones, then the output's.
        output_saturated: the share of probed rows with p (1 - p) < 10⁻³.
        one_class: whether all validation rows are taken for the same class.
    """

    layers: tuple[Layer, ...]
    output_saturated: float
    one_class: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Signs":
        return Signs(**{**values, "layers": tuple(Layer(**layer) for layer in values["layers"])})

    @property
    def metrics(self) -> dict[str, float]:
        """By the names that they have in MLflow."""
        named = {"output/saturated": self.output_saturated, "output/one_class": float(self.one_class)}
        for number, layer in enumerate(self.layers, start=1):
            found = asdict(layer).items()
            named |= {f"layer{number}/{name}": value for name, value in found if value is not None}
        return named


class Examination:
    """Takes the signs of a network in training.

    Arguments:
        X: (N, n_features), the training rows, of which it looks at `PROBED`, spread over all of them.
    """

    def __init__(self, network: Network, X: Array, replay: Replay) -> None:
        rows = min(PROBED, len(X))
        self._network, self._X, self._replay = network, X, replay
        self._order = np.arange(rows) * len(X) // rows
        self._tape = probe(network, rows, X.dtype.type)
        self._buffer = np.zeros(self._tape.length, self._tape.dtype)
        for slot, constant in self._tape.constants:
            slot.of(self._buffer)[...] = constant
        self._tape.inputs["scale"].of(self._buffer)[...] = network.scale

    def signs(self, weights: Array, lengths: Array, positive: float, n_val: int) -> Signs:
        """After an epoch.

        Arguments:
            weights: (n_parameters,).
            lengths: what a step of `steps.training`, looked at closely, collects; (3 · layers,).
            positive: how many of the `n_val` validation rows are taken for positive.
        """
        self._tape.inputs["weights"].of(self._buffer)[...] = weights
        targets, told = self._X[:, :1], np.zeros((1, 0), self._tape.dtype)  # no targets are read
        _, ((*hidden, output),) = self._replay(
            self._tape, self._buffer, self._X, np.ascontiguousarray(targets[:1]), self._order, told, 0, 1
        )
        stuck = "dead_share" if self._network.activation == "relu" else "saturated_share"
        shares: list[dict[str, float]] = [{stuck: _share(found)} for found in hidden]
        # A square may be too large for its type, while training goes on; JSON knows no infinity.
        huge = float(np.finfo(self._tape.dtype).max)
        lengths = np.nan_to_num(lengths.reshape(-1, 3), nan=huge, posinf=huge)
        layers = tuple(
            Layer(float(gradient), float(update / before) if before else 0.0, **share)
            for (gradient, update, before), share in zip(lengths, [*shares, {}], strict=True)
        )
        return Signs(layers, _share(output), positive in (0, n_val))


def _share(value: float) -> float:
    """Without what rounding, in float32 too, has left of a count over a count."""
    return round(float(value), 6)
