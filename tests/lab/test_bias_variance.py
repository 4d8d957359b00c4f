"""Bias and variance: estimators against what they estimate, and claims that fail if something is wrong."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from sweepgrad import rng
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding
from sweepgrad.lab.generalization import methods, peak, replicates
from sweepgrad.lab.generalization.decomposition import (
    PARTS,
    Parts,
    difference,
    interval,
    jackknife,
    seed_share,
)
from sweepgrad.lab.generalization.random_features import features, noise_variance, prediction_matrix
from sweepgrad.lab.generalization.replicates import Recipe, drawn, jittered, resampled, truth
from sweepgrad.lab.generalization.world import Settings, World
from sweepgrad.lab.questions import bias_variance as module
from sweepgrad.lab.questions.bias_variance import answer
from sweepgrad.lab.training import last_weights
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Adam
from sweepgrad.nn.schedules import CONSTANT, Cosine
from sweepgrad.training.divergence import Diverged
from sweepgrad.training.loop import fit
from sweepgrad.training.steps import Update

LAB = Lab("sqlite:///unused")
SMALL = (
    "points=100",
    "widths=[1,8,64]",
    "feature_widths=[5,60,240]",
    "epochs=200",
    "batch_size=20",
    "lr=0.03",
    "ensemble=5",
    "jitter=0.3",
)
ADAM = Adam(0.02, 0.9, 0.999, 1e-8)


def asked(*overrides: str) -> Settings:
    _, section = settings("bias_variance", [*SMALL, *overrides])
    assert isinstance(section, Settings)
    return section


_TRAINED: dict[bytes, object] = {}


def remembered(function, *given, **named):
    """Train the same network on the same rows only once: most planted changes concern a few networks."""
    key = repr((function.__name__, given[:2], named)).encode()
    key += b"".join(e.X.tobytes() + e.y.tobytes() for e in given[2:])
    if key not in _TRAINED:
        found = function(*given, **named)
        _TRAINED[key] = found if isinstance(found, tuple) else list(found)[-1:]
    return _TRAINED[key]


@pytest.fixture(autouse=True)
def _train_once(monkeypatch):
    for function in (last_weights, fit):
        monkeypatch.setattr(replicates, function.__name__, partial(remembered, function))


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


def test_an_interval_covers_what_it_estimates():
    """Draw normal predictions of variance 4: of 300 intervals of 95 %, 95 % ± 4 standard errors cover it."""
    noise = 2 * np.random.default_rng(0).normal(size=(300, 20, 30))
    found = [interval(predictions, np.zeros(30), "variance") for predictions in noise]
    covered = np.mean([estimate.low <= 4 <= estimate.high for estimate in found])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 300)


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


def test_training_in_one_call_has_the_bits_of_fit():
    rows, val = drawn(40, rng.key(0, "test")), drawn(20, rng.key(1, "test"))
    start = Network(2, (7,), "relu").initial(5)
    for dropout, decay, batch, schedule in (
        (0.0, 0.0, 10, CONSTANT),
        (0.5, 0.0, 40, CONSTANT),
        (0.0, 0.5, 20, Cosine(0.1)),
        (0.5, 0.5, 15, Cosine(0.0)),  # the last batch of an epoch is smaller
    ):
        network = Network(2, (7,), "relu", dropout)
        settings_: dict[str, Any] = {"epochs": 6, "batch_size": batch, "seed": 3, "schedule": schedule}
        *_, last = fit(network, ADAM, rows, val, weight_decay=decay, **settings_)
        for expected, found in zip(
            network.divided(last.state[0]),
            last_weights(network, Update(ADAM, decay), rows, **settings_),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)
        other = last_weights(network, Update(ADAM, decay), rows, start=start, **settings_)
        assert (other[0] != network.divided(last.state[0])[0]).all()


def test_from_the_weights_of_a_seed_training_is_that_of_the_seed():
    rows, network = drawn(40, rng.key(0, "test")), Network(2, (7,), "relu")
    run = partial(last_weights, network, Update(ADAM), rows, epochs=4, batch_size=10, seed=3)
    for expected, found in zip(run(), run(start=network.initial(3)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_training_that_diverges_is_reported():
    rows, network = drawn(40, rng.key(0, "test")), Network(2, (7,), "relu")
    with pytest.raises(Diverged), np.errstate(all="ignore"):
        last_weights(network, Update(replace(ADAM, lr=1e200)), rows, epochs=5, batch_size=10, seed=3)


# Random features


def test_predictions_are_those_of_the_pseudoinverse():
    draw, key = np.random.default_rng(0), rng.key(2, "test")
    X, at, y = draw.normal(size=(20, 8)), draw.normal(size=(7, 8)), draw.normal(size=20)
    for width in (5, 60):
        inputs, points = features(X, width, key), features(at, width, key)
        expected = points @ np.linalg.pinv(inputs) @ y
        np.testing.assert_allclose(prediction_matrix(inputs, points) @ y, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(prediction_matrix(inputs, inputs) @ y, y, atol=1e-8)  # it interpolates


def test_a_penalty_is_that_of_ridge_regression():
    draw = np.random.default_rng(0)
    inputs, at, y = draw.normal(size=(20, 30)), draw.normal(size=(7, 30)), draw.normal(size=20)
    weights = np.linalg.solve(inputs.T @ inputs / 20 + 0.3 * np.eye(30), inputs.T @ y / 20)
    np.testing.assert_allclose(prediction_matrix(inputs, at, 0.3) @ y, at @ weights)


def test_noise_is_amplified_by_the_formula():
    mapped, variances = np.random.default_rng(0).normal(size=(7, 20)), np.linspace(0.1, 0.2, 20)
    expected = np.trace(mapped @ np.diag(variances) @ mapped.T) / 7
    assert noise_variance(mapped, variances) == pytest.approx(expected)


# The answer


@cache
def found(*overrides: str) -> Finding:
    return answer(asked(*overrides), LAB)


@pytest.mark.slow
def test_all_claims_hold():
    assert [claim.name for claim in found().claims if not claim.holds] == []
    assert found().notes == ()
    assert set(found().pictures) == {
        f"bias_variance_{name}" for name in ("methods", "widths", "features", "noise")
    }


@pytest.mark.slow
def test_what_the_settings_do_not_test_is_no_claim():
    few = ("replicates=8", "points=20", "epochs=10")
    other = found(*few, "widths=[1,2]", "feature_widths=[5,90]")
    left_out = {"width and error", "peak", "noise at the peak", "after the peak", "penalty and peak"}
    assert {claim.name for claim in found().claims} - {claim.name for claim in other.claims} == left_out
    assert len(other.notes) == 2


def last_epoch(*given, **named):
    """Imitate early stopping that forgets to go back to the best epoch."""
    (last,) = remembered(fit, *given, **named)
    return [replace(last, weights=given[0].divided(last.state[0]))]


def plant(place: object, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(place, name, value)


def reversed_difference(method, base, *rest):
    return difference(base, method, *rest)


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "sum of parts": plant(World, "noise", property(lambda world: 0.0)),
    "methods and error": plant(Recipe, "network", property(lambda r: Network(2, (r.width,), "relu"))),
    "constraints and variance": plant(replicates, "Update", lambda optimizer, decay: Update(optimizer)),
    "constraints and bias": plant(replicates, "fit", last_epoch),
    "averages and variance": plant(methods, "averaged", lambda members: members[:, 0]),
    "data and variance": plant(methods, "jittered", lambda rows, copies, size, key: rows),
    "rows and bias": plant(methods, "drawn", lambda rows, key: drawn(60, key)),
    "augmentation and bias": plant(methods, "jittered", lambda rows, *rest: jittered(rows, 4, 0.0, 0)),
    "seeds and variance": plant(module, "seed_share", lambda seeds: seed_share(seeds)[::-1]),
    "seeds and bias": plant(methods, "averaged", lambda members: members.sum(axis=1) / 6),
    "width and bias": plant(module, "replace", lambda recipe, width: recipe),
    "width and variance": plant(module, "difference", reversed_difference),
    "width and error": plant(module, "difference", reversed_difference),
    "noise formula": plant(peak, "noise_variance", lambda mapped, v: noise_variance(mapped, 0 * v + 0.25)),
    "peak": plant(peak, "prediction_matrix", lambda rows, at, penalty=0: prediction_matrix(rows, at, 0.1)),
    "noise at the peak": plant(peak, "noise_variance", lambda mapped, v: (mapped**2 * v).mean()),
    "after the peak": plant(
        peak, "prediction_matrix", lambda rows, at, penalty=0: prediction_matrix(rows, at, 1.0)
    ),
    "penalty and peak": plant(
        peak, "prediction_matrix", lambda rows, at, penalty=0: prediction_matrix(rows, at)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, monkeypatch):
    assert {claim.name: claim.holds for claim in found().claims}[name]
    PLANTS[name](monkeypatch)
    assert not {claim.name: claim.holds for claim in answer(asked(), LAB).claims}[name]


@pytest.mark.slow
def test_every_claim_has_a_plant():
    assert list(PLANTS) == [claim.name for claim in found().claims]


def test_parts_have_the_names_of_tables():
    assert all(hasattr(Parts(0.0, 0.0), part) for part in PARTS)
