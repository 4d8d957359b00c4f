"""Small simulated tables for the lab, split and standardized as in a run."""

import numpy as np

from sweepgrad.config.data import SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data.access import open_training
from sweepgrad.training.loop import Examples


def simulated(data: SimulatedData, seed: int = 0) -> tuple[Examples, Examples]:
    """Return the training set (60 %) and the validation set (20 %) of a simulated table, in float64.

    Arguments:
        seed: of the split.
    """
    parts = {"train": 0.6, "val": 0.2, "test": 0.2, "folds": 5, "fold": None}
    rows = open_training(data, Split.model_validate({**parts, "stratify": True, "seed": seed}), np.float64)
    return Examples(rows.X_train, rows.y_train), Examples(rows.X_val, rows.y_val)
