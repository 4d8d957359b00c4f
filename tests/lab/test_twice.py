"""Training twice: symmetries of a hidden layer, and claims that fail if something is wrong."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest

from sweepgrad import rng
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding
from sweepgrad.lab.questions import twice as module
from sweepgrad.lab.questions.twice import answer, farthest
from sweepgrad.lab.retraining import pairs, sources, teacher
from sweepgrad.lab.retraining.symmetry import Symmetry, balanced, distance, matched, units
from sweepgrad.lab.retraining.teacher import Settings, symmetries
from sweepgrad.lab.training import last_weights
from sweepgrad.nn.network import Network, Weights
from sweepgrad.training.steps import Update

LAB = Lab("sqlite:///unused")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))


def weights(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(4, 1)), rng.normal(size=1)


def asked(*overrides: str) -> Settings:
    _, section = settings("twice", ["seeds=6", "epochs=600", *overrides])
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


@cache
def found(*overrides: str) -> Finding:
    return answer(asked(*overrides), LAB)


def test_all_claims_hold():
    assert [claim.name for claim in found().claims if not claim.holds] == []
    assert found().notes == ()
    assert set(found().pictures) == {f"twice_{name}" for name in ("sources", "pairs", "units", "matched")}


def test_relu_is_asked_too():
    other = found("activation=relu", "epochs=20", "seeds=2")
    assert [claim.name for claim in other.claims if not claim.holds] == []
    assert "flipped training" not in [claim.name for claim in other.claims]
    assert len(other.notes) == 2


def test_what_the_settings_do_not_test_is_no_claim():
    other = found("batch_size=2000", "epochs=5", "seeds=2")
    assert "matched weights" not in [claim.name for claim in other.claims]
    (random,) = [claim for claim in other.claims if claim.name == "random sources"]
    assert "order of the batches" not in random.text
    assert len(other.notes) == 2


def test_a_separable_table_is_reported():
    with pytest.raises(UserError, match="linearly separable, so no finite weights are best: use more rows"):
        answer(asked("hidden=2", "rows=100", "epochs=5", "seeds=2", "batch_size=1000"), LAB)


def plant(place: object, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(place, name, value)


def with_a_hidden_state() -> Callable[..., Weights]:
    """Imitate an influence that is not among the arguments."""
    calls = []

    def wayward(network, update, *given, **named):
        calls.append(1)
        optimizer = replace(update.optimizer, lr=update.optimizer.lr * (1 + 1e-12 * len(calls)))
        return last_weights(network, replace(update, optimizer=optimizer), *given, **named)

    return wayward


def of_one_seed(*given, seed, **named):
    return last_weights(*given, seed=1, **named)


def without_start(network, rows, optimizer, schedule, epochs, batch_size, seed, start, program):
    return last_weights(
        network,
        Update(optimizer),
        rows,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        schedule=schedule,
        start=network.initial(1),
        program=program,
    )


def inexact(*given):
    """Imitate a second program with a wrong formula."""
    trained = teacher.trained(*given)
    return tuple(w * (1 + 1e-6) for w in trained) if given[-1] == "numpy" else trained


def changed(factor: float) -> Callable[..., Weights]:
    """Imitate a symmetry that forgets to divide the outgoing weights, or to permute the biases."""

    def of(self: Symmetry, weights: Weights) -> Weights:
        into, bias, out, last = weights
        return into[:, self.order] * self.factors, bias * self.factors, out[self.order] * factor, last

    return of


def elsewhere(network, *given):
    """Imitate training of the convex model that depends on the seed."""
    *matrices, last = teacher.trained(network, *given)
    return (*matrices, last + 1e-6 * given[-1])


def of_the_largest(problem, w, optimum):
    """Divide by the largest eigenvalue in place of the smallest."""
    X = problem.X
    values = np.linalg.eigvalsh(X.T @ X)
    return farthest(problem, w, optimum) * values[0] / values[-1]


_NORMAL = rng.normal
WRONG = [Symmetry(np.array([1, 2, 0]), np.array([1.1, 1, 1])), Symmetry(np.arange(3), np.array([1.0, 2, 1]))]
PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "same bits": lambda monkeypatch: monkeypatch.setattr(teacher, "last_weights", with_a_hidden_state()),
    "other seeds": plant(teacher, "last_weights", of_one_seed),
    "random sources": plant(sources, "trained", without_start),
    "rounding": plant(sources, "trained", inexact),
    "order of a sum": plant(rng, "normal", lambda key, shape: np.round(8 * _NORMAL(key, shape))),
    "permuted function": plant(Symmetry, "of", changed(1.0)),
    "flipped function": plant(Symmetry, "of", changed(1.0)),
    "permuted training": plant(module, "symmetries", lambda network, key: WRONG),
    "flipped training": plant(module, "symmetries", lambda network, key: WRONG),
    "different functions": plant(teacher, "last_weights", of_one_seed),
    "matched weights": plant(pairs, "matched", lambda weights, to, activation: weights),
    "convex": plant(module, "trained", elsewhere),
    "convex bound": plant(module, "farthest", of_the_largest),
}


_TRAINED: dict[bytes, Weights] = {}


def remembered(network, update, rows, *, start=None, **named):
    """Train each network only once: most planted changes concern other parts."""
    key = repr((network, update, named)).encode() + rows.X.tobytes()
    key += b"".join(w.tobytes() for w in start or ())
    if key not in _TRAINED:
        _TRAINED[key] = last_weights(network, update, rows, start=start, **named)
    return _TRAINED[key]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, monkeypatch):
    assert {claim.name: claim.holds for claim in found().claims}[name]
    monkeypatch.setattr(teacher, "last_weights", remembered)
    PLANTS[name](monkeypatch)
    assert not {claim.name: claim.holds for claim in answer(asked(), LAB).claims}[name]


def test_every_claim_has_a_plant():
    assert list(PLANTS) == [claim.name for claim in found().claims]
