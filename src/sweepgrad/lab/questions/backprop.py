"""Backpropagation: all derivatives in one pass over a graph. docs/lab/backprop.md has the proof."""

import logging
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from sweepgrad.autograd.value import Value, gradient
from sweepgrad.autograd.value import graph as in_order
from sweepgrad.config.section import Section
from sweepgrad.drawing.expressions import numbers, parsed
from sweepgrad.drawing.graph import Graph, graph_of, number
from sweepgrad.drawing.page import fragment
from sweepgrad.drawing.pictures import svg
from sweepgrad.drawing.text import chain_rule
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


def answer(settings: Settings, lab: Lab) -> Finding:
    """Compute the derivatives of the expression in three ways, and compare results and cost."""
    at = numbers(settings.at.split())
    graph = graph_of(parsed(settings.expression, at))
    n_paths = count_paths(graph)
    if n_paths > MOST_PATHS:
        raise UserError(
            f"expression: its graph has {n_paths:,} paths, too many to enumerate; use a smaller expression"
        )
    names = {node.name: n for n, node in enumerate(graph.nodes)}
    found = {name: float(graph.nodes[n].grad) for name, n in names.items()}
    by_paths = {name: over_paths(graph, n) for name, n in names.items()}
    differences = {name: numeric(settings.expression, at, name) for name in at}
    size = max(1.0, *(abs(value) for value in found.values()))
    of_paths = max(abs(found[name] - by_paths[name]) for name in names)
    of_differences = max(abs(found[name] - differences[name]) for name in at)
    curvature = _of_curvature(settings.expression, at)
    long = graph_of(doubling(settings.depth))
    log.info("drawing …")
    network = graph_of(loss_of(settings.network, 1))
    arrays = sum(node.data.size for node in network.nodes if node.name[0] in "Wb")
    rows = [
        [
            name,
            graph.nodes[n].operation or "given",
            number(float(graph.nodes[n].data)),
            _partials(graph, n),
            number(found[name]),
        ]
        for name, n in names.items()
    ]
    chains = "\n".join(
        f"    {chain_rule(graph, n)}"
        for n in reversed(range(len(graph.nodes)))
        if graph.nodes[n].name.isidentifier()
    )
    return Finding(
        claims=(
            Claim(
                f"One backward pass over {len(graph.edges)} edges gives the derivatives with respect to all {len(graph.nodes)} nodes. Each"
                f" equals the sum over all paths to {graph.nodes[-1].name} of the products of partials ({n_paths} paths start at leaves);"
                f" the largest difference is {of_paths:.0e}.",
                # Each path has fewer products than there are nodes, and each path's sum is rounded.
                of_paths <= (len(graph.nodes) + n_paths) * _EPS * size * 4,
            ),
            Claim(
                f"Central differences with steps of 2⁻¹² agree within {of_differences:.0e}.",
                of_differences <= 100 * size * STEP**2,
            ),
            Claim(
                f"The gradient is a graph too: its gradients, the second derivatives, agree with central differences of {graph.nodes[-1].name} within {curvature:.0e}.",
                # Each value has a relative rounding error of ε, and is divided by STEP².
                curvature <= 100 * size * STEP**2 + 4 * _EPS * size / STEP**2,
            ),
            Claim(
                f"A chain of {settings.depth} sums x + x has {len(long.edges)} edges and {count_paths(long):,} paths. Backpropagation"
                f" visits only the edges, and finds the derivative {float(long.nodes[0].grad):,.0f}.",
                float(long.nodes[0].grad) == count_paths(long) == 2.0**settings.depth,
            ),
        ),
        numbers={
            "edges": len(graph.edges),
            "paths": n_paths,
            "paths/difference": of_paths,
            "central/difference": of_differences,
            "network/nodes": len(network.nodes),
            "network/parameters": arrays,
        },
        tables=(
            table(["node", "operation", "value", "local partials", "gradient"], rows),
            f"The chain rule, node by node:\n\n{chains}",
        ),
        pictures={"backprop": svg(graph), "backprop_network": svg(network)},
        pages={"backprop": fragment(graph)},
    )


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


def _partials(graph: Graph, n: int) -> str:
    return ", ".join(
        f"∂{graph.nodes[n].name}/∂{graph.nodes[edge.parent].name} = {number(edge.partial or 0.0)}"
        for edge in graph.edges_to(n)
    )
