"""Steps of the proof of docs/lab/backprop.md: symbolically on its example, numerically on random graphs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, sin

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.autograd.value import Value, gradient
from sweepgrad.drawing.expressions import assignment_example
from sweepgrad.drawing.graph import graph_of
from sweepgrad.lab.questions.backprop import Tails, over_paths

x1, x2, x3, x4, x5, last = NODES = sympy.symbols("x1 x2 x3 x4 x5 L", positive=True)
COMPUTED = {x3: x1 + x2, x4: x1 + x3, x5: x3 * x4, last: sympy.log(x5)}
AT = {x1: 1, x2: 0, x3: 1, x4: 2, x5: 2}


def tail(j: int) -> sympy.Expr:
    """Return L_j of the example, by equation (1): later nodes are replaced by what they are computed from."""
    result: sympy.Expr = NODES[-1]
    for node in reversed(NODES[j:]):
        result = result.subs(node, COMPUTED[node])
    return result


def test_the_table_of_the_page_is_that_of_the_example():
    shown = {
        6: last,
        5: sympy.log(x5),
        4: sympy.log(x3) + sympy.log(x4),
        3: sympy.log(x3) + sympy.log(x1 + x3),
        2: sympy.log(x1 + x2) + sympy.log(2 * x1 + x2),
    }
    half = sympy.Rational(1, 2)
    received = {
        6: [0, 0, 0, 0, 0],
        5: [0, 0, 0, 0, half],
        4: [0, 0, 1, half],
        3: [half, 0, 3 * half],
        2: [2, 3 * half],
    }
    for j, expression in shown.items():
        assert sympy.simplify(sympy.expand_log(tail(j)) - expression) == 0
        partials = [sympy.diff(tail(j), node).subs(AT) for node in NODES[: min(j, 5)]]
        assert partials == received[j]


@pytest.mark.parametrize("j", [2, 3, 4, 5])
def test_the_lemma_holds_symbolically_on_the_example(j):
    following = NODES[j]
    for node in NODES[:j]:
        left = sympy.diff(tail(j), node)
        right = sympy.diff(tail(j + 1), node) + sympy.diff(tail(j + 1), following) * sympy.diff(
            COMPUTED[following], node
        )
        assert sympy.simplify(left - right.subs(following, COMPUTED[following])) == 0


def test_tails_are_those_functions():
    tails = Tails(assignment_example())
    assert [node.label for node in tails.nodes] == ["x1", "x2", "x3", "x4", "x5", "L"]
    values = [1.25, 0.5, 2.0, 3.0, 1.5, 0.75]
    for j in range(2, 7):
        expected = float(tail(j).subs(dict(zip(NODES[:j], values, strict=False))))
        assert tails(values[:j]) == pytest.approx(expected, rel=1e-14)


Local = tuple[Callable[[float, float], float], Callable[[float, float], tuple[float, float]]]
LOCAL: tuple[Local, ...] = (
    (lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    (lambda a, b: a * b, lambda a, b: (b, a)),
    (lambda a, b: sin(a) * b, lambda a, b: (cos(a) * b, sin(a))),
    (lambda a, b: exp(-a * a) - b, lambda a, b: (-2 * a * exp(-a * a), -1.0)),
)
"""Functions of two parents, and their partial derivatives."""


@dataclass(frozen=True)
class Random:
    """A random graph: leaves, and for each later node a function and its two parents, maybe the same."""

    leaves: tuple[float, ...]
    later: tuple[tuple[int, int, int], ...]

    def nodes(self, first: list[float]) -> list[float]:
        """Return all nodes, given the first ones: the other nodes are computed."""
        values = list(first)
        for function, a, b in self.later[len(first) - len(self.leaves) :]:
            values.append(LOCAL[function][0](values[a], values[b]))
        return values

    def local(self, values: list[float], k: int, i: int) -> float:
        """Return d_ik: of a parent that is used twice, the sum of both partials."""
        function, a, b = self.later[k - len(self.leaves)]
        of_a, of_b = LOCAL[function][1](values[a], values[b])
        return (of_a if a == i else 0.0) + (of_b if b == i else 0.0)


@st.composite
def graphs(draw: st.DrawFn) -> Random:
    n = draw(st.integers(1, 3))
    leaves = tuple(draw(st.floats(-1.5, 1.5)) for _ in range(n))
    later = tuple(
        (
            draw(st.integers(0, len(LOCAL) - 1)),
            draw(st.integers(0, k - 1)),
            draw(st.integers(0, k - 1)),
        )
        for k in range(n, n + draw(st.integers(1, 6)))
    )
    return Random(leaves, later)


def numeric(graph: Random, first: list[float], i: int) -> float:
    """Return the derivative of L_j, the last node given the first j, with respect to node i."""
    step = 1e-5
    up, down = ([*first[:i], first[i] + h, *first[i + 1 :]] for h in (step, -step))
    return (graph.nodes(up)[-1] - graph.nodes(down)[-1]) / (2 * step)


def received(graph: Random, values: list[float], j: int) -> list[float]:
    """Return what each node has received when the nodes after the first j have been visited."""
    sums = [0.0] * (len(values) - 1) + [1.0]
    for k in reversed(range(j, len(values))):
        for i in range(k):
            sums[i] += sums[k] * graph.local(values, k, i)
    return sums


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_the_recursion_and_what_nodes_have_received_on_random_graphs(graph):
    """Check equations (2) and (4) with derivatives of L_j by differences."""
    n, values = len(graph.leaves), graph.nodes(list(graph.leaves))
    size = max(1.0, *(abs(v) for v in values)) ** 2
    for j in range(n, len(values)):
        partials = [numeric(graph, values[:j], i) for i in range(j)]
        following = [numeric(graph, values[: j + 1], i) for i in range(j + 1)]
        sums = received(graph, values, j)
        for i in range(j):
            recursion = following[i] + following[j] * graph.local(values, j, i)
            scale = 1 + size + abs(following[j])
            assert partials[i] == pytest.approx(recursion, rel=1e-5, abs=1e-6 * scale)
            assert partials[i] == pytest.approx(sums[i], rel=1e-5, abs=1e-6 * scale)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_value_backward_computes_the_sums_of_the_theorem(graph):
    leaves = [Value(x) for x in graph.leaves]
    nodes = list(leaves)
    for function, a, b in graph.later:
        x, y = nodes[a], nodes[b]
        # sin is no operation of Value: the other functions stand for it.
        nodes.append({0: x + y, 1: x * y, 2: x * y, 3: (-x * x).exp() - y}[function])
    without_sine = Random(graph.leaves, tuple((1 if f == 2 else f, a, b) for f, a, b in graph.later))
    values = without_sine.nodes(list(graph.leaves))
    expected = received(without_sine, values, len(graph.leaves))[: len(leaves)]
    found = [float(slope.item()) for slope in gradient(nodes[-1], leaves)]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_paths_give_the_same_numbers():
    graph = graph_of(assignment_example())
    assert [over_paths(graph, n) for n in range(6)] == [2, 1.5, 1.5, 0.5, 0.5, 1]
