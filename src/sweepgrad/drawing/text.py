"""Graphs as text: a table of values and partial derivatives, and the chain rule written out."""

from sweepgrad.drawing.diagram import Diagram
from sweepgrad.drawing.graph import Graph, number, shown


def chain_rule(graph: Graph, n: int) -> str:
    """Return the chain rule for a node: its gradient from those of its children.

    With numbers where all are scalars: ∂L/∂x = ∂L/∂y · ∂y/∂x + … = 0.5 · 2 + … = 1.5.
    """
    node, result, edges = graph.nodes[n], graph.nodes[-1].name, graph.edges_from(n)
    if n == len(graph.nodes) - 1:
        return f"∂{result}/∂{result} = 1"
    if [edge.child for edge in edges] == [len(graph.nodes) - 1]:
        return f"∂{result}/∂{node.name} = {shown(node.grad)}"
    names = [graph.nodes[edge.child].name for edge in edges]
    factors = [f"∂{result}/∂{name} · " if name != result else "" for name in names]
    terms = " + ".join(f"{factor}∂{name}/∂{node.name}" for factor, name in zip(factors, names, strict=True))
    rule = f"∂{result}/∂{node.name} = {terms}"
    if all(edge.partial is not None for edge in edges):
        products = [
            f"{_factor(float(graph.nodes[edge.child].grad))} · {_factor(edge.partial or 0.0)}"
            if graph.nodes[edge.child].name != result
            else _factor(edge.partial or 0.0)
            for edge in edges
        ]
        return f"{rule} = {' + '.join(products)} = {number(float(node.grad))}"
    return f"{rule} = {shown(node.grad)}"


def passed_back(graph: Graph, n: int) -> list[str]:
    """Return a line for each parent that is not a constant: the gradient that the node passes back to it."""
    result, node = graph.nodes[-1].name, graph.nodes[n]
    lines = []
    for edge in graph.edges_to(n):
        parent = graph.nodes[edge.parent].name
        if graph.nodes[edge.parent].constant:
            continue
        if edge.share is None:
            lines.append(f"to {parent}: 0, since the derivative is 0 everywhere")
        elif edge.partial is not None:
            product = f"{number(float(node.grad))} · {_factor(edge.partial)} = {number(float(edge.share))}"
            lines.append(f"to {parent}: ∂{result}/∂{node.name} · ∂{node.name}/∂{parent} = {product}")
        else:
            lines.append(f"to {parent}: {shown(edge.share)}")
    return lines


def table(graph: Graph) -> str:
    """Return a table of each node's value, local partials and gradient, and the chain rule for each node."""
    header = ("node", "formula", "value", "local partials", "gradient")
    rows = [header]
    for n, node in enumerate(graph.nodes):
        if not node.constant:
            rows.append(
                (
                    node.name,
                    graph.formula(n) or "given",
                    shown(node.data),
                    partials(graph, n),
                    shown(node.grad),
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *chain_rules(graph)])


def partials(graph: Graph, n: int) -> str:
    """Return the partial derivatives of a node with respect to its parents that are not constants."""
    child, parents = graph.nodes[n].name, [(edge, graph.nodes[edge.parent]) for edge in graph.edges_to(n)]
    return ", ".join(
        f"∂{child}/∂{parent.name} = {number(edge.partial)}"
        for edge, parent in parents
        if edge.partial is not None and not parent.constant
    )


def chain_rules(graph: Graph) -> list[str]:
    """Return the chain rule for each node that is not a constant, from the last to the first."""
    numbers = reversed(range(len(graph.nodes)))
    return [chain_rule(graph, n) for n in numbers if not graph.nodes[n].constant]


def listing(diagram: Diagram) -> str:
    """Return a line for each box, with the label of the arrow that leads on from it."""
    onward = {link.parent: f"  passes on {link.label}" for link in diagram.links if link.label}
    widths = [
        max(len(item.lines[0]) for item in diagram.items),
        max(len(", ".join(item.lines[1:])) for item in diagram.items),
    ]
    return "\n".join(
        f"{item.lines[0]:{widths[0]}}  {', '.join(item.lines[1:]):{widths[1]}}{onward.get(n, '')}".rstrip()
        for n, item in enumerate(diagram.items)
    )


def _factor(x: float) -> str:
    return f"({number(x)})" if x < 0 else number(x)
