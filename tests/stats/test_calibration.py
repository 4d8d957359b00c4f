"""Compare temperature scaling with a general optimizer on the textbook loss."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit

from sweepgrad.stats.calibration import greatest_likelihood

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-600, 600).map(lambda z: z / 100)), min_size=4, max_size=40
)


def loss(y: np.ndarray, z: np.ndarray, scale: float) -> float:
    """Return the mean negative log-likelihood, computed row by row."""
    return float(np.mean(np.where(y == 1, np.logaddexp(0, -scale * z), np.logaddexp(0, scale * z))))


@settings(max_examples=100, deadline=None)
@given(rows)
def test_it_is_where_the_plain_loss_is_lowest(drawn):
    y, z = np.array([float(y) for y, _ in drawn]), np.array([z for _, z in drawn])
    scale = greatest_likelihood(y, z)
    if scale is None:
        found = minimize_scalar(lambda s: loss(y, z, s), bounds=(0, 1e3), method="bounded")
        separable = np.all((2 * y - 1) * z >= 0)
        assert separable or found.x < 1e-2 or loss(y, z, found.x) > loss(y, z, 0) - 1e-9
        return
    assume(scale < 1e3)
    found = minimize_scalar(
        lambda s: loss(y, z, s), bounds=(0, 2e3), method="bounded", options={"xatol": 1e-9}
    )
    assert loss(y, z, scale) <= found.fun + 1e-12
    for near in (0.99, 1.01):
        assert loss(y, z, scale) <= loss(y, z, near * scale)


@pytest.mark.parametrize("true", [0.25, 1.0, 3.0])
def test_it_finds_the_scale_that_labels_were_drawn_with(true):
    draw = np.random.default_rng(0)
    z = draw.normal(size=200_000)
    y = (draw.random(z.size) < expit(true * z)).astype(float)
    error = 1 / np.sqrt(np.sum(expit(true * z) * expit(-true * z) * z**2))
    assert greatest_likelihood(y, z) == pytest.approx(true, abs=4 * error)


def test_the_size_of_log_odds_is_taken_out():
    y, z = np.array([1.0, 0.0, 1.0, 0.0]), np.array([2.0, -1.0, -0.5, 0.25])
    scale = greatest_likelihood(y, z)
    assert scale is not None
    for by in (1e-200, 1e-3, 1e6, 1e200):
        assert greatest_likelihood(y, by * z) == pytest.approx(scale / by, rel=1e-9)


@pytest.mark.parametrize(
    ("y", "z"),
    [
        ([0, 0, 1, 1], [-2, -1, 1, 3]),  # separable: the larger, the better
        ([0, 0, 1, 1], [-2, 0, 0, 3]),  # but for rows that no scale moves
        ([0, 0, 1, 1], [2, 1, -1, -3]),  # turned round
        ([0, 1, 0, 1], [1, 1, -1, -1]),  # nothing to do with the labels
        ([0, 1], [0, 0]),
    ],
)
def test_without_a_best_scale_there_is_none(y, z):
    assert greatest_likelihood(np.array(y, dtype=float), np.array(z, dtype=float)) is None
