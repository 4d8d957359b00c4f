"""Draw the floors of `src/` as one picture: `python -m tests.structure --draw FILE`."""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from tests.structure import Graph

# What a room is for, in the few words that its box has room for.
PURPOSES = {
    "autograd": "values and gradients",
    "bounded": "files within limits",
    "bundle": "for models of 0.1.0",
    "cli": "the commands",
    "api": "the Python API",
    "compose": "YAML and overrides",
    "config": "what YAML may say",
    "data": "tables, splits, leaks",
    "drawing": "graphs as pictures",
    "engine": "tapes and their replay",
    "errors": "what users are told",
    "extensions": "registries, plugins",
    "files": "atomic writes, locks",
    "hydra_plugins": "launchers, sweeper",
    "lab": "theory by experiment",
    "messages": "logging, escaping",
    "nn": "layers, optimizers",
    "paths": "where files are",
    "process": "who is alive",
    "rng": "keyed randomness",
    "runs": "results on disk",
    "selection": "ranking, judging, card",
    "stats": "metrics, errors, ties",
    "sweeps": "jobs and launchers",
    "tasks": "targets and losses",
    "tracking": "MLflow",
    "training": "loop, steps, models",
    "verify": "retrain and compare",
}

_BOX = (156, 44)
_GAP = (22, 34)  # between boxes, between floors
_LEFT, _MARGIN, _HEAD = 64, 16, 54  # of the first box, around the floors, above them
_LEGEND = (
    "the number: modules · an arrow: imports; those that follow from others, or lead to floor 1, are left out"
)
_STYLE = """
  text { font-family: "DejaVu Sans", Verdana, sans-serif; text-anchor: middle; fill: #1f2733 }
  .sheet { fill: #ffffff; stroke: #c9d1dc }
  .floor { fill: #f1f4f8 }
  .number { font-size: 15px; fill: #6b7685 }
  .room { fill: #dfeaf7; stroke: #4d7ab0 }
  .name { font-size: 14px; font-weight: bold }
  .small { font-size: 11px; fill: #46515f }
  .arrow { fill: none; stroke: #8b98a9; stroke-width: 1.1; stroke-opacity: 0.75 }
  .head { fill: #8b98a9 }
"""


def reduced(graph: Graph) -> Graph:
    """Return the arrows that do not follow from others: A → C is left out where A → B → … → C.

    The graph has no circle.
    """
    below: Graph = {}

    def reached(node: str) -> set[str]:
        if node not in below:
            below[node] = set(graph[node]).union(*(reached(other) for other in graph[node]))
        return below[node]

    return {
        node: others - set().union(*(reached(other) for other in others)) for node, others in graph.items()
    }


def size_of(room: str, modules: Iterable[str]) -> int:
    """Return how many modules a room has; `__init__` files, which mostly hold nothing, do not count."""
    names = [name.removeprefix("sweepgrad.") for name in modules]
    inside = [name for name in names if name == room or name.startswith(f"{room}.")]
    return sum(not any(other.startswith(f"{name}.") for other in inside) for name in inside)


def ordered(floors: Sequence[Sequence[str]], arrows: Graph) -> list[list[str]]:
    """Return the rooms of each floor, from the ground, in an order in which few arrows cross.

    Every room goes to the mean place of those that it is tied to by an arrow (the barycentre heuristic of
    Sugiyama, Tagawa & Toda, 1981), floor after floor, a few times.
    """
    found = [sorted(floor) for floor in floors]
    ties: Graph = {room: set(others) for room, others in arrows.items()}
    for room, others in arrows.items():
        for other in others:
            ties[other].add(room)
    for _ in range(8):
        for number, floor in enumerate(found):
            places = _places(found)
            around = {
                room: sum(places[other] for other in ties[room]) / len(ties[room]) if ties[room] else 0.0
                for room in floor
            }
            found[number] = sorted(floor, key=lambda room: (around[room], room))
    return found


