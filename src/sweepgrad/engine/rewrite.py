"""Rewriting of a step's graph into fewer instructions.

A rule takes a node and the graph, and returns a node to replace it, or None. Rules match operations, not
networks. docs/engine.md measures what each rule saves.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from sweepgrad.engine.graph import Node, Nodes
from sweepgrad.engine.tape import FUSED


@dataclass(frozen=True)
class Graph:
    """The nodes in the order of computation, and how often each is used."""

    order: tuple[Node, ...]
    uses: Counter[Node]

    @staticmethod
    def from_outputs(outputs: Sequence[Node]) -> "Graph":
        order: dict[Node, None] = {}
        stack = [(node, False) for node in reversed(outputs)]
        while stack:
            node, operands_done = stack.pop()
            if operands_done:
                order[node] = None
            elif node not in order:
                stack.append((node, True))
                stack.extend((operand, False) for operand in reversed(node.operands))
        uses = Counter(operand for node in order for operand in node.operands)
        uses.update(outputs)
        return Graph(tuple(order), uses)

    def before(self, node: Node) -> Iterator[Node]:
        """Yield the nodes that are computed earlier, and so can be operands of the node."""
        return takewhile(lambda other: other is not node, self.order)

    def only(self, node: Node, operation: str) -> bool:
        """Return whether the node is of this operation and used once, so that its user can absorb it."""
        return node.operation == operation and self.uses[node] == 1


Rule = Callable[[Node, Graph], Node | None]


def rewrite(
    outputs: Sequence[Node], rules: Sequence[Rule], nodes: Nodes, names: dict[Node, str]
) -> list[Node]:
    """Apply each rule in order to every node; a replacement takes the node's name."""
    outputs = list(outputs)
    for rule in rules:
        graph = Graph.from_outputs(outputs)
        new: dict[Node, Node] = {}
        for node in graph.order:
            found = rule(node, graph) or node
            operands = tuple(new[operand] for operand in found.operands)
            if operands == node.operands and found is node:
                new[node] = node
            else:
                new[node] = nodes.node(found.operation, operands, found.shape, *found.settings)
            if node in names:
                names.setdefault(new[node], names[node])
        outputs = [new[node] for node in outputs]
    return outputs


def step_of_result(node: Node, graph: Graph) -> Node | None:
    """Use step(x) = step(relu(x)) where relu(x) is computed anyway, so that x need not be kept."""
    if node.operation != "step":
        return None
    for other in graph.before(node):
        if other.operation == "relu" and other.operands == node.operands:
            return Node("step", (other,), node.shape)
    return None


def gradient_of_activation(node: Node, graph: Graph) -> Node | None:
    """Compute g step(y), g (1 - y²) and g (y (1 - y)) in one instruction each."""
    if node.operation != "multiply":
        return None
    for g, local in (node.operands, node.operands[::-1]):
        if g.shape != node.shape or local.shape != node.shape:
            continue
        if local.operation == "step":
            return Node("relu_gradient", (g, local.operands[0]), node.shape)
        if _is_one_minus(local) and local.operands[1].operation == "multiply":
            y, again = local.operands[1].operands
            if y is again:
                return Node("tanh_gradient", (g, y), node.shape)
        if local.operation == "multiply":
            y, rest = local.operands
            if _is_one_minus(rest) and rest.operands[1] is y:
                return Node("sigmoid_gradient", (g, y), node.shape)
    return None


def gradient_through_dropout(node: Node, graph: Graph) -> Node | None:
    """Compute (g mask) step(y), with y = relu(x), as g / (1 - p) where y mask > 0, to keep no mask."""
    if node.operation != "relu_gradient":
        return None
    product, y = node.operands
    if product.operation != "multiply" or y.operation != "relu":
        return None
    for g, mask in (product.operands, product.operands[::-1]):
        if mask.operation == "mask" and mask.shape == y.shape == g.shape:
            for other in graph.before(node):
                if other.operation == "multiply" and set(other.operands) == {y, mask}:
                    return Node("dropped_relu_gradient", (g, other, mask.operands[0]), node.shape)
    return None


def layer(node: Node, graph: Graph) -> Node | None:
    """Compute activation(a @ b + column), and a dropout mask on it, in one instruction."""
    inside, mask = node, None
    if node.operation == "multiply":
        for one, other in (node.operands, node.operands[::-1]):
            if graph.only(one, "mask") and one.shape == other.shape and graph.uses[other] == 1:
                inside, mask = other, one
    activation = ""
    if inside.operation in FUSED:
        activation, inside = inside.operation, inside.operands[0]
        if graph.uses[inside] > 1:
            return None
    if inside.operation != "add" or (mask is not None and not activation):
        return None
    for product, bias in (inside.operands, inside.operands[::-1]):
        if graph.only(product, "matmul") and bias.shape == (product.shape[0], 1) and not product.settings[1]:
            draw = () if mask is None else (mask.settings[0],)
            probability = () if mask is None else mask.operands
            operands = (*product.operands, bias, *probability)
            return Node("layer", operands, product.shape, (product.settings[0], activation, *draw))
    return None


def product_with_gradient(node: Node, graph: Graph) -> Node | None:
    """Apply the gradient of an activation to a product in its instruction, while it is in the cache."""
    name = node.operation.removesuffix("_gradient")
    if name == node.operation or not graph.only(node.operands[0], "matmul"):
        return None
    product = node.operands[0]
    return Node("matmul", (*product.operands, *node.operands[1:]), node.shape, (*product.settings, name))


def multiply_add(node: Node, graph: Graph) -> Node | None:
    """Compute c + a b and c - a b in one pass, for a and c that are single numbers or as many as b."""
    if node.operation not in ("add", "subtract"):
        return None
    pairs = [node.operands] if node.operation == "subtract" else [node.operands[::-1], node.operands]
    for c, product in pairs:
        if not graph.only(product, "multiply") or not _one_or(c, node):
            continue
        for a, b in (product.operands, product.operands[::-1]):
            if b.shape == node.shape and _one_or(a, node):
                name = "multiply_add" if node.operation == "add" else "multiply_subtract"
                return Node(name, (a, b, c), node.shape)
    return None


def _one_or(operand: Node, node: Node) -> bool:
    return operand.size == 1 or operand.shape == node.shape


def _is_one_minus(node: Node) -> bool:
    if node.operation != "subtract":
        return False
    one = node.operands[0]
    return one.value is not None and one.size == 1 and one.value.item() == 1


RULES: tuple[Rule, ...] = (
    step_of_result,
    gradient_of_activation,
    gradient_through_dropout,
    layer,
    product_with_gradient,
    multiply_add,
)
