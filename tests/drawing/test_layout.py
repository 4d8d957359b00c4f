"""Layout: no arrow crosses a box or a label, and nothing overlaps, on random graphs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.drawing.test_graph import expressions

from sweepgrad.drawing.diagram import Diagram, Item, Link, diagram_of
from sweepgrad.drawing.expressions import assignment_example
from sweepgrad.drawing.graph import graph_of
from sweepgrad.drawing.layout import Box, Label, Layout, Place, increasing, layout
from sweepgrad.drawing.pictures import svg

Rectangle = Box | Label


@st.composite
def diagrams(draw: st.DrawFn) -> Diagram:
    """Return items with arrows from earlier to later ones, several between two at times, labelled or not."""
    n = draw(st.integers(2, 12))
    items = [Item(("x" * draw(st.integers(1, 18)),) * draw(st.integers(1, 4))) for _ in range(n)]
    links = []
    for child in range(1, n):
        parents = draw(st.lists(st.integers(0, child - 1), max_size=4))
        links += [Link(parent, child, "l" * draw(st.sampled_from((0, 3, 14)))) for parent in parents]
    joined = {link.parent for link in links}
    links += [Link(parent, n - 1, "end") for parent in range(n - 1) if parent not in joined]
    return Diagram("random", tuple(items), tuple(links))


def drawn_points(path: Sequence[Place]) -> Iterator[Place]:
    """Yield points of the curve of a path: each piece is a cubic that is vertical at its ends."""
    for (x, y), (to_x, to_y) in pairwise(path):
        for t in np.linspace(0, 1, 25):
            yield (
                x * (1 - t) ** 2 * (1 + 2 * t) + to_x * t**2 * (3 - 2 * t),
                y * (1 - t) ** 3 + 1.5 * (y + to_y) * (1 - t) * t + to_y * t**3,
            )


def inside(point: Place, rectangle: Rectangle) -> bool:
    x, y = abs(point[0] - rectangle.x), abs(point[1] - rectangle.y)
    return x < rectangle.width / 2 - 1e-6 and y < rectangle.height / 2 - 1e-6


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2


def problems(diagram: Diagram, places: Layout) -> list[str]:
    """Return what overlaps, crosses, or leaves the picture."""
    labels = [label for label in places.labels if label is not None]
    rectangles: list[Rectangle] = [*places.boxes, *labels]
    found = [f"{a} overlaps {b}" for a, b in combinations(rectangles, 2) if overlap(a, b)]
    found += [
        f"arrow {n} crosses {rectangle}"
        for n, path in enumerate(places.paths)
        for point in drawn_points(path)
        for rectangle in rectangles
        if inside(point, rectangle)
    ]
    for link, path in zip(diagram.links, places.paths, strict=True):
        start, end = places.boxes[link.parent], places.boxes[link.child]
        (x, y), (to_x, to_y) = path[0], path[-1]
        leaves = abs(y - start.y - start.height / 2) < 1e-6 and abs(x - start.x) <= start.width / 2
        arrives = abs(to_y - end.y + end.height / 2) < 1e-6 and abs(to_x - end.x) <= end.width / 2
        if not (leaves and arrives and [y for _, y in path] == sorted(y for _, y in path)):
            found.append(f"arrow {link} does not lead down from box to box")
    found += [
        f"{r} leaves the picture"
        for r in rectangles
        if not r.width / 2 < r.x < places.width - r.width / 2
        or not r.height / 2 < r.y < places.height - r.height / 2
    ]
    return found


@settings(max_examples=30, deadline=None)
@given(diagrams())
def test_no_arrow_crosses_a_box_or_a_label_and_nothing_overlaps(diagram):
    assert not problems(diagram, layout(diagram))


@settings(max_examples=30, deadline=None)
@given(expressions())
def test_neither_does_one_in_the_graph_of_an_expression(output):
    diagram = diagram_of(graph_of(output))
    places = layout(diagram)
    assert not problems(diagram, places)
    assert all(label is not None for label in places.labels)


def test_an_arrow_through_a_box_is_found():
    items = tuple(Item((name * 9,)) for name in "abcd")
    diagram = Diagram("chain", items, (Link(0, 1), Link(1, 2), Link(2, 3), Link(0, 3, "label")))
    places = layout(diagram)
    assert not problems(diagram, places)
    first, *_, last = places.paths[3]
    wrong = replace(places, paths=(*places.paths[:3], (first, (places.boxes[1].x, places.boxes[1].y), last)))
    assert {problem.split("(")[0] for problem in problems(diagram, wrong)} == {"arrow 3 crosses Box"}


def test_the_example_has_no_crossing_and_fits_onto_a_phone():
    diagram = diagram_of(graph_of(assignment_example()))
    places = layout(diagram)
    assert places.width <= 390 - 2 * 16
    curves = [list(drawn_points(path)) for path in places.paths]
    for one, other in combinations(curves, 2):
        assert not any(_cross(*a, *b) for a in pairwise(one) for b in pairwise(other))


def _cross(a: Place, b: Place, c: Place, d: Place) -> bool:
    """Return whether two segments cross at an inner point."""

    def side(p: Place, q: Place, r: Place) -> float:
        return float(np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def test_pooled_places_are_in_order_and_nearest():
    assert increasing([1.0, 3.0, 2.0], [1.0, 1.0, 1.0]) == [1.0, 2.5, 2.5]
    assert increasing([3.0, 0.0], [1.0, 2.0]) == [1.0, 1.0]
    assert increasing([0.0, 1.0], [1.0, 1.0]) == [0.0, 1.0]


def test_a_deep_graph_is_drawn():
    x = assignment_example()
    for _ in range(150):
        x = x + x
    assert svg(diagram_of(graph_of(x))).count("<rect") == 1 + 6 + 150
