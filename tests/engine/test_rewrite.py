"""Check what each rule replaces, and that what looks like it stays."""

from typing import Any

import numpy as np
import pytest

from sweepgrad.engine import rewrite as rewriting
from sweepgrad.engine.graph import Node, Nodes
from sweepgrad.engine.rewrite import RULES, Graph, rewrite

SHAPE = (3, 4)


class Step:
    """Builds a small graph; its nodes are written as text, such as `relu(x)`."""

    def __init__(self) -> None:
        self.nodes = Nodes(np.float64)
        for name in ("x", "y", "g", "c"):
            setattr(self, name, self.input(name))
        self.one = self.nodes.constant(np.array(1.0))
        self.two = self.nodes.constant(np.array(2.0))
        self.probability = self.input("p", ())
        self.mask = self.node("mask", self.probability, settings=(7,))

    x: Node
    y: Node
    g: Node
    c: Node

    def input(self, name: str, shape: tuple[int, ...] = SHAPE) -> Node:
        return self.nodes.node("input", (), shape, name)

    def node(
        self,
        operation: str,
        *operands: Node,
        shape: tuple[int, ...] = SHAPE,
        settings: tuple[object, ...] = (),
    ) -> Node:
        return self.nodes.node(operation, operands, shape, *settings)

    def multiply(self, a: Node, b: Node, shape: tuple[int, ...] = SHAPE) -> Node:
        return self.node("multiply", a, b, shape=shape)

    def minus(self, a: Node, b: Node) -> Node:
        return self.node("subtract", a, b)

    def product(self, *, ta: bool = False, tb: bool = False) -> Node:
        """Return a matrix product of shape (3, 4)."""
        left, right = self.input("a", (2, 3) if ta else (3, 2)), self.input("b", (4, 2) if tb else (2, 4))
        return self.node("matmul", left, right, settings=(ta, tb))


def text(node: Node | None) -> str:
    if node is None:
        return "as it is"
    if node.operation == "input":
        return str(node.settings[0])
    if node.value is not None:
        return f"{node.value.item():g}"
    settings = f"{list(node.settings)}" if node.settings else ""
    return f"{node.operation}{settings}({', '.join(map(text, node.operands))})"


def applied(rule: rewriting.Rule, node: Node, *earlier: Node, later: tuple[Node, ...] = ()) -> str:
    """Return what a rule makes of a node in a graph with other results."""
    found = rule(node, Graph.from_outputs([*earlier, node, *later]))
    assert found is None or found.shape == node.shape
    return text(found)


@pytest.fixture
def s() -> Step:
    return Step()


def test_a_graph_lists_operands_first_and_counts_uses(s):
    relu = s.node("relu", s.x)
    double = s.node("add", relu, relu)
    graph = Graph.from_outputs([double, s.y, relu])
    assert list(map(text, graph.order)) == ["x", "relu(x)", "add(relu(x), relu(x))", "y"]
    assert [graph.uses[node] for node in (s.x, relu, double, s.y)] == [1, 3, 1, 1]
    assert list(map(text, graph.before(double))) == ["x", "relu(x)"]
    assert (graph.only(double, "add"), graph.only(double, "relu"), graph.only(relu, "relu")) == (1, 0, 0)


def test_step_of_a_result(s):
    relu, step = s.node("relu", s.x), s.node("step", s.x)
    rule = rewriting.step_of_result
    assert applied(rule, step, relu) == "step(relu(x))"
    assert applied(rule, step) == "as it is"
    assert applied(rule, step, later=(relu,)) == "as it is"  # it is not computed yet
    assert applied(rule, step, s.node("relu", s.y)) == "as it is"
    assert applied(rule, step, s.node("tanh", s.x)) == "as it is"
    assert applied(rule, s.node("exp", s.x), relu) == "as it is"


