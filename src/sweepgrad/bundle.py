"""A trained model as a folder of JSON and NumPy arrays: all that is needed to predict from raw columns."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sweepgrad.autograd.functional import negative_loglikelihood_of_scores
from sweepgrad.autograd.value import Array, Value
from sweepgrad.data.preprocess import Preprocessor
from sweepgrad.errors import UserError
from sweepgrad.nn import Network, Weights

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """A network, its weights, and the preprocessing that was fitted to its training rows.

    Attributes:
        target: the column that is predicted.
        positive, negative: its two values.
    """

    network: Network
    weights: Weights
    preprocessor: Preprocessor
    target: str
    positive: str | int | float | bool
    negative: str | int | float | bool

    def probabilities(self, frame: pd.DataFrame) -> Array:
        """The probability of the positive value for each row of raw columns, shape (N,)."""
        return self.network.probabilities(self.weights, self.preprocessor.transform(frame))

    def nll(self, frame: pd.DataFrame, y: Array) -> float:
        """The mean negative log-likelihood of labels y (N,), exact where probabilities round to 0 or 1."""
        X = Value(self.preprocessor.transform(frame))
        scores = self.network.scores([Value(w) for w in self.weights], X)
        return negative_loglikelihood_of_scores(y, scores, self.network.scale).item()

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns `probability` (of the positive value) and `prediction` (the likelier value), as `frame`."""
        p = self.probabilities(frame)
        values = np.array([self.negative, self.positive], dtype=object)[(p >= 0.5).astype(int)]
        return pd.DataFrame(
            {"probability": p, "prediction": pd.Series(values, index=frame.index).infer_objects()},
            index=frame.index,
        )

    def save(self, folder: Path) -> None:
        """Write `bundle.json` and `weights.npz` into `folder`, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        description = {
            "format": FORMAT,
            "network": asdict(self.network),
            "preprocessor": self.preprocessor.to_json(),
            "target": self.target,
            "positive": self.positive,
            "negative": self.negative,
            "columns": self.preprocessor.columns,
        }
        (folder / "bundle.json").write_text(json.dumps(description, indent=1, allow_nan=False) + "\n")
        with (folder / "weights.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **{f"w{i}": w for i, w in enumerate(self.weights)})

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read what `save` wrote.

        Raises:
            UserError: the folder holds no bundle, or one of a later format.
        """
        try:
            description = json.loads((folder / "bundle.json").read_text())
            with np.load(folder / "weights.npz", allow_pickle=False) as file:
                weights = tuple(file[f"w{i}"] for i in range(len(file.files)))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{folder} holds no readable model: {error}") from None
        if description["format"] != FORMAT:
            raise UserError(f"{folder} has format {description['format']}, and this version reads {FORMAT}")
        network = description["network"]
        return cls(
            Network(**{**network, "hidden": tuple(network["hidden"])}),
            weights,
            Preprocessor.from_json(description["preprocessor"]),
            description["target"],
            description["positive"],
            description["negative"],
        )
