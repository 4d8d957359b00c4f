"""A graph in words: a table of values and partials, and the chain rule written out."""

from sweepgrad.drawing.graph import Graph, number, shown


def chain_rule(graph: Graph, n: int) -> str:
    """How the gradient of a node comes from those of its children.

    With numbers where all are scalars: ∂L/∂x = ∂L/∂y · ∂y/∂x + … = 0.5 · 2 + … = 1.5.
    """
    node, result, edges = graph.nodes[n], graph.nodes[-1].name, graph.of(n)
    if n == len(graph.nodes) - 1:
        return f"∂{result}/∂{result} = 1"
    if [edge.child for edge in edges] == [len(graph.nodes) - 1]:
        return f"∂{result}/∂{node.name} = {shown(node.grad)}"
    names = [graph.nodes[edge.child].name for edge in edges]
    factors = [f"∂{result}/∂{name} · " if name != result else "" for name in names]
    terms = " + ".join(f"{factor}∂{name}/∂{node.name}" for factor, name in zip(factors, names, strict=True))
    said = f"∂{result}/∂{node.name} = {terms}"
    if all(edge.partial is not None for edge in edges):
        products = [
            f"{_factor(float(graph.nodes[edge.child].grad))} · {_factor(edge.partial or 0.0)}"
            if graph.nodes[edge.child].name != result
            else _factor(edge.partial or 0.0)
            for edge in edges
        ]
        return f"{said} = {' + '.join(products)} = {number(float(node.grad))}"
    return f"{said} = {shown(node.grad)}"


def handed(graph: Graph, n: int) -> list[str]:
    """What a node hands to each of its parents in the backward pass, a line for each."""
    result, node = graph.nodes[-1].name, graph.nodes[n]
    lines = []
    for edge in graph.to(n):
        parent = graph.nodes[edge.parent].name
        if edge.share is None:
            lines.append(f"to {parent}: nothing, its derivative is 0 wherever it exists")
        elif edge.partial is not None:
            product = f"{number(float(node.grad))} · {_factor(edge.partial)} = {number(float(edge.share))}"
            lines.append(f"to {parent}: ∂{result}/∂{node.name} · ∂{node.name}/∂{parent} = {product}")
        else:
            lines.append(f"to {parent}: {shown(edge.share)}")
    return lines


def table(graph: Graph) -> str:
    """Each node's value, local partials and gradient, and below it the chain rule for each node."""
    header = ("node", "is", "value", "local partials", "gradient")
    rows = [header]
    for n, node in enumerate(graph.nodes):
        operands = ", ".join(graph.nodes[edge.parent].name for edge in graph.to(n))
        partials = ", ".join(
            f"∂{node.name}/∂{graph.nodes[edge.parent].name} = {number(edge.partial)}"
            for edge in graph.to(n)
            if edge.partial is not None
        )
        is_ = f"{node.operation} of {operands}" if node.operation else "given"
        rows.append((node.name, is_, shown(node.data), partials, shown(node.grad)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    variables = [n for n, node in enumerate(graph.nodes) if node.name.isidentifier()]  # and not numbers
    chains = [chain_rule(graph, n) for n in reversed(variables)]
    return "\n".join([*lines, "", *chains])


def _factor(x: float) -> str:
    return f"({number(x)})" if x < 0 else number(x)