def test_gradients_of_activations(s):
    y = s.y
    square, other_product = s.multiply(y, y), s.multiply(y, s.x)
    tanh, sigmoid = s.minus(s.one, square), s.multiply(y, s.minus(s.one, y))
    for local, expected in (
        (s.node("step", y), "relu_gradient(g, y)"),
        (tanh, "tanh_gradient(g, y)"),
        (sigmoid, "sigmoid_gradient(g, y)"),
        (s.minus(s.two, square), "as it is"),
        (s.minus(s.one, other_product), "as it is"),
        (s.minus(s.one, s.node("add", y, y)), "as it is"),
        (s.minus(square, s.one), "as it is"),
        (s.minus(s.nodes.constant(np.ones(3) * [1, 1, 2]), square), "as it is"),
        (s.minus(s.x, square), "as it is"),
        (s.minus(s.input("rate", ()), square), "as it is"),
        (s.node("add", s.one, square), "as it is"),
        (s.multiply(y, s.minus(s.one, s.x)), "as it is"),
        (s.multiply(y, s.minus(s.two, y)), "as it is"),
        (s.node("add", y, s.minus(s.one, y)), "as it is"),
        (s.node("exp", y), "as it is"),
    ):
        for pair in ((s.g, local), (local, s.g)):
            assert applied(rewriting.gradient_of_activation, s.multiply(*pair)) == expected
        assert applied(rewriting.gradient_of_activation, s.node("add", s.g, local)) == "as it is"


def test_gradients_of_activations_with_other_shapes_stay(s):
    row, small = s.input("row", (1, 4)), s.node("step", s.input("z", (1, 4)), shape=(1, 4))
    for pair in ((row, s.node("step", s.y)), (s.g, small)):
        assert applied(rewriting.gradient_of_activation, s.multiply(*pair)) == "as it is"


def test_gradients_through_dropout(s):
    y = s.node("relu", s.x)
    dropped = s.multiply(y, s.mask)
    rule, found = (
        rewriting.gradient_through_dropout,
        "dropped_relu_gradient(g, multiply(relu(x), mask[7](p)), p)",
    )
    for product in (s.multiply(s.g, s.mask), s.multiply(s.mask, s.g)):
        gradient = s.node("relu_gradient", product, y)
        assert applied(rule, gradient, dropped) == found
        assert applied(rule, gradient, later=(dropped,)) == "as it is"
        assert applied(rule, gradient, s.multiply(y, s.c)) == "as it is"
        assert applied(rule, gradient, s.node("add", y, s.mask)) == "as it is"
        assert applied(rule, s.node("tanh_gradient", product, y), dropped) == "as it is"
        assert applied(rule, s.node("relu_gradient", product, s.y), s.multiply(s.y, s.mask)) == "as it is"
    no_mask = s.node("relu_gradient", s.multiply(s.g, s.c), y)
    assert applied(rule, no_mask, s.multiply(y, s.c)) == "as it is"
    no_product = s.node("relu_gradient", s.node("add", s.g, s.mask), y)
    assert applied(rule, no_product, dropped) == "as it is"
    row = s.node("relu_gradient", s.multiply(s.input("row", (1, 4)), s.mask), y)
    assert applied(rule, row, dropped) == "as it is"


