"""A model that predicts from raw columns, saved as a folder of JSON and NumPy arrays."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from sweepgrad.autograd.value import Array
from sweepgrad.bounded import arrays, reading
from sweepgrad.data.preprocess.transforms import Preprocessor
from sweepgrad.errors import DamagedFile, UserError
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network, Weights
from sweepgrad.tasks.binary import BINARY
from sweepgrad.training.bundle_schema import FORMAT, LIMITS, Described, checked

BUNDLE, WEIGHTS = "bundle.json", "weights.npz"

T = TypeVar("T")


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

    def save(self, folder: Path, *, force: bool = False) -> None:
        """Write `bundle.json` and `weights.npz` into `folder`, which is made if needed.

        Arguments:
            force: overwrite files of these names.

        Raises:
            UserError: `load` would refuse it, for instance because a weight is not finite; or a file exists.
            OSError: it cannot be written.
        """
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
        weights = [w for each in self.members for w in each.weights]
        try:
            content = json.dumps(description, indent=1, allow_nan=False).encode() + b"\n"
            expected = [shape for each in checked(reading.parse(content, LIMITS)).shapes for shape in each]
            arrays.check(weights, expected)
        except ValueError as error:
            raise UserError(
                f"this model cannot be saved, since it could not be loaded: {reading.described(error)}"
            ) from None
        for path in (folder / BUNDLE, folder / WEIGHTS):
            if not force and os.path.lexists(path):
                raise UserError(f"{path} exists: save to another folder, or pass force=True to overwrite it")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BUNDLE).write_bytes(content)
        with (folder / WEIGHTS).open("wb") as file:
            np.savez(file, allow_pickle=False, **{f"w{i}": w for i, w in enumerate(weights)})

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read a bundle that `save` of this or an earlier version wrote.

        Everything is checked before it is used: the description against its schema, then the weights against
        the shapes that it implies.

        Raises:
            UserError: the folder has no bundle, one of a later format, or one that needs an extension.
        """
        description = described_in(folder)
        shapes = description.shapes
        weights = iter(weights_in(folder, description).values())
        members = [
            Member(each.network.whole(), tuple(islice(weights, len(own))), each.preprocessor.whole())
            for each, own in zip(description.members, shapes, strict=True)
        ]
        return cls(
            tuple(members),
            description.target,
            description.positive,
            description.negative,
            description.threshold,
        )


def weights_in(folder: Path, description: Described) -> dict[str, Array]:
    """Return the weights of all members in a folder, by the names in the file.

    Raises:
        UserError: there are none, or they are not as the description says.
    """
    shapes = (shape for each in description.shapes for shape in each)
    expected = {f"w{i}": shape for i, shape in enumerate(shapes)}
    return _reading(folder / WEIGHTS, lambda path: arrays.load_all(path, expected))


def described_in(folder: Path) -> Described:
    """Return what `bundle.json` in a folder says, without the weights.

    Raises:
        UserError: there is none, or it is damaged, of a later format, or needs an extension.
    """
    path = folder / BUNDLE
    values = _reading(path, lambda path: reading.load(path, LIMITS))
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"{folder} has format {version:.6g}, and this version reads formats up to {FORMAT}: install a"
            " newer sweepgrad"
        )
    description = _reading(path, lambda path: checked(values))
    for each in description.members:
        name = each.network.activation
        known = name is None or name in ACTIVATIONS.known
        if not known and name not in ACTIVATIONS:
            raise UserError(
                f"the model's activation {name!r} is not installed: install the extension that defines it"
            )
    return description


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Return a bundle with the members of all bundles, which must predict the same column."""
    return replace(bundles[0], members=tuple(member for bundle in bundles for member in bundle.members))


def _reading(path: Path, read: Callable[[Path], T]) -> T:
    """Return what `read` returns for a file.

    Raises:
        UserError: it is damaged, or cannot be read.
    """
    try:
        return read(path)
    except OSError as error:
        raise UserError(f"{path.parent} has no readable model: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise DamagedFile(
            f"{path.parent} has no readable model: {path.name} is damaged: {reading.described(error)}."
            " Restore the file, or train the model again"
        ) from None
