"""Graphs as SVG, PNG, Mermaid and DOT."""

from itertools import pairwise
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from sweepgrad.drawing.graph import Graph, number, shown
from sweepgrad.drawing.layout import LINE, Place, layout
from sweepgrad.messages.escape import label, markup

LEAF, COMPUTED, RESULT, INK, FAINT = "#eef3fb", "#ffffff", "#fdf1e7", "#1f2933", "#7b8794"
FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"'
_DPI = 160


def svg(graph: Graph, prefix: str = "") -> str:
    """Return the graph as SVG.

    Arguments:
        prefix: of the ids: nodes are PREFIXnode-N, their gradients PREFIXgrad-N, edges PREFIXedge-N.
    """
    places = layout(graph)
    size = f'width="{places.width:.0f}" height="{places.height:.0f}" viewBox="0 0 {places.width:.0f} {places.height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="graph of {markup(graph.nodes[-1].name)}" {FONT} font-size="12">',
        f'<rect width="100%" height="100%" fill="{COMPUTED}"/>',
        f'<defs><marker id="{prefix}arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{FAINT}"/></marker></defs>',
    ]
    for place, (edge, path) in enumerate(zip(graph.edges, places.paths, strict=True)):
        parts.append(f'<g id="{prefix}edge-{place}">')
        parts.append(
            f'<path d="{_bent(path)}" fill="none" stroke="{FAINT}" marker-end="url(#{prefix}arrow)"/>'
        )
        if edge.partial is not None:
            x, y = _label(path)
            parts.append(
                f'<text x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle" fill="{FAINT}" font-size="11" stroke="{COMPUTED}"'
                f' stroke-width="3" paint-order="stroke">∂ {number(edge.partial)}</text>'
            )
        parts.append("</g>")
    for n, box in enumerate(places.boxes):
        left, top = box.x - box.width / 2, box.y - box.height / 2
        parts.append(f'<g id="{prefix}node-{n}">')
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" fill="{_fill(graph, n)}"'
            f' stroke="{INK}"/>'
        )
        for row, line in enumerate(box.lines):
            y, bold = top + LINE * (row + 1), ' font-weight="bold"' if row == 0 else ""
            name = f' id="{prefix}grad-{n}"' if row == 2 else ""
            parts.append(
                f'<text{name} x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{INK}"{bold}>{markup(line)}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def png(graph: Graph, path: Path) -> None:
    """Write the graph to a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    places = layout(graph)
    figure = Figure(figsize=(places.width / 100, places.height / 100))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, places.width), ylim=(places.height, 0))
    axes.set_axis_off()
    points = 72 / 100  # a pixel of the layout is a hundredth of an inch
    for edge, bends in zip(graph.edges, places.paths, strict=True):
        corners = _corners(bends)
        codes = [Curve.MOVETO, *[Curve.CURVE4] * (len(corners) - 1)]
        axes.add_patch(PathPatch(Curve(corners, codes), fill=False, edgecolor=FAINT, linewidth=points))
        (x, y), (before, _) = corners[-1], corners[-2]
        axes.annotate(
            "",
            (x, y),
            (max(before, x - 8), y),
            arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 0},
        )
        if edge.partial is not None:
            axes.text(
                *_label(bends),
                f"∂ {number(edge.partial)}\n",
                color=FAINT,
                fontsize=11 * points,
                ha="center",
                va="center",
                family="monospace",
            )
    for n, box in enumerate(places.boxes):
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        style = "round,pad=0,rounding_size=6"
        axes.add_patch(
            FancyBboxPatch(
                corner,
                box.width,
                box.height,
                style,
                facecolor=_fill(graph, n),
                edgecolor=INK,
                linewidth=points,
            )
        )
        for row, line in enumerate(box.lines):
            weight = "bold" if row == 0 else "normal"
            axes.text(
                box.x,
                corner[1] + LINE * (row + 1),
                label(line),
                color=INK,
                fontsize=12 * points,
                ha="center",
                family="monospace",
                weight=weight,
            )
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)


def mermaid(graph: Graph) -> str:
    """Return the graph in the language of Mermaid."""
    lines = ["graph LR"]
    for n, node in enumerate(graph.nodes):
        text = "<br/>".join(_quoted(line) for line in _lines(graph, n))
        lines.append(f'  n{n}["{text}"]' if node.operation else f'  n{n}(["{text}"])')
    for edge in graph.edges:
        partial = "" if edge.partial is None else f'|"∂ {number(edge.partial)}"|'
        lines.append(f"  n{edge.parent} -->{partial} n{edge.child}")
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return the graph in the language of Graphviz."""
    lines = ["digraph {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="monospace"];']
    for n in range(len(graph.nodes)):
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in _lines(graph, n))
        lines.append(f'  n{n} [label="{text}"];')
    for edge in graph.edges:
        partial = "" if edge.partial is None else f' [label="∂ {number(edge.partial)}"]'
        lines.append(f"  n{edge.parent} -> n{edge.child}{partial};")
    return "\n".join([*lines, "}"]) + "\n"


def _lines(graph: Graph, n: int) -> tuple[str, str, str]:
    node = graph.nodes[n]
    return node.title, f"value {shown(node.data)}", f"grad {shown(node.grad)}"


def _quoted(text: str) -> str:
    """Escape text for Mermaid."""
    return (
        text.replace("#", "#35;")
        .replace('"', "#quot;")
        .replace("<", "#lt;")
        .replace(">", "#gt;")
        .replace("*", "#42;")
        .replace("`", "#96;")
    )


def _fill(graph: Graph, n: int) -> str:
    if n == len(graph.nodes) - 1:
        return RESULT
    return COMPUTED if graph.nodes[n].operation else LEAF


def _corners(path: tuple[Place, ...]) -> list[Place]:
    """Return points of Bézier curves through the points of a path, horizontal at each point."""
    corners = [path[0]]
    for (x, y), (to_x, to_y) in pairwise(path):
        half = (x + to_x) / 2
        corners += [(half, y), (half, to_y), (to_x, to_y)]
    return corners


def _bent(path: tuple[Place, ...]) -> str:
    first, *rest = (f"{x:.1f} {y:.1f}" for x, y in _corners(path))
    return f"M{first} C{' '.join(rest)}"


def _label(path: tuple[Place, ...]) -> Place:
    """Return the middle of the last segment of an edge, before its child."""
    (x, y), (to_x, to_y) = path[-2:]
    return (x + to_x) / 2, (y + to_y) / 2
