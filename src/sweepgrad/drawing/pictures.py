"""Diagrams as SVG, PNG, Mermaid and DOT."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from sweepgrad.drawing.diagram import Diagram, Kind
from sweepgrad.drawing.layout import LINE, Place, layout
from sweepgrad.drawing.style import LIGHT, Theme
from sweepgrad.messages import escape

FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"'
TINTS = {Kind.GIVEN: 0, Kind.RESULT: 1}
"""The kinds of boxes with a background, and the number of its colour in a theme."""
TINT = 0.13
FAINT = 0.75
"""The opacity of a constant's text."""
_DPI = 160


def svg(diagram: Diagram, theme: Theme = LIGHT, prefix: str = "") -> str:
    """Return the diagram as SVG.

    Arguments:
        theme: its colours.
        prefix: of the ids: boxes are PREFIXnode-N, their third lines PREFIXgrad-N, arrows PREFIXedge-N.
    """
    places = layout(diagram)
    size = f"{places.width:.0f}", f"{places.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}"'
        f' role="img" aria-label="{escape.markup(diagram.name)}" {FONT} font-size="12">',
        f'<rect width="100%" height="100%" fill="{theme.surface}"/>',
        f'<defs><marker id="{prefix}arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z" fill="{theme.faint}"/></marker></defs>',
    ]
    for n, (path, label) in enumerate(zip(places.paths, places.labels, strict=True)):
        parts.append(f'<g id="{prefix}edge-{n}">')
        parts.append(
            f'<path d="{_bent(path)}" fill="none" stroke="{theme.faint}" marker-end="url(#{prefix}arrow)"/>'
        )
        if label is not None:
            parts.append(
                f'<text x="{label.x - label.width / 2:.1f}" y="{label.y + 4:.1f}" fill="{theme.ink}"'
                f' font-size="11">{escape.markup(label.text)}</text>'
            )
        parts.append("</g>")
    for n, (box, item) in enumerate(zip(places.boxes, diagram.items, strict=True)):
        left, top = box.x - box.width / 2, box.y - box.height / 2
        tint = TINTS.get(item.kind)
        fill = (
            f'fill="{theme.surface}"'
            if tint is None
            else f'fill="{theme.colors[tint]}" fill-opacity="{TINT}"'
        )
        parts.append(f'<g id="{prefix}node-{n}">')
        constant = item.kind is Kind.CONSTANT
        stroke, faint = (theme.faint, f' fill-opacity="{FAINT}"') if constant else (theme.ink, "")
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" {fill}'
            f' stroke="{stroke}"/>'
        )
        for row, line in enumerate(box.lines):
            y, bold = top + LINE * (row + 1), "" if row or constant else ' font-weight="bold"'
            name = f' id="{prefix}grad-{n}"' if row == 2 else ""
            parts.append(
                f'<text{name} x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{theme.ink}"{faint}{bold}>{escape.markup(line)}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def png(diagram: Diagram, path: Path, theme: Theme = LIGHT) -> None:
    """Write the diagram to a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    places = layout(diagram)
    figure = Figure(figsize=(places.width / 100, places.height / 100), facecolor=theme.surface)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, places.width), ylim=(places.height, 0))
    axes.set_axis_off()
    points = 72 / 100  # a pixel of the layout is a hundredth of an inch
    text: dict[str, Any] = {"color": theme.ink, "family": "monospace"}
    for bends, label in zip(places.paths, places.labels, strict=True):
        corners = _corners(bends)
        codes = [Curve.MOVETO, *[Curve.CURVE4] * (len(corners) - 1)]
        axes.add_patch(PathPatch(Curve(corners, codes), fill=False, edgecolor=theme.faint, linewidth=points))
        x, y = corners[-1]
        arrow = {"arrowstyle": "-|>", "color": theme.faint, "linewidth": 0}
        axes.annotate("", (x, y), (x, y - 8), arrowprops=arrow)
        if label is not None:
            at = label.x - label.width / 2, label.y + 4
            axes.text(*at, escape.label(label.text), fontsize=11 * points, ha="left", **text)
    for box, item in zip(places.boxes, diagram.items, strict=True):
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        tint = TINTS.get(item.kind)
        face = theme.surface if tint is None else (theme.colors[tint], TINT)
        style, constant = "round,pad=0,rounding_size=6", item.kind is Kind.CONSTANT
        edge, alpha = (theme.faint, FAINT) if constant else (theme.ink, 1.0)
        patch = FancyBboxPatch(
            corner, box.width, box.height, style, facecolor=face, edgecolor=edge, linewidth=points
        )
        axes.add_patch(patch)
        for row, line in enumerate(box.lines):
            weight = "normal" if row or constant else "bold"
            at = box.x, corner[1] + LINE * (row + 1)
            axes.text(
                *at, escape.label(line), fontsize=12 * points, ha="center", weight=weight, alpha=alpha, **text
            )
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)


def mermaid(diagram: Diagram) -> str:
    """Return the diagram in the language of Mermaid."""
    lines = ["graph TD"]
    for n, item in enumerate(diagram.items):
        text = "<br/>".join(_quoted(line) for line in item.lines)
        lines.append(f'  n{n}(["{text}"])' if item.kind is Kind.GIVEN else f'  n{n}["{text}"]')
        if item.kind is Kind.CONSTANT:
            lines.append(f"  style n{n} stroke:#999,color:#777")
    for link in diagram.links:
        label = f'|"{_quoted(link.label)}"|' if link.label else ""
        lines.append(f"  n{link.parent} -->{label} n{link.child}")
    return "\n".join(lines) + "\n"


def dot(diagram: Diagram) -> str:
    """Return the diagram in the language of Graphviz."""
    lines = ["digraph {", '  node [shape=box, style=rounded, fontname="monospace"];']
    for n, item in enumerate(diagram.items):
        text = "\\n".join(_escaped(line) for line in item.lines)
        grey = ", color=gray60, fontcolor=gray40" if item.kind is Kind.CONSTANT else ""
        lines.append(f'  n{n} [label="{text}"{grey}];')
    for link in diagram.links:
        label = f' [label="{_escaped(link.label)}"]' if link.label else ""
        lines.append(f"  n{link.parent} -> n{link.child}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _escaped(text: str) -> str:
    """Escape text for Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


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


def _corners(path: tuple[Place, ...]) -> list[Place]:
    """Return points of Bézier curves through the points of a path, vertical at each point."""
    corners = [path[0]]
    for (x, y), (to_x, to_y) in pairwise(path):
        half = (y + to_y) / 2
        corners += [(x, half), (to_x, half), (to_x, to_y)]
    return corners


def _bent(path: tuple[Place, ...]) -> str:
    text = f"M{path[0][0]:.1f} {path[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(path):
        half = (y + to_y) / 2
        curve = f" C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"
        text += f" V{to_y:.1f}" if f"{x:.1f}" == f"{to_x:.1f}" else curve
    return text
