"""Layout of a diagram: boxes in layers from top to bottom, arrows around boxes, labels beside their arrows.

The method is that of Sugiyama, Tagawa & Toda ("Methods for visual understanding of hierarchical system
structures", IEEE Transactions on Systems, Man, and Cybernetics 11, 1981): layers by longest paths, long
arrows split at every layer that they cross, and layers sorted by the mean place of each point's neighbours.
Between two layers of boxes lies a layer of labels, so that a label has a place of its own, as a box has.
Within a layer arrows are vertical, and they bend only between layers: no arrow crosses a box or a label.

`steps_view.js` has the same layout for expressions that a reader types in.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import fmean

from sweepgrad.drawing.diagram import Diagram

LETTER, LINE = 7.3, 17.0
"""Width and height of a letter of the pictures, in pixels: 12 point monospace."""
LABEL_LETTER, LABEL_HEIGHT = 6.7, 15.0
"""Width of a letter of a label, 11 point, and height of a layer of labels."""
BEND, GAP, MARGIN = 26.0, 12.0, 10.0
"""Height in which arrows bend between layers, width between points of a layer, and the border."""
LANE, BESIDE, PORT = 5.0, 5.0, 26.0
"""Half the width of an arrow's lane, the distance of a label from it, and that of arrows at a box."""
PULL = 20.0
ROUNDS = 12

Place = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """An item's rectangle: its centre, width and height, and the lines of text in it."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """A label's rectangle, as `Box`; its text starts at the left side."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Layout:
    """A drawing, in pixels from the top left.

    Attributes:
        boxes: of the items, in order.
        paths: of the links, in order: points from the parent's lower side to the child's upper side. Between
            points at the same x the arrow is straight; otherwise it bends, and is vertical at both points.
        labels: of the links, in order; None without a label.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[tuple[Place, ...], ...]
    labels: tuple[Label | None, ...]


Point = int | tuple[int, int]
"""An item's number; or the numbers of a link and of a layer in which it has a lane."""
Extent = tuple[float, float]
"""How far a point reaches to the left and to the right of its x."""
Neighbours = dict[Point, list[Point]]


def layout(diagram: Diagram) -> Layout:
    """Return the places of all boxes, arrows and labels."""
    layers = _layers(diagram)
    chains = [_chain(layers, n, link.parent, link.child) for n, link in enumerate(diagram.links)]
    above, below = _neighbours(chains)
    rows = _sorted(_rows(layers, chains), above, below)
    sizes = [(LETTER * item.width + 16, LINE * len(item.lines) + 10) for item in diagram.items]
    extents: dict[Point, Extent] = {n: (width / 2, width / 2) for n, (width, _) in enumerate(sizes)}
    for n, chain in enumerate(chains):
        extents |= dict.fromkeys(chain[1:-1], (LANE, LANE))
        if diagram.links[n].label:
            extents[chain[-2]] = (LANE, BESIDE + LABEL_LETTER * len(diagram.links[n].label))
    xs = _places(rows, above, below, extents)
    left = min(xs[p] - extents[p][0] for row in rows for p in row) - MARGIN
    right = max(xs[p] + extents[p][1] for row in rows for p in row) + MARGIN
    xs = {point: x - left for point, x in xs.items()}
    heights = [_height(row, sizes, diagram) for row in rows]
    tops = [MARGIN]
    for height in heights[:-1]:
        tops.append(tops[-1] + height + BEND)
    boxes = tuple(
        Box(xs[n], tops[layers[n]] + heights[layers[n]] / 2, *sizes[n], item.lines)
        for n, item in enumerate(diagram.items)
    )
    bands = [(top, top + height) for top, height in zip(tops, heights, strict=True)]
    paths = _paths(diagram, chains, layers, boxes, xs, bands)
    labels = []
    for link, chain in zip(diagram.links, chains, strict=True):
        width = LABEL_LETTER * len(link.label)
        middle = fmean(bands[layers[link.child] - 1])
        place = Label(xs[chain[-2]] + BESIDE + width / 2, middle, width, LABEL_HEIGHT, link.label)
        labels.append(place if link.label else None)
    return Layout(right - left, tops[-1] + heights[-1] + MARGIN, boxes, paths, tuple(labels))


