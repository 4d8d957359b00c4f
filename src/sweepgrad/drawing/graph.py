"""Graphs for drawing: nodes with value and gradient, edges with the gradient that they pass back."""

from dataclasses import dataclass

import numpy as np

from sweepgrad.autograd.value import Array, Value, gradient, share
from sweepgrad.autograd.value import graph as in_order
from sweepgrad.messages.escape import plain

FEW = 4
"""The largest size of an array whose numbers are shown; larger ones show their shape."""


@dataclass(frozen=True)
class Node:
    """A `Value`.

    Attributes:
        name: the label, or v and a number.
        operation: the name of the operation, such as + or ** 3; empty for a leaf.
        data, grad: of the shape of the `Value`.
    """

    name: str
    operation: str
    data: Array
    grad: Array

    @property
    def constant(self) -> bool:
        """True for a number of an expression; no name begins with a digit."""
        return not self.operation and self.name.removeprefix("-")[:1].isdigit()

    @property
    def title(self) -> str:
        return f"{self.name} ({self.operation})" if self.operation else self.name


@dataclass(frozen=True)
class Edge:
    """A parent and a child, by the numbers of their nodes.

    Attributes:
        partial: the derivative of the child with respect to the parent, if both are scalars.
        share: the gradient that the child passes back to the parent; None if it is always zero.
    """

    parent: int
    child: int
    partial: float | None
    share: Array | None


@dataclass(frozen=True)
class Graph:
    """A computation, parents before children; the last node is its result."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def edges_to(self, child: int) -> list[Edge]:
        """Return the edges to a node, from its parents."""
        return [edge for edge in self.edges if edge.child == child]

    def edges_from(self, parent: int) -> list[Edge]:
        """Return the edges from a node, to its children."""
        return [edge for edge in self.edges if edge.parent == parent]

    def formula(self, n: int) -> str:
        """Return how a node was computed from its parents, such as x1 + x2 or log(x5); empty for a leaf."""
        operation = self.nodes[n].operation
        parents = [self.nodes[edge.parent].name for edge in self.edges_to(n)]
        operands = [f"({name})" if name.startswith("-") else name for name in parents]
        if operation in ("+", "-", "*", "/", "@"):
            return f" {operation} ".join(operands)
        if operation.startswith("**"):
            return f"{operands[0]} {operation}"
        if operation == "neg":
            return f"-{operands[0]}"
        return f"{operation}({', '.join(parents)})" if operation else ""

    @property
    def backward(self) -> list[int]:
        """The nodes that were computed, in the order of the backward pass."""
        return [number for number in reversed(range(len(self.nodes))) if self.nodes[number].operation]

    def to_json(self) -> dict[str, object]:
        nodes = [
            {"name": n.name, "operation": n.operation, "data": n.data.tolist(), "grad": n.grad.tolist()}
            for n in self.nodes
        ]
        edges = [
            {"parent": e.parent, "child": e.child, "partial": e.partial}
            | {"share": None if e.share is None else e.share.tolist()}
            for e in self.edges
        ]
        return {"nodes": nodes, "edges": edges}


def graph_of(output: Value) -> Graph:
    """Return the graph of a scalar, with its gradients.

    Raises:
        ShapeError: the output is not a scalar.
        DomainError: a gradient does not exist.
    """
    values = in_order(output)
    gradients = gradient(output, values)
    numbers = {value: number for number, value in enumerate(values)}
    taken = {value.label for value in values}
    free = (f"v{number}" for number in range(1, 10 * len(values)) if f"v{number}" not in taken)
    nodes, edges = [], []
    for value, grad in zip(values, gradients, strict=True):
        operation = _operation(value)
        nodes.append(Node(plain(value.label) or next(free), operation, value.data, grad.data))
        for place, parent in enumerate(value.parents):
            passed, partial = share(value, place, grad), None
            if value.shape == parent.shape == ():
                local = share(value, place, Value(1.0))
                partial = 0.0 if local is None else local.item()
            edges.append(
                Edge(numbers[parent], numbers[value], partial, None if passed is None else passed.data)
            )
    return Graph(tuple(nodes), tuple(edges))


def _operation(value: Value) -> str:
    """Return the name of a `Value`'s operation, with a constant exponent; empty for a leaf."""
    if value.operation is None:
        return ""
    exponent = np.asarray(value.settings.get("exponent", []))
    return f"{value.operation.name} {number(float(exponent))}" if exponent.ndim == 0 else value.operation.name


def number(x: float) -> str:
    """Format a number with four digits."""
    return f"{x + 0.0:.4g}"  # + 0 turns -0 into 0


def shown(array: Array) -> str:
    """Format a scalar, the numbers of a small array, or the shape and norm of a larger one."""
    if array.ndim == 0:
        return number(float(array))
    if array.size <= FEW:
        return "[" + " ".join(number(float(x)) for x in array.reshape(-1)) + "]"
    return f"{'×'.join(map(str, array.shape))}, norm {number(float(np.linalg.norm(array)))}"
