"""Tables simulated from a known rule, so that the best possible accuracy is known.

Each kind has a deterministic rule; `noise` is the share of labels that are then flipped at random. So the
best possible accuracy is 1 - noise.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from sweepgrad.config.data import SimulatedData
from sweepgrad.data.io.columns import Columns, spans
from sweepgrad.rng import key, normal, uniform

# The distance between the two half circles is at least 0.5, so the bands around them do not overlap.
_HALF_WIDTH = 0.2


class SimulatedColumns(Columns):
    """Columns x1 to xD (float64), each drawn on demand, and the labels.

    `moons`: two interleaving half circles in x1 and x2; the other features are independent of the label.
    `linear`: standard normal features; the label is the side of a plane through 0 on which they lie.
    Row i does not depend on the number of rows.
    """

    def __init__(self, config: SimulatedData) -> None:
        self._config = config
        self.names = [f"x{i + 1}" for i in range(config.features)]
        self.n_rows = config.rows
        self.digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()

    def blocks(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        columns = [self.names.index(name) for name in names]
        for start, stop in spans(self.n_rows, len(names)):
            yield pd.DataFrame(_features(self._config, columns, start, stop), columns=list(names))

    def labels(self) -> NDArray[np.int8]:
        """Return the label of each row, 0 or 1, shape (N,)."""
        config, y = self._config, np.empty(self.n_rows, dtype=np.int8)
        needed = range(2) if config.kind == "moons" else range(config.features)
        for start, stop in spans(self.n_rows, len(needed)):
            rule = _rule(config, _features(config, needed, start, stop))
            u = uniform(key(config.seed, "simulated noise"), (stop - start,), first=start)
            y[start:stop] = rule ^ (u < config.noise)
        return y


def _features(config: SimulatedData, columns: Sequence[int], start: int, stop: int) -> NDArray[np.float64]:
    """Return some columns of the rows from `start` to `stop`, shape (rows, columns)."""
    X = np.empty((stop - start, len(columns)))
    moons = _moons(config, start, stop) if config.kind == "moons" and min(columns) < 2 else ()
    normal_key = key(config.seed, "simulated features")
    for j, column in enumerate(columns):
        if column < len(moons):
            X[:, j] = moons[column]
        else:
            # The inverse distribution function takes one random word per number, so a row does not depend on
            # the number of rows.
            first = start * config.features + column
            u = uniform(normal_key, (stop - start,), first=first, step=config.features)
            ndtri(np.maximum(u, 2.0**-53, out=u), out=X[:, j])
    return X


def _moons(config: SimulatedData, start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x1 and x2 of the rows from `start` to `stop`."""
    u = uniform(key(config.seed, "simulated moons"), (stop - start, 3), first=3 * start)
    lower = u[:, 0] < 0.5
    angle = np.pi * u[:, 1]
    radius = 1 + _HALF_WIDTH * (2 * u[:, 2] - 1)
    across, up = radius * np.cos(angle), radius * np.sin(angle)
    return np.where(lower, 1 - across, across), np.where(lower, 0.5 - up, up)


def best_accuracy(config: SimulatedData) -> float:
    """Return the accuracy of the best possible model on new rows."""
    return 1 - config.noise


def true_probability(config: SimulatedData, X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of label 1 for the rows of X (N, D), shape (N,).

    Outside the moons, where no rows are drawn, it is that of the nearer moon.
    """
    return np.where(_rule(config, X), 1 - config.noise, config.noise)


def _rule(config: SimulatedData, x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the label (N,) of each row of x (N, D) before flipping."""
    if config.kind == "linear":
        direction = normal(key(config.seed, "simulated direction"), (config.features,))
        above: NDArray[np.bool_] = x @ direction > 0
        return above
    lower = np.array([1.0, 0.5]) - x[:, :2]  # rotating by 180° maps the lower moon to the upper one
    nearer: NDArray[np.bool_] = _distance(lower) < _distance(x[:, :2])
    return nearer


def _distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (N,) of points (N, 2) from the upper half of the unit circle."""
    to_circle = np.abs(np.hypot(points[:, 0], points[:, 1]) - 1)
    to_nearer_end = np.hypot(np.abs(points[:, 0]) - 1, points[:, 1])
    distance: NDArray[np.float64] = np.where(points[:, 1] >= 0, to_circle, to_nearer_end)
    return distance