def _layers(diagram: Diagram) -> list[int]:
    """Return the layer of each item, the last one before its children; items have the even layers."""
    to_result = [0] * len(diagram.items)
    for n in reversed(range(len(diagram.items))):
        to_result[n] = max((to_result[link.child] + 2 for link in diagram.links_from(n)), default=0)
    return [max(to_result) - steps for steps in to_result]


def _chain(layers: Sequence[int], link: int, parent: int, child: int) -> list[Point]:
    """Return the points of a link: its parent, its lanes in the layers between, and its child."""
    return [parent, *((link, layer) for layer in range(layers[parent] + 1, layers[child])), child]


def _rows(layers: Sequence[int], chains: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """Return the points of each layer."""
    rows: list[list[Point]] = [[] for _ in range(max(layers) + 1)]
    for number, layer in enumerate(layers):
        rows[layer].append(number)
    for chain in chains:
        for point in chain[1:-1]:
            assert isinstance(point, tuple)
            rows[point[1]].append(point)
    return rows


def _neighbours(chains: Sequence[Sequence[Point]]) -> tuple[Neighbours, Neighbours]:
    """Return the neighbours of each point in the layer above, and those in the layer below."""
    above: Neighbours = {}
    below: Neighbours = {}
    for chain in chains:
        for a, b in pairwise(chain):
            above.setdefault(b, []).append(a)
            below.setdefault(a, []).append(b)
    return above, below


def _sorted(rows: Sequence[Sequence[Point]], above: Neighbours, below: Neighbours) -> list[list[Point]]:
    """Return the layers in the order with the fewest crossings that was found.

    Layers are sorted by the mean place of the neighbours above, downwards, and below, upwards. Adjacent
    points are swapped where that saves crossings. The search starts from the given order,
    and from it with every second layer, or every layer, reversed.
    """
    fewest, best = inf, [list(row) for row in rows]
    for start in range(4):
        current = [list(row)[:: -1 if start >> layer % 2 & 1 else 1] for layer, row in enumerate(rows)]
        for round_ in range(ROUNDS):
            for layer in range(1, len(rows)) if round_ % 2 == 0 else reversed(range(len(rows) - 1)):
                around = current[max(0, layer - 1) : layer + 2]
                where = {p: place - (len(row) - 1) / 2 for row in around for place, p in enumerate(row)}
                row = current[layer]
                side = above if round_ % 2 == 0 else below
                row.sort(key=lambda p: fmean([where[n] for n in side.get(p, [])] or [where[p]]))
                for i in range(len(row) - 1):
                    a, b = row[i], row[i + 1]
                    sides = [
                        ([where[n] for n in near.get(a, [])], [where[n] for n in near.get(b, [])])
                        for near in (above, below)
                    ]
                    if sum(_more(q, p) - _more(p, q) for p, q in sides) < 0:
                        row[i], row[i + 1] = b, a
            crossings = sum(_crossings(upper, lower, below) for upper, lower in pairwise(current))
            if crossings < fewest:
                fewest, best = crossings, [list(row) for row in current]
    return best


def _around(point: Point, above: Neighbours, below: Neighbours) -> list[Point]:
    return above.get(point, []) + below.get(point, [])


def _more(a: Sequence[float], b: Sequence[float]) -> int:
    """Return the number of pairs of which the first is greater: crossings, if a stands before b."""
    return sum(x > y for x in a for y in b)


def _crossings(upper: Sequence[Point], lower: Sequence[Point], below: Neighbours) -> int:
    """Return how often arrows between two layers cross."""
    where = {point: place for place, point in enumerate(lower)}
    seen: list[int] = []
    crossings = 0
    for point in upper:
        ends = sorted(where[n] for n in below.get(point, []))
        crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return crossings


def _places(
    rows: Sequence[Sequence[Point]],
    above: Neighbours,
    below: Neighbours,
    extents: Mapping[Point, Extent],
) -> dict[Point, float]:
    """Return the x of each point: near its neighbours, in its layer's order, and GAP from the next.

    Two lanes of one arrow pull at each other more than boxes do, so that long arrows are straight.
    """
    offsets = []
    for row in rows:
        offset = [0.0]
        for a, b in pairwise(row):
            offset.append(offset[-1] + extents[a][1] + GAP + extents[b][0])
        offsets.append(offset)
    xs: dict[Point, float] = {}
    for row, offset in zip(rows, offsets, strict=True):
        xs |= {point: place - offset[-1] / 2 for point, place in zip(row, offset, strict=True)}
    pulls = {
        point: [
            (n, PULL if isinstance(n, tuple) and isinstance(point, tuple) else 1.0)
            for n in _around(point, above, below)
        ]
        for row in rows
        for point in row
    }
    for round_ in range(2 * ROUNDS):
        for layer in range(len(rows)) if round_ % 2 == 0 else reversed(range(len(rows))):
            row, offset = rows[layer], offsets[layer]
            weights = [sum(weight for _, weight in pulls[point]) for point in row]
            wanted = [
                sum(weight * xs[n] for n, weight in pulls[point]) / total - place
                for point, total, place in zip(row, weights, offset, strict=True)
            ]
            shifts = increasing(wanted, weights)
            xs |= {p: place + shift for p, place, shift in zip(row, offset, shifts, strict=True)}
    return xs


def increasing(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the non-decreasing numbers that are nearest in weighted squares: pool adjacent violators.

    Ayer, Brunk, Ewing, Reid & Silverman, "An empirical distribution function for sampling with incomplete
    information", Annals of Mathematical Statistics 26 (1955).
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, size
    for mean, weight in zip(wanted, weights, strict=True):
        size = 1
        while pools and pools[-1][0] > mean:
            other, more, count = pools.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, size = weight + more, size + count
        pools.append((mean, weight, size))
    return [mean for mean, _, size in pools for _ in range(size)]


def _height(row: Sequence[Point], sizes: Sequence[tuple[float, float]], diagram: Diagram) -> float:
    """Return the height of a layer: that of its highest box, or of its labels; 0 without either."""
    boxes = [sizes[point][1] for point in row if isinstance(point, int)]
    has_label = any(isinstance(point, tuple) and diagram.links[point[0]].label for point in row)
    return max(boxes) if boxes else LABEL_HEIGHT if has_label else 0.0


def _paths(
    diagram: Diagram,
    chains: Sequence[Sequence[Point]],
    layers: Sequence[int],
    boxes: Sequence[Box],
    xs: Mapping[Point, float],
    bands: Sequence[tuple[float, float]],
) -> tuple[tuple[Place, ...], ...]:
    """Return the points of each link; the arrows at a side of a box are in the order of where they go."""
    leaving, entering = ([0.0] * len(chains) for _ in range(2))
    for n, box in enumerate(boxes):
        for ports, at, ends in (
            (leaving, 1, [c for c, link in enumerate(diagram.links) if link.parent == n]),
            (entering, -2, [c for c, link in enumerate(diagram.links) if link.child == n]),
        ):
            step = min(PORT, (box.width - 20) / max(1, len(ends) - 1))
            for place, c in enumerate(sorted(ends, key=lambda c: xs[chains[c][at]])):
                ports[c] = box.x + (place - (len(ends) - 1) / 2) * step
    paths = []
    for n, (chain, link) in enumerate(zip(chains, diagram.links, strict=True)):
        start, end = boxes[link.parent], boxes[link.child]
        path = [(leaving[n], start.y + start.height / 2), (leaving[n], bands[layers[link.parent]][1])]
        for layer, point in enumerate(chain[1:-1], start=layers[link.parent] + 1):
            path += [(xs[point], y) for y in bands[layer]]
        path += [(entering[n], bands[layers[link.child]][0]), (entering[n], end.y - end.height / 2)]
        paths.append((*(point for point, after in pairwise(path) if point != after), path[-1]))
    return tuple(paths)
