"""Backpropagation: all derivatives in one pass over a graph. docs/lab/backprop.md has the proof."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from sweepgrad.autograd.value import Value, gradient, share
from sweepgrad.autograd.value import graph as in_order
from sweepgrad.config.section import Section
from sweepgrad.drawing.diagram import diagram_of
from sweepgrad.drawing.expressions import graph_at, numbers, parsed
from sweepgrad.drawing.graph import Graph, graph_of, number
from sweepgrad.drawing.page import Source, fragment
from sweepgrad.drawing.pictures import svg
from sweepgrad.drawing.text import chain_rules, partials
from sweepgrad.errors import UserError
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.training.loss_graph import loss_of

log = logging.getLogger(__name__)

STEP = 2.0**-12
"""Step of central differences. The errors of truncation and rounding are about STEP² and ε / STEP."""
MOST_PATHS = 100_000
_EPS = float(np.finfo(np.float64).eps)


class Settings(Section):
    """The settings of `conf/experiment/lab/backprop.yaml`."""

    expression: Annotated[str, Field(min_length=1)]
    at: str
    depth: Annotated[int, Field(ge=1, le=60)]
    network: tuple[str, ...]
    rows: Annotated[int, Field(ge=1, le=10_000)]


def count_paths(graph: Graph) -> int:
    """Return the number of paths from the leaves to the result."""
    paths = [0] * len(graph.nodes)
    paths[-1] = 1
    for edge in sorted(graph.edges, key=lambda edge: -edge.child):
        paths[edge.parent] += paths[edge.child]
    return sum(paths[n] for n, node in enumerate(graph.nodes) if not node.operation)


def over_paths(graph: Graph, n: int) -> float:
    """Return the derivative of the result with respect to a node as a sum over paths of products of partials."""
    if n == len(graph.nodes) - 1:
        return 1.0
    return sum((edge.partial or 0.0) * over_paths(graph, edge.child) for edge in graph.edges_from(n))


def numeric(expression: str, at: Mapping[str, float], name: str) -> float:
    """Return the derivative of an expression with respect to a name, by central differences."""
    up, down = ({**at, name: at[name] + step} for step in (STEP, -STEP))
    return (parsed(expression, up).item() - parsed(expression, down).item()) / (2 * STEP)


def doubling(depth: int) -> Value:
    """Return a chain of sums x + x, so that each node has two edges to the next."""
    x = Value(1.0, "x")
    for _ in range(depth):
        x = x + x
    return x


class Tails:
    """The functions L_j of the proof: the result as a function of the first j nodes.

    The nodes are numbered from 1, leaves first, parents before children. L_j takes the values of the nodes 1 to j,
    and computes all later nodes from them; the last L_j returns its last argument.
    """

    def __init__(self, output: Value) -> None:
        nodes = in_order(output)
        self.nodes = [v for v in nodes if not v.parents] + [v for v in nodes if v.parents]
        self.numbers = {node: j for j, node in enumerate(self.nodes, start=1)}
        self.n_leaves = sum(not node.parents for node in nodes)

    def __call__(self, first: Sequence[float]) -> float:
        """Return L_j of the values of the first j nodes."""
        data = [np.asarray(value) for value in first]
        for node in self.nodes[len(first) :]:
            assert node.operation is not None
            parents = [data[self.numbers[parent] - 1] for parent in node.parents]
            data.append(np.asarray(node.operation.forward(*parents, **node.settings)))
        return float(data[-1])

    def partial(self, j: int, i: int) -> float:
        """Return the derivative of L_j with respect to node i, by central differences."""
        values = [node.item() for node in self.nodes[:j]]
        up, down = ([*values[: i - 1], values[i - 1] + step, *values[i:]] for step in (STEP, -STEP))
        return (self(up) - self(down)) / (2 * STEP)

    def local(self, j: int, i: int) -> float:
        """Return the partial derivative of node j with respect to node i, from the local gradients."""
        node = self.nodes[j - 1]
        parts = [
            share(node, p, Value(1.0)) for p, parent in enumerate(node.parents) if self.numbers[parent] == i
        ]
        return sum(part.item() for part in parts if part is not None)

    def gap(self) -> float:
        """Return how far the recursion of the proof is from holding, at most, over all j and i <= j.

        It is ∂L_j/∂v_i = ∂L_(j+1)/∂v_i + ∂L_(j+1)/∂v_(j+1) · ∂v_(j+1)/∂v_i, for j from the number of leaves.
        """
        gaps = [
            abs(
                self.partial(j, i)
                - self.partial(j + 1, i)
                - self.partial(j + 1, j + 1) * self.local(j + 1, i)
            )
            for j in range(self.n_leaves, len(self.nodes))
            for i in range(1, j + 1)
        ]
        return float(np.max(gaps))


def answer(settings: Settings, lab: Lab) -> Finding:
    """Compute the derivatives of the expression in three ways, and compare results and cost."""
    at = numbers(settings.at.split())
    output, graph = graph_at(settings.expression, at)
    _check_derivatives(graph)
    n_paths = count_paths(graph)
    if n_paths > MOST_PATHS:
        raise UserError(
            f"expression: its graph has {n_paths:,} paths, too many to enumerate; use a smaller expression"
        )
    names = {node.name: n for n, node in enumerate(graph.nodes)}
    found = {name: float(graph.nodes[n].grad) for name, n in names.items()}
    size = max(1.0, *(abs(value) for value in found.values()))
    of_paths = max(abs(found[name] - over_paths(graph, n)) for name, n in names.items())
    of_differences = max(abs(found[name] - numeric(settings.expression, at, name)) for name in at)
    of_recursion, of_curvature = Tails(output).gap(), _of_curvature(settings.expression, at)
    # The errors of differences: truncation, and rounding by a relative ε of a value that is divided by STEP.
    close = 100 * size * STEP**2 + 8 * _EPS * size / STEP
    chain = doubling(settings.depth)
    (start,) = (value for value in in_order(chain) if not value.parents)
    (slope,) = gradient(chain, [start])
    paths = count_paths(graph_of(chain))
    additions = sum(value.operation is not None for value in in_order(slope))
    log.info("drawing …")
    network = loss_of(settings.network, settings.rows)
    if network.rows < settings.rows:
        raise UserError(
            f"rows: {settings.rows} is more than the {network.rows} training rows of the table; lower it"
        )
    return Finding(
        claims=(
            Claim(
                "sum over paths",
                "One backward pass gives, for each node, the sum over all paths from it to the result of the products of the partials on the path.",
                f"{len(graph.nodes)} nodes, {len(graph.edges)} edges, {n_paths} paths from leaves; largest difference {of_paths:.0e}",
                # Each path has fewer products than there are nodes, and each path's sum is rounded.
                of_paths <= (len(graph.nodes) + n_paths) * _EPS * size * 4,
            ),
            Claim(
                "central differences",
                "The gradients of the leaves are the central differences of the expression with step 2⁻¹², up to the error of these.",
                f"largest difference {of_differences:.0e}, allowed {close:.0e}",
                of_differences <= close,
            ),
            Claim(
                "reverse induction",
                "The functions Lⱼ of the proof satisfy its recursion ∂Lⱼ/∂vᵢ = ∂Lⱼ₊₁/∂vᵢ + ∂Lⱼ₊₁/∂vⱼ₊₁ · ∂vⱼ₊₁/∂vᵢ, with derivatives of Lⱼ by central differences.",
                f"largest difference {of_recursion:.0e}, allowed {4 * close:.0e}",
                of_recursion <= 4 * close,
            ),
            Claim(
                "second derivatives",
                "The gradient is a graph too: its gradients are the second derivatives, as central differences of the expression.",
                f"largest difference {of_curvature:.0e}, allowed {close + 4 * _EPS * size / STEP**2:.0e}",
                of_curvature <= close + 4 * _EPS * size / STEP**2,
            ),
            Claim(
                "cost",
                "On a chain of n sums x + x, with 2n edges (one for each operand) and 2ⁿ paths, the backward pass makes n additions and gives the derivative 2ⁿ.",
                f"n = {settings.depth}: {paths:,} paths, {additions} additions, derivative {slope.item():,.0f}",
                slope.item() == paths == 2.0**settings.depth and additions == settings.depth,
            ),
        ),
        numbers={
            "edges": len(graph.edges),
            "paths": n_paths,
            "paths/difference": of_paths,
            "central/difference": of_differences,
            "recursion/difference": of_recursion,
            "second/difference": of_curvature,
            "chain/additions": additions,
            "network/parameters": network.network.n_parameters,
        },
        tables=tuple(_tables(graph)),
        pictures={
            "backprop": lambda theme: svg(diagram_of(graph), theme),
            "backprop_network": lambda theme: svg(network.layers, theme),
        },
        pages={"backprop": fragment(graph, Source(settings.expression, settings.at))},
    )


def _check_derivatives(graph: Graph) -> None:
    """Check that each ReLU has a derivative, and that central differences do not reach across its kink.

    Raises:
        UserError: the argument of a ReLU is at 0 or too close to it.
    """
    for edge in graph.edges:
        node, x = graph.nodes[edge.child], graph.nodes[edge.parent]
        if node.operation == "relu" and abs(float(x.data)) <= 4 * STEP:
            reason = "at 0" if float(x.data) == 0 else "at 0, which is within the step of the differences"
            raise UserError(
                f"at: {x.name} = {number(float(x.data))}, and relu({x.name}) has no derivative {reason}, so the"
                " theorem does not apply; use other values"
            )


def _tables(graph: Graph) -> Iterator[str]:
    """Yield a table of values, partials and gradients, and the chain rule for each node."""
    rows = [
        [
            node.name,
            graph.formula(n) or "given",
            number(float(node.data)),
            partials(graph, n),
            number(float(node.grad)),
        ]
        for n, node in enumerate(graph.nodes)
        if not node.constant
    ]
    yield table(["node", "formula", "value", "local partials", "gradient"], rows)
    lines = [f"    {rule}" for rule in chain_rules(graph)]
    yield "The chain rule, node by node:\n\n" + "\n".join(lines)


def numeric_second(expression: str, at: Mapping[str, float], name: str, other: str) -> float:
    """Return the second derivative of an expression with respect to two names, by central differences."""
    total = 0.0
    for sign in (1, -1):
        for another in (1, -1):
            moved = {**at, name: at[name] + sign * STEP}
            moved[other] += another * STEP
            total += sign * another * parsed(expression, moved).item()
    return total / (4 * STEP**2)


def _of_curvature(expression: str, at: Mapping[str, float]) -> float:
    """Return the largest difference of a second derivative from central differences."""
    output = parsed(expression, at)
    leaves = {value.label: value for value in in_order(output) if value.label in at}
    worst = 0.0
    for name, slope in zip(leaves, gradient(output, [*leaves.values()]), strict=True):
        for other, second in zip(leaves, gradient(slope, [*leaves.values()]), strict=True):
            worst = max(worst, abs(second.item() - numeric_second(expression, at, name, other)))
    return worst