def svg(floors: Sequence[Sequence[str]], graph: Graph, modules: Iterable[str]) -> str:
    """Return the picture as SVG: the ground floor below, an arrow from each room to what it imports.

    Arrows that follow from others, and those to the ground, which all rooms stand on, are left out. The sheet
    is white, so it is readable on any background.

    Arguments:
        floors: the rooms of each, from the ground; those that are not in the graph are left out.
        graph: the rooms that each room imports.
        modules: the names of all modules.
    """
    modules = list(modules)
    arrows = reduced({room: others for room, others in graph.items() if room != "sweepgrad"})
    arrows = {room: others - set(floors[0]) for room, others in arrows.items()}
    rooms = ordered([[room for room in floor if room in arrows] for floor in floors], arrows)
    widest = max(map(len, rooms))
    boxes = widest * _BOX[0] + (widest - 1) * _GAP[0]
    width = _LEFT + boxes + 2 * _MARGIN
    height = _HEAD + len(rooms) * (_BOX[1] + _GAP[1]) + _MARGIN // 2
    middle = _LEFT + boxes / 2
    places = {room: middle + x * (_BOX[0] + _GAP[0]) for room, x in _places(rooms).items()}
    tops = {
        room: _HEAD + (len(rooms) - 1 - number) * (_BOX[1] + _GAP[1]) + _GAP[1] / 2
        for number, floor in enumerate(rooms)
        for room in floor
    }
    counts = {room: size_of(room, modules) for room in places}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img">',
        f"<title>The packages of sweepgrad on {len(rooms)} floors</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="sheet" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        _text(width / 2, 26, "Imports go down the floors, never up and never sideways", "name"),
        _text(width / 2, 44, _LEGEND, "small"),
    ]
    for number, floor in enumerate(rooms, 1):
        top = tops[floor[0]] - 6
        lines += [
            f'<rect class="floor" x="{_MARGIN}" y="{top:g}" width="{width - 2 * _MARGIN}"'
            f' height="{_BOX[1] + 12}" rx="6"/>',
            _text(_MARGIN + 24, top + 33, str(number), "number"),
        ]
    ends = _ends(arrows, places)
    for room, others in sorted(arrows.items()):
        for other in sorted(others):
            x, y = places[room] + ends[room, other][0], tops[room] + _BOX[1]
            to_x, to_y = places[other] + ends[room, other][1], tops[other]
            bend = min((to_y - y) / 2, 60)
            lines += [
                f'<path class="arrow" d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f}'
                f' {to_x:.0f} {to_y - 6:.0f}"/>',
                f'<path class="head" d="M{to_x:.0f} {to_y:.0f}l-3.5 -7h7z"/>',
            ]
    for room, x in places.items():
        many = f" · {counts[room]}" if counts[room] > 1 else ""
        lines += [
            f'<rect class="room" x="{x - _BOX[0] / 2:g}" y="{tops[room]:g}" width="{_BOX[0]}"'
            f' height="{_BOX[1]}" rx="5"/>',
            _text(x, tops[room] + 19, f"{room}{many}", "name"),
            _text(x, tops[room] + 35, PURPOSES.get(room, ""), "small"),
        ]
    return "\n".join([*lines, "</svg>", ""])


def _places(floors: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return how far each room is right of the middle, in boxes."""
    return {room: i - (len(floor) - 1) / 2 for floor in floors for i, room in enumerate(floor)}


def _ends(arrows: Graph, places: dict[str, float]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return where each arrow leaves and enters its boxes, from their middles: side by side, not crossing."""
    pairs = [(room, other) for room, others in arrows.items() for other in others]
    found = {}
    for room, other in pairs:
        leaving = sorted((b for a, b in pairs if a == room), key=lambda b: (places[b], b))
        entering = sorted((a for a, b in pairs if b == other), key=lambda a: (places[a], a))
        found[room, other] = _spread(leaving, other), _spread(entering, room)
    return found


def _spread(ends: Sequence[str], one: str) -> float:
    step = min(24.0, (_BOX[0] - 24) / max(len(ends) - 1, 1))
    return (ends.index(one) - (len(ends) - 1) / 2) * step


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
