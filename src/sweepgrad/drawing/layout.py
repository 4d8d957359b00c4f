"""Layout of a graph: nodes in layers from left to right, with few crossings of edges.

The method is that of Sugiyama, Tagawa & Toda ("Methods for visual understanding of hierarchical system
structures", IEEE Transactions on Systems, Man, and Cybernetics 11, 1981): layers by longest paths, long edges
split at every layer they cross, and layers sorted by the mean place of each node's neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from sweepgrad.drawing.graph import Graph, shown

LETTER, LINE = 7.3, 17.0
"""Width and height of a letter of the pictures, in pixels: 12 point monospace."""
GAP_X, GAP_Y, MARGIN = 74.0, 18.0, 12.0
ROUNDS = 12

Place = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A node's rectangle: its centre, width and height, and the lines of text in it."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A drawing, in pixels from the top left.

    Attributes:
        boxes: of the nodes, in order.
        paths: of the edges, in order: points from the parent's right side to the child's left.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[tuple[Place, ...], ...]


def layout(graph: Graph) -> Layout:
    """Return the places of all nodes and edges."""
    texts = [(node.title, f"value {shown(node.data)}", f"grad {shown(node.grad)}") for node in graph.nodes]
    widths = [LETTER * max(map(len, lines)) + 16 for lines in texts]
    height = LINE * 3 + 10
    layers = _layers(graph)
    chains = [_chain(layers, place, edge.parent, edge.child) for place, edge in enumerate(graph.edges)]
    rows = _rows(layers, chains)
    neighbours = _neighbours(chains)
    for round_ in range(ROUNDS):
        order = range(len(rows)) if round_ % 2 == 0 else reversed(range(len(rows)))
        for layer in order:
            where = {point: place for row in rows for place, point in enumerate(row)}
            rows[layer].sort(key=lambda point: fmean([where[n] for n in neighbours[point]] or [where[point]]))
    ys = _heights(rows, neighbours, height + GAP_Y)
    column = [max((widths[p] for p in row if isinstance(p, int)), default=0.0) for row in rows]
    xs = [MARGIN + sum(column[:i]) + i * GAP_X + width / 2 for i, width in enumerate(column)]
    top = min(ys.values()) - height / 2 - MARGIN
    boxes = tuple(Box(xs[layers[n]], ys[n] - top, widths[n], height, lines) for n, lines in enumerate(texts))
    paths = []
    for chain in chains:
        first, *between, last = chain
        assert isinstance(first, int)
        assert isinstance(last, int)
        start, end = boxes[first], boxes[last]
        bends = [(xs[layers[first] + i], ys[point] - top) for i, point in enumerate(between, start=1)]
        paths.append(((start.x + start.width / 2, start.y), *bends, (end.x - end.width / 2, end.y)))
    total = max(ys.values()) - top + height / 2 + MARGIN
    return Layout(xs[-1] + column[-1] / 2 + MARGIN, total, boxes, tuple(paths))


Point = int | tuple[int, int]
"""A node's number; or the numbers of an edge and of a layer that it crosses."""


def _layers(graph: Graph) -> list[int]:
    """Return the layer of each node: the last one before its children."""
    to_result = [0] * len(graph.nodes)
    for number in reversed(range(len(graph.nodes))):
        to_result[number] = max((to_result[edge.child] + 1 for edge in graph.edges_from(number)), default=0)
    return [max(to_result) - steps for steps in to_result]


def _chain(layers: list[int], edge: int, parent: int, child: int) -> list[Point]:
    return [parent, *((edge, layer) for layer in range(layers[parent] + 1, layers[child])), child]


def _rows(layers: list[int], chains: list[list[Point]]) -> list[list[Point]]:
    rows: list[list[Point]] = [[] for _ in range(max(layers) + 1)]
    for number, layer in enumerate(layers):
        rows[layer].append(number)
    for chain in chains:
        for point in chain[1:-1]:
            assert isinstance(point, tuple)
            rows[point[1]].append(point)
    return rows


def _neighbours(chains: list[list[Point]]) -> Mapping[Point, list[Point]]:
    found: dict[Point, list[Point]] = {point: [] for chain in chains for point in chain}
    for chain in chains:
        for a, b in pairwise(chain):
            found[a].append(b)
            found[b].append(a)
    return found


def _heights(
    rows: list[list[Point]], neighbours: Mapping[Point, list[Point]], apart: float
) -> dict[Point, float]:
    """Return the height of each point: near its neighbours, in its layer's order, `apart` from the next."""
    ys = {point: apart * (place - (len(row) - 1) / 2) for row in rows for place, point in enumerate(row)}
    for _ in range(ROUNDS):
        for row in rows:
            wanted = [fmean([ys[n] for n in neighbours[point]] or [ys[point]]) for point in row]
            places = list(wanted)
            for i in range(1, len(row)):
                places[i] = max(places[i], places[i - 1] + apart)
            shift = fmean(wanted) - fmean(places)
            ys |= {point: place + shift for point, place in zip(row, places, strict=True)}
    return ys
