"""Tables drawn from a known rule, so that the best possible accuracy is known too.

Each kind has a rule without error, and `noise` is the share of labels that are then flipped. No model can
know which, so 1 - noise is the accuracy of the best one.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from sweepgrad.config import SimulatedData
from sweepgrad.rng import key, normal, uniform

# The two half circles come no nearer to each other than 0.5, so the bands around them stay apart.
_HALF_WIDTH = 0.2


def simulate(config: SimulatedData) -> pd.DataFrame:
    """Draw a table with columns x1 to xD (float64) and label (0 or 1).

    `moons`: two interleaving half circles in x1 and x2, the other features have nothing to do with the label.
    `linear`: standard normal features, and the label says on which side of a plane through 0 they lie.
    Row i is the same however many rows are drawn.
    """
    x = _standard_normal(key(config.seed, "simulated features"), config.rows, config.features)
    if config.kind == "moons":
        u = uniform(key(config.seed, "simulated moons"), (config.rows, 3))
        lower = u[:, 0] < 0.5
        angle = np.pi * u[:, 1]
        radius = 1 + _HALF_WIDTH * (2 * u[:, 2] - 1)
        x[:, 0] = np.where(lower, 1 - radius * np.cos(angle), radius * np.cos(angle))
        x[:, 1] = np.where(lower, 0.5 - radius * np.sin(angle), radius * np.sin(angle))
    flipped = uniform(key(config.seed, "simulated noise"), (config.rows,)) < config.noise
    frame = pd.DataFrame(x, columns=[f"x{i + 1}" for i in range(config.features)])
    frame["label"] = (_rule(config, x) ^ flipped).astype(np.int64)
    return frame


def best_accuracy(config: SimulatedData) -> float:
    """The accuracy that the best possible model has on new rows."""
    return 1 - config.noise


def true_probability(config: SimulatedData, X: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of label 1 for the rows of X (N, D), shape (N,).

    Where no rows are drawn, between and around the moons, it is that of the nearer moon.
    """
    return np.where(_rule(config, X), 1 - config.noise, config.noise)


def _rule(config: SimulatedData, x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The label (N,) that each row of x (N, D) has before any is flipped."""
    if config.kind == "linear":
        direction = normal(key(config.seed, "simulated direction"), (config.features,))
        above: NDArray[np.bool_] = x @ direction > 0
        return above
    lower = np.array([1.0, 0.5]) - x[:, :2]  # half a turn about its centre lays the lower moon on the upper
    nearer: NDArray[np.bool_] = _distance(lower) < _distance(x[:, :2])
    return nearer


def _distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (N,) of points (N, 2) from the upper half of the unit circle."""
    to_circle = np.abs(np.hypot(points[:, 0], points[:, 1]) - 1)
    to_nearer_end = np.hypot(np.abs(points[:, 0]) - 1, points[:, 1])
    distance: NDArray[np.float64] = np.where(points[:, 1] >= 0, to_circle, to_nearer_end)
    return distance


def _standard_normal(key: int, rows: int, columns: int) -> NDArray[np.float64]:
    # By the inverse distribution function: one word a number, so a row does not depend on how many there are.
    u = np.maximum(uniform(key, (rows, columns)), 2.0**-53)
    return np.asarray(ndtri(u), dtype=np.float64)
