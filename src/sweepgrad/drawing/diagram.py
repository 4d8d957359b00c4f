"""Diagrams: boxes of text and arrows with labels, made from a graph or from a network's layers."""

from dataclasses import dataclass
from enum import Enum

from sweepgrad.drawing.graph import Graph, number, shown


class Kind(Enum):
    """The kind of a box, which decides its colour."""

    GIVEN = "given"
    COMPUTED = "computed"
    RESULT = "result"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Item:
    """A box.

    Attributes:
        lines: of text; the first is its title.
        letters: the least width of the box, for text that changes.
    """

    lines: tuple[str, ...]
    kind: Kind = Kind.COMPUTED
    letters: int = 0

    @property
    def width(self) -> int:
        """The width of its text in letters."""
        return max(self.letters, *map(len, self.lines))


@dataclass(frozen=True)
class Link:
    """An arrow from a parent to a child, by the numbers of their items; the label may be empty."""

    parent: int
    child: int
    label: str = ""


@dataclass(frozen=True)
class Diagram:
    """Items, parents before children, and the links between them."""

    name: str
    items: tuple[Item, ...]
    links: tuple[Link, ...]

    def links_from(self, parent: int) -> list[Link]:
        """Return the links from an item, to its children."""
        return [link for link in self.links if link.parent == parent]

    def to_json(self) -> dict[str, object]:
        nodes = [{"lines": list(item.lines), "kind": item.kind.value} for item in self.items]
        edges = [{"parent": link.parent, "child": link.child, "label": link.label} for link in self.links]
        return {"nodes": nodes, "edges": edges}


def diagram_of(graph: Graph) -> Diagram:
    """Return the diagram of a graph: a box a `Value`, with value and gradient; partials label the arrows.

    Constants have neither.
    """
    last = len(graph.nodes) - 1
    items = []
    for n, node in enumerate(graph.nodes):
        if node.constant:
            items.append(Item((node.name,), Kind.CONSTANT))
            continue
        kind = Kind.RESULT if n == last else Kind.COMPUTED if node.operation else Kind.GIVEN
        items.append(Item((node.title, f"value {shown(node.data)}", f"grad {shown(node.grad)}"), kind))
    links = []
    for edge in graph.edges:
        child, parent = graph.nodes[edge.child].name, graph.nodes[edge.parent]
        unlabelled = parent.constant or edge.partial is None
        label = "" if unlabelled else f"∂{child}/∂{parent.name} = {number(edge.partial or 0.0)}"
        links.append(Link(edge.parent, edge.child, label))
    return Diagram(f"graph of {graph.nodes[last].name}", tuple(items), tuple(links))
