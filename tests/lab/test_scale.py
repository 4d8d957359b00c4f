"""The scale of the output sigmoid: formulas and equivalences."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sweepgrad.drawing.style import THEMES, applied
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding
from sweepgrad.lab.questions import scale as module
from sweepgrad.lab.questions.scale import answer
from sweepgrad.lab.scaling import equivalence
from sweepgrad.lab.scaling.equivalence import (
    OTHERS,
    Runs,
    at_scale_one,
    difference_with_a_hidden_layer,
    pull,
    rounding,
    slope,
)
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.stats.calibration import greatest_likelihood
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

    monkeypatch.setattr(equivalence, "at_scale_one", wrong)
    assert runs.difference(2.0, stepper) > rounding(15, 8, 3)


def test_another_epsilon_would_be_noticed(runs, monkeypatch):
    def wrong(stepper, scale):
        return replace(at_scale_one(stepper, scale), epsilon=stepper.epsilon)

    monkeypatch.setattr(equivalence, "at_scale_one", wrong)
    assert runs.difference(2.0, Adagrad(0.05, 0.25)) > rounding(15, 8, 3)


def test_a_hidden_layer_keeps_its_rate(runs):
    assert difference_with_a_hidden_layer(runs.train, 2.0, 0) == 0
    assert difference_with_a_hidden_layer(runs.train, 2.0, 0, one_rate=True) > 1e-3


def test_from_zero_only_the_product_of_scale_squared_and_rate_counts(runs):
    assert runs.loss(2.0, 0.01) == runs.loss(1.0, 0.04)
    assert runs.loss(2.0, 0.01) != runs.loss(1.0, 0.01)


SCALES = ("scale", "scale_collapse", "scale_prediction", "scale_rates")


@pytest.fixture(scope="module")
def finding() -> Finding:
    return answer(small(), LAB)


def test_it_answers(finding):
    assert finding.holds, finding.markdown
    assert finding.numbers["pairs/same_bits"] == finding.numbers["pairs/powers_of_two"] == 5
    assert sorted(finding.pictures) == [*SCALES]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", SCALES)
def test_pictures_label_their_axes_and_lines(finding, theme, name):
    with applied(theme):
        figure = finding.pictures[name](theme)
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    legend = (figure.legends or [axes.get_legend()])[0]
    assert len(legend.get_texts()) == len(axes.lines)


def test_scale_1_is_not_compared_with_itself(finding):
    with_one = answer(small(scales=(0.5, 1.0, 3.0)), LAB)
    assert with_one.numbers == finding.numbers
    assert with_one.tables == finding.tables
    assert with_one.claims == finding.claims


def test_without_a_power_of_two_nothing_is_claimed_of_bits():
    found = answer(small(scales=(3.0,)), LAB)
    names = [claim.name for claim in found.claims]
    assert "same bits" not in names
    assert "other scales" in names
    assert "no scale is a power of two" in found.notes[0]


def test_without_other_scales_nothing_is_claimed_of_rounding():
    found = answer(small(scales=(0.5,)), LAB)
    assert "other scales" not in [claim.name for claim in found.claims]
    assert "all are powers of two" in found.notes[0]


def test_rates_that_no_claim_covers_are_not_compared(runs):
    assert isinstance(module._from_zero(runs, (3.0,), (1e3,), 1e-12), str)


def test_separable_rows_have_no_best_scale():
    y, z = np.array([0.0, 1.0]), np.array([-1.0, 2.0])
    assert isinstance(module._best_at_prediction((2.0,), y, z, None), str)


def wrong_slope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "slope", lambda scale, z: slope(1.0, z))


def gradient_without_the_scale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "pull", lambda scale, z, y: pull(scale, z, y) / scale)


def another_epsilon(patch: pytest.MonkeyPatch) -> None:
    def wrong(stepper, scale):
        right = at_scale_one(stepper, scale)
        return replace(right, epsilon=stepper.epsilon) if isinstance(right, Adagrad) else right

    patch.setattr(equivalence, "at_scale_one", wrong)


def a_rate_with_one_factor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(equivalence, "at_scale_one", lambda stepper, scale: replace(stepper, lr=stepper.lr * scale))


def a_hidden_layer_that_keeps_its_rate(patch: pytest.MonkeyPatch) -> None:
    def right(rows, scale, seed, *, one_rate=False):
        return difference_with_a_hidden_layer(rows, scale, seed)

    patch.setattr(module, "difference_with_a_hidden_layer", right)


def a_random_start(patch: pytest.MonkeyPatch) -> None:
    def loss(self, scale, rate):
        start = np.ones(self.network.n_parameters)
        return self.trained(scale, SGD(rate), start).history[-1].train_loss

    patch.setattr(Runs, "loss", loss)


def a_shifted_threshold(patch: pytest.MonkeyPatch) -> None:
    """Add a bias after the scale instead of before, which moves the side of one half."""
    claim = module._same_predictions
    patch.setattr(
        module,
        "_same_predictions",
        lambda scales, y, z: claim(scales, y, Shifted(z)),
    )


class Shifted(np.ndarray):
    """Log-odds that a scale multiplies after 1 was added, and not all of them."""

    def __new__(cls, z):
        return np.asarray(z).view(cls)

    def __rmul__(self, scale):
        return scale * (np.asarray(self) + 1) - 1


def the_inverse_scale(patch: pytest.MonkeyPatch) -> None:
    def inverse(y, z):
        best = greatest_likelihood(y, z)
        assert best is not None
        return 1 / best

    patch.setattr(module, "greatest_likelihood", inverse)


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "slope": wrong_slope,
    "gradient": gradient_without_the_scale,
    "same bits": another_epsilon,
    "other scales": a_rate_with_one_factor,
    "one rate for all layers": a_hidden_layer_that_keeps_its_rate,
    "from zero": a_random_start,
    "same predictions": a_shifted_threshold,
    "best scale at prediction": the_inverse_scale,
}


def test_every_claim_has_a_plant(finding):
    assert [claim.name for claim in finding.claims] == list(PLANTS)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, finding, monkeypatch):
    assert {claim.name: claim.holds for claim in finding.claims}[name], finding.markdown
    PLANTS[name](monkeypatch)
    planted = answer(small(), LAB)
    assert not {claim.name: claim.holds for claim in planted.claims}[name], planted.markdown
