"""Bias and variance: estimators against what they estimate, and claims that can fail."""

import numpy as np
import pytest

from sweepgrad import rng
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.generalization import random_features
from sweepgrad.lab.generalization.decomposition import Parts, difference, jackknife, seed_share
from sweepgrad.lab.generalization.random_features import features, predictions, smallest_singular_value
from sweepgrad.lab.generalization.replicates import Recipe, drawn, jittered, resampled, truth
from sweepgrad.lab.generalization.world import Method, Settings, World
from sweepgrad.lab.questions import bias_variance as module
from sweepgrad.lab.questions.bias_variance import answer
from sweepgrad.training.loop import Examples

LAB = Lab("sqlite:///unused")
SMALL = [
    "replicates=8",
    "points=40",
    "rows=30",
    "widths=[1,32]",
    "feature_widths=[5,30,300]",
    "width=32",
    "epochs=60",
    "ensemble=3",
    "copies=2",
]


def asked(*overrides: str) -> Settings:
    _, section = settings("bias_variance", [*SMALL, *overrides])
    assert isinstance(section, Settings)
    return section


# Estimators, on predictions of which all is known


def test_bias_and_variance_are_estimated_without_bias():
    """Predictions with bias 0.3 and standard deviation 2: 5 replicates, many times."""
    drawn_ = np.random.default_rng(0)
    truths = np.zeros(20_000)
    parts = Parts.of(0.3 + 2 * drawn_.normal(size=(5, 20_000)), truths)
    # Standard errors of the means over 20,000 points: 4 √(2/4) / 141 = 0.02 of the variance, and about the
    # same of bias², whose plain estimate would be 0.8 too large.
    assert parts.variance == pytest.approx(4, abs=0.1)
    assert parts.bias2 == pytest.approx(0.09, abs=0.1)
    assert parts.error == pytest.approx(parts.bias2 + parts.variance)


def test_the_jackknife_of_a_mean_is_the_usual_interval():
    x = np.random.default_rng(0).normal(size=12)
    found = jackknife(lambda chosen: float(x[chosen].mean()), 12)
    error = x.std(ddof=1) / np.sqrt(12)
    assert found.error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx(
        (x.mean() - 2.200985 * error, x.mean() + 2.200985 * error)
    )
    assert found.agrees(x.mean() + 3.9 * error)
    assert not found.agrees(x.mean() + 4.1 * error)


def test_a_difference_is_paired():
    """Take two methods with the same noise: it cancels in the difference."""
    noise = np.random.default_rng(0).normal(size=(20, 50))
    change = difference(0.5 * noise, noise, np.zeros(50), lambda parts: parts.variance)
    assert change.value == pytest.approx(-0.75 * noise.var(axis=0, ddof=1).mean())
    assert change.high < 0


def test_the_law_of_total_variance():
    drawn_ = np.random.default_rng(0)
    by_data, by_seed = seed_share(2 * drawn_.normal(size=(400, 1, 50)) + drawn_.normal(size=(400, 6, 50)))
    # 400 training sets by 50 points: the standard errors are 4 √(2 / 20,000) = 0.04, and less for seeds.
    assert by_data == pytest.approx(4, abs=0.2)
    assert by_seed == pytest.approx(1, abs=0.05)


# Training sets


def test_labels_are_drawn_with_the_truth():
    rows = drawn(20_000, rng.key(0, "test"))
    p = truth(rows.X)
    assert np.abs(rows.X).max() <= 1
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1)):
        inside = (p >= low) & (p < high)
        error = np.sqrt((p * (1 - p))[inside].sum()) / inside.sum()
        assert abs(rows.y[inside].mean() - p[inside].mean()) < 4 * error


def test_augmented_rows_are_copies_with_noise():
    rows = drawn(500, rng.key(0, "test"))
    more = jittered(rows, 3, 0.2, rng.key(1, "test"))
    assert more.X.shape == (1500, 2)
    np.testing.assert_array_equal(more.X[:500], rows.X)
    np.testing.assert_array_equal(more.y, np.tile(rows.y, 3))
    assert (more.X[500:] - np.tile(rows.X, (2, 1))).std() == pytest.approx(0.2, rel=0.1)


def test_a_resample_has_two_thirds_of_the_rows():
    rows = drawn(1000, rng.key(0, "test"))
    again = resampled(rows, rng.key(1, "test"))
    known = {tuple(row): label for row, label in zip(rows.X, rows.y, strict=True)}
    assert all(known[tuple(row)] == label for row, label in zip(again.X, again.y, strict=True))
    assert len({tuple(row) for row in again.X}) / 1000 == pytest.approx(1 - np.exp(-1), abs=0.05)


def test_a_stopped_network_is_that_of_the_best_epoch():
    rows, val = drawn(40, rng.key(0, "test")), drawn(40, rng.key(1, "test"))
    points = drawn(100, rng.key(2, "test")).X
    last, stopped = (
        Recipe(32, 200, 10, 0.03, stopped=s).predictions(rows, val, points, 0) for s in (False, True)
    )
    assert ((stopped - truth(points)) ** 2).mean() < ((last - truth(points)) ** 2).mean()


# Random features


def test_least_norm_fits_are_those_of_the_pseudoinverse():
    rows, points, key = drawn(20, rng.key(0, "test")), drawn(7, rng.key(1, "test")).X, rng.key(2, "test")
    wide = Examples(np.random.default_rng(0).normal(size=(20, 8)), rows.y)
    at = np.random.default_rng(1).normal(size=(7, 8))
    for width in (5, 60):
        inputs = features(wide.X, width, key)
        expected = features(at, width, key) @ np.linalg.pinv(inputs) @ (rows.y - 0.5) + 0.5
        np.testing.assert_allclose(predictions(wide, at, width, key), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(predictions(wide, wide.X, 60, key), rows.y, atol=1e-8)  # it interpolates
    assert smallest_singular_value(wide, 20, key) < smallest_singular_value(wide, 200, key)
    assert points.shape == (7, 2)


# The answer


def test_it_answers():
    finding = answer(asked(), LAB)
    assert len(finding.claims) == 10
    assert finding.claims[0].holds
    assert finding.claims[1].holds
    assert set(finding.pictures) == {"bias_variance"}


def test_what_does_not_add_up_fails(monkeypatch):
    monkeypatch.setattr(World, "noise", property(lambda self: 0.0))
    monkeypatch.setattr(module, "_methods", lambda *of: [])
    assert not answer(asked(), LAB).claims[0].holds


def test_without_a_peak_nothing_descends_twice(monkeypatch):
    monkeypatch.setattr(module, "_methods", lambda *of: [])
    monkeypatch.setattr(
        random_features, "predictions", lambda rows, points, width, key: np.full(len(points), 0.5)
    )
    assert not answer(asked(), LAB).claims[1].holds


def test_a_method_that_changes_nothing_fails(monkeypatch):
    monkeypatch.setattr(
        module, "_methods", lambda world, many: [Method("nothing", many[:, 0], raises_bias=False)]
    )
    claims = answer(asked(), LAB).claims
    assert [claim.holds for claim in claims if claim.text.startswith("Nothing")] == [False]
