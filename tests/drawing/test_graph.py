"""Graphs for drawing: partials and gradients against formulas by hand, paths, and another library."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.autograd.value import Value
from sweepgrad.drawing.diagram import Item, Kind, diagram_of
from sweepgrad.drawing.expressions import assignment_example, graph_at
from sweepgrad.drawing.graph import Graph, graph_of, shown
from sweepgrad.drawing.page import page
from sweepgrad.drawing.text import chain_rule, passed_back, table


def by_name(graph: Graph) -> dict[str, float]:
    return {node.name: float(node.grad) for node in graph.nodes}


def over_paths(graph: Graph, n: int) -> float:
    if n == len(graph.nodes) - 1:
        return 1.0
    return sum((edge.partial or 0.0) * over_paths(graph, edge.child) for edge in graph.edges_from(n))


@st.composite
def expressions(draw):
    """Return a scalar computed from two leaves by random operations."""
    values = [Value(draw(st.floats(-2, 2)), "a"), Value(draw(st.floats(-2, 2)), "b")]
    for _ in range(draw(st.integers(1, 7))):
        x, y = (values[draw(st.integers(0, len(values) - 1))] for _ in range(2))
        result = draw(
            st.sampled_from([x + y, x - y, x * y, x.tanh(), y.sigmoid(), (-x).softplus(), x.relu()])
        )
        values.append(result)
    return values[-1]


def test_the_example_of_the_assignment():
    graph = graph_of(assignment_example())
    assert by_name(graph) == {"x1": 2, "x2": 1.5, "x3": 1.5, "x4": 0.5, "x5": 0.5, "L": 1}
    partials = {(graph.nodes[e.child].name, graph.nodes[e.parent].name): e.partial for e in graph.edges}
    assert partials == {
        ("x3", "x1"): 1,
        ("x3", "x2"): 1,
        ("x4", "x1"): 1,
        ("x4", "x3"): 1,
        ("x5", "x3"): 2,  # x4
        ("x5", "x4"): 1,  # x3
        ("L", "x5"): 0.5,  # 1 / x5
    }


def test_hips_autograd_agrees_on_the_example():
    def loss(x):
        x3 = x[0] + x[1]
        return anp.log(x3 * (x[0] + x3))

    theirs = autograd.grad(loss)(np.array([1.0, 0.0]))
    ours = by_name(graph_of(assignment_example()))
    np.testing.assert_allclose([ours["x1"], ours["x2"]], theirs, rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_a_gradient_is_the_sum_over_paths_of_the_products_of_partials(output):
    graph = graph_of(output)
    output.backward()
    for n, node in enumerate(graph.nodes):
        assert float(node.grad) == pytest.approx(over_paths(graph, n), rel=1e-9, abs=1e-9)
        passed = sum(float(edge.share) for edge in graph.edges_from(n) if edge.share is not None)
        assert n == len(graph.nodes) - 1 or float(node.grad) == pytest.approx(passed, rel=1e-12, abs=1e-15)


def test_gradients_are_those_of_backward_for_arrays_too():
    rng = np.random.default_rng(0)
    W, x = Value(rng.normal(size=(3, 2)), "W"), Value(rng.normal(size=(4, 3)), "x")
    loss = ((x @ W + Value(np.ones(2), "b")).tanh() ** 2).mean()
    graph = graph_of(loss)
    loss.backward()
    grads = {node.name: node.grad for node in graph.nodes}
    np.testing.assert_array_equal(grads["W"], W.grad)
    np.testing.assert_array_equal(grads["x"], x.grad)
    assert grads["b"].shape == (2,)
    assert all(edge.partial is None for edge in graph.edges if graph.nodes[edge.parent].data.ndim)


def test_a_node_used_twice_has_two_edges_and_names_are_not_given_twice():
    x = Value(3.0, "v1")
    graph = graph_of((x * x).tanh())
    assert [edge.partial for edge in graph.edges[:2]] == [3.0, 3.0]
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)


def test_the_chain_rule_is_written_out():
    graph = graph_of(assignment_example())
    names = [node.name for node in graph.nodes]
    assert chain_rule(graph, names.index("x3")) == (
        "∂L/∂x3 = ∂L/∂x4 · ∂x4/∂x3 + ∂L/∂x5 · ∂x5/∂x3 = 0.5 · 1 + 0.5 · 2 = 1.5"
    )
    assert chain_rule(graph, names.index("x5")) == "∂L/∂x5 = 0.5"
    assert chain_rule(graph, names.index("L")) == "∂L/∂L = 1"
    assert passed_back(graph, names.index("x5")) == [
        "to x3: ∂L/∂x5 · ∂x5/∂x3 = 0.5 · 2 = 1",
        "to x4: ∂L/∂x5 · ∂x5/∂x4 = 0.5 · 1 = 0.5",
    ]
    assert "∂x5/∂x3 = 2, ∂x5/∂x4 = 1" in table(graph)


def test_zero_derivatives_are_passed_back_as_such():
    graph = graph_of(Value(2.0, "x").step() * Value(3.0, "y"))
    assert "to x: 0, since the derivative is 0 everywhere" in passed_back(graph, 1)


def test_constants_have_no_gradient_and_no_derivative():
    _, graph = graph_at("2 * x + log(3)", {"x": 1.5})
    constants = [n for n, node in enumerate(graph.nodes) if node.constant]
    assert [graph.nodes[n].name for n in constants] == ["2", "3"]
    text = table(graph)
    assert "∂v1/∂x = 2" in text
    assert "∂2" not in text
    assert "/∂3" not in text
    assert [line.split()[0] for line in text.splitlines()[2:6]] == ["x", "v1", "v2", "L"]
    names = [node.name for node in graph.nodes]
    assert passed_back(graph, names.index("v2")) == []
    diagram = diagram_of(graph)
    assert [diagram.items[n] for n in constants] == [Item((name,), Kind.CONSTANT) for name in ("2", "3")]
    assert all((link.parent in constants) == (link.label == "") for link in diagram.links)
    assert "It passes nothing back: its parents are constants." in page(graph)


def test_numbers_are_short():
    assert shown(np.array(1 / 3)) == "0.3333"
    assert shown(np.array([1.0, -0.0])) == "[1 0]"
    assert shown(np.ones((3, 4))) == "3×4, norm 3.464"


def test_json_has_all_of_it():
    json = graph_of(assignment_example()).to_json()
    nodes, edges = json["nodes"], json["edges"]
    assert isinstance(nodes, list)
    assert isinstance(edges, list)
    assert nodes[0] == {"name": "x1", "operation": "", "data": 1.0, "grad": 2.0}
    assert edges[-1] == {"parent": 4, "child": 5, "partial": 0.5, "share": 0.5}
