"""The figures of an epoch of training, and their JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweepgrad.training.layer_stats import EpochStats, finite


@dataclass(frozen=True)
class Epoch:
    """The figures after an epoch, without dropout, by the names of the task's metrics; the loss is first.

    All rows have the same weight, whatever `train.class_weight` is.

    Attributes:
        train, val: on the training and on the validation rows.
        stats: layer statistics, if `train.diagnose` is on.
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
        """Return all figures by set ("train" or "val") and name of the metric."""
        parts = (("train", self.train), ("val", self.val))
        return {(part, name): value for part, each in parts for name, value in each.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of a record: `train_nll` and so on, and `layer_statistics` if there are any."""
        flat = {f"{part}_{name}": value for (part, name), value in self.figures.items()}
        return {**flat, "layer_statistics": self.stats.to_json()} if self.stats else flat

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Epoch":
        """Return the epoch that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is damaged, or of another version.
        """
        parts: dict[str, dict[str, float]] = {"train": {}, "val": {}}
        stats = values.get("layer_statistics")
        for key, value in values.items():
            if key != "layer_statistics":
                part, _, name = key.partition("_")
                parts[part][name] = finite(value)
        if not parts["train"] or list(parts["train"]) != list(parts["val"]):
            names = ", ".join(str(key)[:40] for key in list(values)[:8])
            raise ValueError(f"an epoch needs the same figures for training and validation rows, not {names}")
        return Epoch(parts["train"], parts["val"], EpochStats.from_json(stats) if stats else None)
