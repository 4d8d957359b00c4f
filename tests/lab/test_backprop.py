"""Backpropagation on a graph: the answer, and that its claims can fail."""

import numpy as np
import pytest

from sweepgrad.autograd import operations, value
from sweepgrad.autograd.value import Operation
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


def test_a_wrong_local_gradient_fails_its_claims(monkeypatch):
    wrong = Operation("log", np.log, (lambda g, y, a: g / (a + 0.1),))
    monkeypatch.setattr(operations, "LOG", wrong)
    assert [claim.holds for claim in answer(asked(), LAB).claims] == [True, False, False, True]


def test_a_backward_pass_that_leaves_something_out_fails_its_claims(monkeypatch):
    real = value.share

    def forgetful(node, place, g):
        return None if node.label == "x4" else real(node, place, g)

    monkeypatch.setattr(value, "share", forgetful)
    assert [claim.holds for claim in answer(asked(), LAB).claims] == [False, False, False, True]
