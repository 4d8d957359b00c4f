"""The scale of the output sigmoid: formulas and equivalences."""

from dataclasses import replace

import numpy as np
import pytest

from sweepgrad.lab import scaling
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.questions import scale as module
from sweepgrad.lab.questions.scale import answer
from sweepgrad.lab.scaling import (
    OTHERS,
    Runs,
    at_scale_one,
    difference_with_a_hidden_layer,
    pull,
    rounding,
    slope,
)
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.training.loop import Examples

STEPPERS = (SGD(0.05), *OTHERS)
IDS = [type(stepper).__name__ for stepper in STEPPERS]
LAB = Lab("sqlite:///unused")


@pytest.fixture(scope="module")
def runs() -> Runs:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X @ [1, -1, 0.5] + rng.normal(size=60) > 0).astype(float)
    return Runs(Examples(X[:40], y[:40]), Examples(X[40:], y[40:]), epochs=3, batch_size=8, seed=1)


def small(**changed: object) -> module.Settings:
    _, section = settings("scale", ["rows=60", "epochs=2", "rates=[0.01,1]", "scales=[0.5,3]"])
    assert isinstance(section, module.Settings)
    return section.model_copy(update=changed)


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
def test_the_slope_is_scale_p_1_minus_p(scale):
    for z in (-2.0, 0.0, 0.7):
        p = 1 / (1 + np.exp(-scale * z))
        assert slope(scale, z) == pytest.approx(scale * p * (1 - p), rel=1e-13)


def test_the_pull_is_scale_times_p_minus_y():
    z, y = np.array([-1.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0])
    p = 1 / (1 + np.exp(-3 * z))
    np.testing.assert_allclose(pull(3.0, z, y), 3 * (p - y), rtol=1e-13)


def test_what_trains_alike_at_scale_one():
    assert at_scale_one(SGD(0.1), 4.0) == SGD(0.1 * 16)
    assert at_scale_one(Momentum(0.1, 0.9), 4.0) == Momentum(0.1 * 16, 0.9)
    assert at_scale_one(Adagrad(0.1, 0.25), 4.0) == Adagrad(0.1 * 4, 0.0625)
    assert at_scale_one(Adam(0.1, 0.9, 0.99, 0.25), 4.0) == Adam(0.1 * 4, 0.9, 0.99, 0.0625)


@pytest.mark.parametrize("stepper", STEPPERS, ids=IDS)
@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 4.0])
def test_a_power_of_two_is_another_start_and_another_rate_to_the_bit(runs, stepper, scale):
    assert runs.difference(scale, stepper) == 0


def test_other_scales_come_to_the_same_up_to_rounding(runs):
    assert 0 < runs.difference(3.0, SGD(0.01)) <= rounding(15, 8, 3)


@pytest.mark.parametrize("stepper", STEPPERS, ids=IDS)
def test_another_rate_would_be_noticed(runs, stepper, monkeypatch):
    def wrong(stepper, scale):
        right = at_scale_one(stepper, scale)
        return replace(right, lr=1.001 * right.lr)

    monkeypatch.setattr(scaling, "at_scale_one", wrong)
    assert runs.difference(2.0, stepper) > rounding(15, 8, 3)


def test_another_epsilon_would_be_noticed(runs, monkeypatch):
    def wrong(stepper, scale):
        return replace(at_scale_one(stepper, scale), epsilon=stepper.epsilon)

    monkeypatch.setattr(scaling, "at_scale_one", wrong)
    assert runs.difference(2.0, Adagrad(0.05, 0.25)) > rounding(15, 8, 3)


def test_a_hidden_layer_keeps_its_rate(runs):
    assert difference_with_a_hidden_layer(runs.train, 2.0, 0) == 0
    assert difference_with_a_hidden_layer(runs.train, 2.0, 0, one_rate=True) > 1e-3


def test_from_zero_only_the_product_of_scale_squared_and_rate_counts(runs):
    assert runs.loss(2.0, 0.01) == runs.loss(1.0, 0.04)
    assert runs.loss(2.0, 0.01) != runs.loss(1.0, 0.01)


def test_it_answers():
    finding = answer(small(), LAB)
    assert finding.holds, finding.markdown
    assert finding.numbers["pairs/same_bits"] == finding.numbers["pairs/powers_of_two"] == 5
    assert set(finding.pictures) == {"scale"}


def test_without_a_power_of_two_nothing_is_claimed_of_bits():
    texts = [claim.text for claim in answer(small(scales=(3.0,)), LAB).claims]
    assert not any("bits" in text for text in texts)
    assert any("up to rounding" in text for text in texts)


def test_a_wrong_equivalence_fails_its_claim(monkeypatch):
    monkeypatch.setattr(scaling, "at_scale_one", lambda s, scale: s)
    failed = [claim.text for claim in answer(small(), LAB).claims if not claim.holds]
    assert len(failed) == 2
    assert "equivalent to another start and another learning rate" in failed[0]


def test_a_wrong_gradient_fails_its_claims(monkeypatch):
    monkeypatch.setattr(module, "pull", lambda scale, z, y: pull(1.0, z, y))
    monkeypatch.setattr(module, "slope", lambda scale, z: slope(1.0, z))
    failed = [claim.text for claim in answer(small(), LAB).claims if not claim.holds]
    assert [text.partition(" ")[2].split()[0] for text in failed] == ["slope", "gradient"]