@pytest.mark.parametrize("activation", ["", "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("ta", [False, True])
def test_a_layer(s, activation, ta):
    product, bias = s.product(ta=ta), s.input("bias", (3, 1))
    for pair in ((product, bias), (bias, product)):
        inside = s.node("add", *pair)
        node = s.node(activation, inside) if activation else inside
        assert applied(rewriting.layer, node) == f"layer[{ta}, '{activation}'](a, b, bias)"
        for masked in (s.multiply(node, s.mask), s.multiply(s.mask, node)):
            expected = f"layer[{ta}, '{activation}', 7](a, b, bias, p)" if activation else "as it is"
            assert applied(rewriting.layer, masked) == expected


def test_what_is_no_layer(s):
    def layer_of(product: Node, bias: Node) -> Any:
        return s.node("relu", s.node("add", product, bias))

    product, bias = s.product(), s.input("bias", (3, 1))
    layer = layer_of(product, bias)
    for node, others in (
        (layer, [product]),  # what others use has to be kept
        (layer, [layer.operands[0]]),
        (s.multiply(layer, s.mask), [layer]),
        (s.multiply(layer, s.mask), [s.mask]),
        (s.multiply(layer, s.c), []),
        (s.multiply(layer, s.node("mask", s.probability, shape=(1, 4), settings=(7,))), []),
        (layer_of(product, s.input("row", (1, 4))), []),
        (layer_of(product, s.c), []),
        (layer_of(s.x, bias), []),
        (layer_of(s.product(tb=True), bias), []),
        (s.node("exp", s.node("add", product, bias)), []),
        (s.node("relu", s.minus(product, bias)), []),
        (s.minus(product, bias), []),
    ):
        assert applied(rewriting.layer, node, *others) == "as it is", text(node)


def test_a_product_with_a_gradient(s):
    for ta, tb in ((False, True), (True, False)):
        product = s.product(ta=ta, tb=tb)
        gradient = s.node("tanh_gradient", product, s.y)
        found = applied(rewriting.product_with_gradient, gradient)
        assert found == f"matmul[{ta}, {tb}, 'tanh'](a, b, y)"
        assert applied(rewriting.product_with_gradient, gradient, product) == "as it is"
        dropped = s.node("dropped_relu_gradient", product, s.y, s.probability)
        assert "'dropped_relu'](a, b, y, p)" in applied(rewriting.product_with_gradient, dropped)
        assert applied(rewriting.product_with_gradient, s.node("tanh", product)) == "as it is"
    assert applied(rewriting.product_with_gradient, s.node("tanh_gradient", s.x, s.y)) == "as it is"


def test_multiply_add(s):
    rule, rate, other = rewriting.multiply_add, s.input("rate", ()), s.input("other", ())
    product = s.multiply(s.x, s.y)
    row = s.input("row", (1, 4))
    for c, name in ((s.c, "c"), (rate, "rate")):
        assert applied(rule, s.node("add", c, product)) == f"multiply_add(x, y, {name})"
        assert applied(rule, s.node("add", product, c)) == f"multiply_add(x, y, {name})"
        assert applied(rule, s.minus(c, product)) == f"multiply_subtract(x, y, {name})"
        assert applied(rule, s.minus(product, c)) == "as it is"
        assert applied(rule, s.node("divide", c, product)) == "as it is"
        assert applied(rule, s.node("add", c, product), product) == "as it is"
    for pair in ((rate, s.x), (s.x, rate)):
        assert applied(rule, s.minus(s.c, s.multiply(*pair))) == "multiply_subtract(rate, x, c)"
    for node in (
        s.node("add", row, product),
        s.node("add", s.c, s.multiply(row, s.x)),
        s.node("add", s.c, s.multiply(rate, other, ())),
        s.node("add", s.c, s.minus(s.x, s.y)),
    ):
        assert applied(rule, node) == "as it is", text(node)
    # Both are products: the second one is absorbed, and the first stays as it is.
    both = s.node("add", s.multiply(s.x, s.c), product)
    assert applied(rule, both) == "multiply_add(x, c, multiply(x, y))"


def test_rewriting_applies_each_rule_to_what_the_earlier_ones_made(s):
    product, bias = s.product(), s.input("bias", (3, 1))
    y = s.node("relu", s.node("add", product, bias))
    gradient = s.multiply(s.g, s.node("step", s.node("add", product, bias)))
    names = {y: "hidden", gradient: "grad of hidden", s.x: "features"}
    outputs = rewrite([y, gradient, s.x], RULES[:3], s.nodes, names)
    assert list(map(text, outputs)) == [text(y), f"relu_gradient(g, {text(y)})", "x"]
    assert outputs[0] is y
    assert outputs[2] is s.x
    assert names[outputs[1]] == "grad of hidden"
    # Now the sum has one user, so the layer is one instruction and the gradient takes its result.
    outputs = rewrite([y, gradient], RULES, s.nodes, names)
    layer = "layer[False, 'relu'](a, b, bias)"
    assert list(map(text, outputs)) == [layer, f"relu_gradient(g, {layer})"]
    assert names[outputs[0]] == "hidden"
    assert rewrite([y, gradient], (), s.nodes, names) == [y, gradient]
