"""A model that predicts from raw columns, saved as a folder of JSON and NumPy arrays."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweepgrad.autograd.value import Array
from sweepgrad.data.preprocess.transforms import Preprocessor
from sweepgrad.errors import UserError
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network, Weights
from sweepgrad.tasks.binary import BINARY

FORMAT = 2  # 1 had a single network, and the threshold 0.5


@dataclass(frozen=True)
class Member:
    """A network, its weights, and the preprocessing that was fitted to its training rows."""

    network: Network
    weights: Weights
    preprocessor: Preprocessor

    def scores(self, frame: pd.DataFrame) -> Array:
        """Return the scaled scores of rows of raw columns, shape (N,)."""
        return self.network.scaled_scores(self.weights, self.preprocessor.transform(frame))


@dataclass(frozen=True)
class Bundle:
    """One network, or several whose log-odds are averaged, and a decision threshold.

    Log-odds are averaged rather than probabilities, so that scaling all of them sets the temperature of the
    ensemble. By Jensen's inequality the loss of the average is at most the members' mean loss, as it would be
    with probabilities: -log p is convex in both.

    Attributes:
        members: at least one.
        target: the column that is predicted.
        positive, negative: its two values.
        threshold: rows with at least that probability are predicted positive.
    """

    members: tuple[Member, ...]
    target: str
    positive: str | int | float | bool
    negative: str | int | float | bool
    threshold: float = 0.5

    def __repr__(self) -> str:
        networks = "1 network" if len(self.members) == 1 else f"{len(self.members)} networks"
        return (
            f"Bundle({self.target} = {self.positive!r}, {networks}, {self.n_parameters} parameters,"
            f" threshold {self.threshold:.3g})"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that are needed."""
        return tuple(dict.fromkeys(name for each in self.members for name in each.preprocessor.columns))

    @property
    def n_parameters(self) -> int:
        return sum(each.network.n_parameters for each in self.members)

    def scores(self, frame: pd.DataFrame) -> Array:
        """Return the members' mean scaled scores of rows of raw columns, shape (N,)."""
        total = sum(each.scores(frame) for each in self.members)
        return np.asarray(total / len(self.members))

    def probabilities(self, frame: pd.DataFrame) -> Array:
        """Return the probability of the positive value for each row of raw columns, shape (N,)."""
        return BINARY.probabilities(self.scores(frame))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return columns `probability` (of the positive value) and `prediction`, indexed as `frame`."""
        p = self.probabilities(frame)
        values = np.array([self.negative, self.positive], dtype=object)[(p >= self.threshold).astype(int)]
        return pd.DataFrame(
            {"probability": p, "prediction": pd.Series(values, index=frame.index).infer_objects()},
            index=frame.index,
        )

    def scaled(self, by: float) -> "Bundle":
        """Return a bundle whose log-odds are multiplied by `by`, a temperature of 1 / by, in each `scale`."""
        return replace(
            self,
            members=tuple(
                replace(each, network=replace(each.network, scale=each.network.scale * by))
                for each in self.members
            ),
        )

    def save(self, folder: Path) -> None:
        """Write `bundle.json` and `weights.npz` into `folder`, which is made if needed."""
        folder.mkdir(parents=True, exist_ok=True)
        description = {
            "format": FORMAT,
            "members": [
                {"network": asdict(each.network), "preprocessor": each.preprocessor.to_json()}
                for each in self.members
            ],
            "target": self.target,
            "positive": self.positive,
            "negative": self.negative,
            "threshold": self.threshold,
            "columns": self.columns,
        }
        (folder / "bundle.json").write_text(json.dumps(description, indent=1, allow_nan=False) + "\n")
        weights = (w for each in self.members for w in each.weights)
        with (folder / "weights.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **{f"w{i}": w for i, w in enumerate(weights)})

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read a bundle that `save` of this or an earlier version wrote.

        Raises:
            UserError: the folder has no bundle, one of a later format, or one that needs an extension.
        """
        try:
            description = json.loads((folder / "bundle.json").read_text())
            with np.load(folder / "weights.npz", allow_pickle=False) as file:
                weights = [file[f"w{i}"] for i in range(len(file.files))]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{folder} has no readable model: {error}") from None
        if description["format"] not in (1, FORMAT):
            raise UserError(
                f"{folder} has format {description['format']}, and this version reads formats up to {FORMAT}:"
                " install a newer sweepgrad"
            )
        members = []
        for each in description.get("members", [description]):
            member, weights = _member(each, weights)
            members.append(member)
        return cls(
            tuple(members),
            description["target"],
            description["positive"],
            description["negative"],
            description.get("threshold", 0.5),
        )


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Return a bundle with the members of all bundles, which must predict the same column."""
    return replace(bundles[0], members=tuple(member for bundle in bundles for member in bundle.members))


def _member(description: dict[str, Any], weights: list[Array]) -> tuple[Member, list[Array]]:
    """Return a member, and the weights of the others."""
    values = description["network"]
    network = Network(**{**values, "hidden": tuple(values["hidden"])})
    known = network.activation is None or network.activation in ACTIVATIONS.known
    if not known and network.activation not in ACTIVATIONS:
        raise UserError(
            f"the model's activation {network.activation!r} is not installed: install the extension that"
            " defines it"
        )
    n = 2 * (len(network.hidden) + 1)
    preprocessor = Preprocessor.from_json(description["preprocessor"])
    return Member(network, tuple(weights[:n]), preprocessor), weights[n:]
