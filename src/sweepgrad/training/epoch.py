"""What held after an epoch of training, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from sweepgrad.training.layer_stats import EpochStats


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)


@dataclass(frozen=True)
class Epoch:
    """Figures without dropout, by the names of the task's metrics, the loss first.

    Rows count alike, however they are weighted in training.

    Attributes:
        train, val: on the training and on the validation rows.
        stats: of the layers, where training is diagnosed.
    """

    train: Mapping[str, float]
    val: Mapping[str, float]
    stats: EpochStats | None = None

    @property
    def train_loss(self) -> float:
        """Return the mean loss of the training rows."""
        return next(iter(self.train.values()))

    @property
    def val_loss(self) -> float:
        """Return the mean loss of the validation rows."""
        return next(iter(self.val.values()))

    @property
    def figures(self) -> dict[tuple[str, str], float]:
        """Return all figures by the part of the rows and the metric's name."""
        parts = (("train", self.train), ("val", self.val))
        return {(part, name): value for part, each in parts for name, value in each.items()}

    def to_json(self) -> dict[str, Any]:
        """Return what a record keeps: `train_nll` and so on, and `signs` for the statistics of the layers."""
        flat = {f"{part}_{name}": value for (part, name), value in self.figures.items()}
        return {**flat, "signs": self.stats.to_json()} if self.stats else flat

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Epoch":
        """Return what `to_json` gave, of this version or an older one.

        Raises:
            KeyError, TypeError, ValueError: it is of another version.
        """
        parts: dict[str, dict[str, float]] = {"train": {}, "val": {}}
        for key, value in values.items():
            if key != "signs":
                part, _, name = key.partition("_")
                parts[part][name] = _finite(value)
        if not (parts["train"] and parts["train"].keys() == parts["val"].keys()):
            raise ValueError(f"an epoch has the same figures of training and validation rows, not {values}")
        stats = values.get("signs")
        return Epoch(parts["train"], parts["val"], EpochStats.from_json(stats) if stats else None)
