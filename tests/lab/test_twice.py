"""Training twice: symmetries of a hidden layer, and claims that can fail."""

from itertools import permutations, product

import numpy as np
import pytest

from sweepgrad.errors import UserError
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.questions import twice as module
from sweepgrad.lab.questions.twice import answer
from sweepgrad.lab.retraining import teacher
from sweepgrad.lab.retraining.symmetry import Symmetry, balanced, distance, matched, units
from sweepgrad.lab.retraining.teacher import Settings, symmetries
from sweepgrad.nn.network import Network, Weights

LAB = Lab("sqlite:///unused")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))


def weights(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(4, 1)), rng.normal(size=1)


def asked(*overrides: str) -> Settings:
    _, section = settings("twice", ["rows=300", "epochs=20", "seeds=2", *overrides])
    assert isinstance(section, Settings)
    return section


@pytest.mark.parametrize(
    ("activation", "factors"),
    [("tanh", [1, -1, -1, 1]), ("relu", [1, 0.25, 3, 7.5]), ("sigmoid", [1, 1, 1, 1])],
)
def test_a_symmetry_leaves_the_function_as_it_is(activation, factors):
    network, net = Network(3, (4,), activation), weights(0)
    other = Symmetry(np.array([2, 0, 3, 1]), np.array(factors, dtype=float)).of(net)
    assert distance(other, net) > 0.5
    np.testing.assert_allclose(
        network.scaled_scores(other, X), network.scaled_scores(net, X), rtol=1e-12, atol=1e-13
    )


def test_a_sign_is_no_symmetry_of_relu_and_a_factor_none_of_tanh():
    for activation, factor in (("relu", -1.0), ("tanh", 2.0)):
        network, net = Network(3, (4,), activation), weights(0)
        other = Symmetry(np.arange(4), np.array([factor, 1, 1, 1])).of(net)
        assert np.abs(network.scaled_scores(other, X) - network.scaled_scores(net, X)).max() > 0.01


def test_the_symmetries_of_the_lab_change_something():
    net = weights(0)
    for activation in ("tanh", "relu"):
        for symmetry in symmetries(Network(3, (4,), activation), 5):
            assert distance(symmetry.of(net), net) > 0.1


def test_what_was_permuted_and_flipped_is_found():
    net = weights(1)
    other = Symmetry(np.array([3, 1, 0, 2]), np.array([-1.0, 1, 1, -1])).of(net)
    assert distance(matched(other, net, "tanh"), net) == 0


def test_what_was_rescaled_is_found():
    net = weights(1)
    other = Symmetry(np.array([3, 1, 0, 2]), np.array([0.5, 3, 1, 10])).of(net)
    assert distance(matched(other, net, "relu"), balanced(net)) < 1e-14
    length = np.sqrt((balanced(net)[0] ** 2).sum(axis=0) + balanced(net)[1] ** 2)
    np.testing.assert_allclose(length, np.abs(balanced(net)[2][:, 0]))


def test_the_match_is_the_best_of_all_orders_and_signs():
    net, other = weights(2), weights(3)
    best = min(
        distance(Symmetry(np.array(order), np.array(signs)).of(other), net)
        for order in permutations(range(4))
        for signs in product((1.0, -1.0), repeat=4)
    )
    assert distance(matched(other, net, "tanh"), net) == pytest.approx(best)


def test_a_unit_is_all_that_belongs_to_it():
    net = weights(0)
    np.testing.assert_array_equal(units(net)[1], [*net[0][:, 1], net[1][1], net[2][1, 0]])


def test_what_does_not_depend_on_how_long_it_is_trained_holds():
    texts = {claim.text: claim.holds for claim in answer(asked(), LAB).claims}
    failed = [text for text, holds in texts.items() if not holds]
    assert [text for text in failed if "pairs of seeds" not in text] == []


def test_relu_is_asked_too():
    failed = [claim.text for claim in answer(asked("activation=relu"), LAB).claims if not claim.holds]
    assert [text for text in failed if "pairs of seeds" not in text] == []


def test_a_hidden_seed_fails_the_same_bits(monkeypatch):
    """Imitate an influence that is not among the arguments."""
    calls = []
    real = teacher.trained

    def wayward(network, rows, optimizer, *rest):
        calls.append(1)
        return real(
            network,
            rows,
            type(optimizer)(**{**vars(optimizer), "lr": optimizer.lr * (1 + 1e-12 * len(calls))}),
            *rest,
        )

    monkeypatch.setattr(teacher, "trained", wayward)
    claims = answer(asked(), LAB).claims
    assert not claims[0].holds


def test_a_wrong_symmetry_fails_its_claims(monkeypatch):
    wrong = [
        Symmetry(np.array([1, 2, 0]), np.array([1.1, 1, 1])),
        Symmetry(np.arange(3), np.array([1.0, 2, 1])),
    ]
    monkeypatch.setattr(module, "symmetries", lambda network, key: wrong)
    claims = answer(asked(), LAB).claims
    assert [claim.holds for claim in claims[2:4]] == [False, False]


def test_a_separable_table_is_reported():
    with pytest.raises(UserError, match="linearly separable, so no finite weights are best: use more rows"):
        answer(asked("hidden=2", "rows=100", "epochs=5", "batch_size=1000"), LAB)


def test_another_optimum_would_be_noticed(monkeypatch):
    real = teacher.trained

    def elsewhere(network, *rest):
        *matrices, last = real(network, *rest)
        return (*matrices, last + 1e-6 * (not network.hidden))

    monkeypatch.setattr(module, "trained", elsewhere)
    failed = [claim.text for claim in answer(asked(), LAB).claims if not claim.holds]
    assert any("The convex" in text for text in failed)
