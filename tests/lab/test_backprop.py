"""Backpropagation on a graph: the answer, and that its claims can fail."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from sweepgrad.autograd import operations, value
from sweepgrad.autograd.value import Operation, Value, gradient, share
from sweepgrad.drawing.graph import graph_of
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.questions import backprop as module
from sweepgrad.lab.questions.backprop import (
    answer,
    count_paths,
    doubling,
    numeric,
    numeric_second,
    over_paths,
)

LAB = Lab("sqlite:///unused")


def asked(*overrides: str) -> module.Settings:
    _, section = settings("backprop", list(overrides))
    assert isinstance(section, module.Settings)
    return section


def test_it_answers():
    finding = answer(asked(), LAB)
    assert finding.holds, finding.markdown
    assert (finding.numbers["edges"], finding.numbers["paths"]) == (7, 5)
    assert set(finding.pictures) == {"backprop", "backprop_network"}
    assert "∂L/∂x3 = ∂L/∂x4 · ∂x4/∂x3 + ∂L/∂x5 · ∂x5/∂x3" in finding.markdown


def test_it_answers_for_other_expressions():
    finding = answer(
        asked('expression="a * exp(a * b) + sigmoid(b, 3)"', 'at="a=1.5 b=-0.5"', "depth=3"), LAB
    )
    assert finding.holds, finding.markdown


def test_paths_are_counted_and_summed():
    graph = graph_of(doubling(10))
    assert count_paths(graph) == 2**10
    assert over_paths(graph, 0) == 2**10
    chain = "; ".join(f"x{i + 1} = x{i} + x{i}" for i in range(17))
    with pytest.raises(UserError, match="131,072 paths, too many"):
        answer(asked(f'expression="{chain}"', 'at="x0=1"'), LAB)


def test_numeric_derivatives_are_derivatives():
    assert numeric("a ** 3", {"a": 2.0}, "a") == pytest.approx(12, abs=1e-6)
    assert numeric_second("a ** 3", {"a": 2.0}, "a", "a") == pytest.approx(12, abs=1e-6)
    assert numeric_second("a * b", {"a": 2.0, "b": 3.0}, "a", "b") == pytest.approx(1, abs=1e-6)


def plant_forgotten_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backward pass leave out what x4 passes back."""
    real = value.share

    def forgetful(node: Value, place: int, g: Value) -> Value | None:
        return None if node.label == "x4" else real(node, place, g)

    monkeypatch.setattr(value, "share", forgetful)


def plant_wrong_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the local gradient of log wrong: partials and gradients alike, so that they agree."""
    wrong = Operation("log", np.log, (lambda g, y, a: g / (a + 0.1),))
    monkeypatch.setattr(operations, "LOG", wrong)


def plant_swapped_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass back to each factor of a product the gradient that is the other's."""
    wrong = Operation("*", np.multiply, (lambda g, y, a, b: g * a, lambda g, y, a, b: g * b))
    monkeypatch.setattr(operations, "MULTIPLY", wrong)


def plant_detached_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the gradient of log a constant: its value is right, its own gradient is not."""
    wrong = Operation("log", np.log, (lambda g, y, a: g / Value(a.data),))
    monkeypatch.setattr(operations, "LOG", wrong)


def plant_path_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow each path on its own: the same derivative, for an addition a path."""

    def slope(output: Value, x: Value) -> Value:
        if output is x:
            return Value(1.0)
        parts = [share(output, place, Value(1.0)) for place in range(len(output.parents))]
        terms = [slope(p, x) * part for p, part in zip(output.parents, parts, strict=True) if part]
        return sum(terms[1:], start=terms[0])

    monkeypatch.setattr(
        module,
        "gradient",
        lambda output, inputs: [
            slope(output, x) if x.label == "x" else gradient(output, [x])[0] for x in inputs
        ],
    )


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "sum over paths": plant_forgotten_node,
    "central differences": plant_wrong_log,
    "reverse induction": plant_swapped_factors,
    "second derivatives": plant_detached_log,
    "cost": plant_path_by_path,
}


@cache
def unplanted() -> dict[str, bool]:
    return held()


def held() -> dict[str, bool]:
    return {claim.name: claim.holds for claim in answer(asked("depth=8"), LAB).claims}


def test_every_claim_has_a_plant():
    assert set(PLANTS) == set(unplanted())


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, monkeypatch):
    assert unplanted()[name]
    PLANTS[name](monkeypatch)
    assert not held()[name]


def test_a_detached_gradient_fails_that_claim_only(monkeypatch):
    plant_detached_log(monkeypatch)
    assert [name for name, holds in held().items() if not holds] == ["second derivatives"]
