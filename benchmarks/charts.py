"""The charts of a benchmark run: time per step against parameters and against batch size."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import workloads as w
from benchmarks.peers import task
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Curve = tuple[str, str, str, float, list[float], list[float]]  # as `curves` describes it

INK, GRID = "#333333", "#e6e6e6"
# Ours in one strong colour, each other library in a quieter one of its own; a dash for its second way.
LINES = (
    (w.SKLEARN, "float64", "scikit-learn (no dropout)", "#8c8c8c", "-", 1.5),
    (w.PYTORCH, "float32", "PyTorch eager", "#c8553d", "-", 1.5),
    (w.COMPILED, "float32", "PyTorch compiled", "#c8553d", "--", 1.5),
    (w.JAX, "float32", "JAX scan", "#2a7f9e", "-", 1.5),
    (w.JAX_TUNED, "float32", "JAX scan, tuned", "#2a7f9e", "--", 1.5),
    (w.OURS_NATIVE, "float64", "sweepgrad float64", "#5b2a86", "--", 2.4),
    (w.OURS_NATIVE, "float32", "sweepgrad float32", "#5b2a86", "-", 2.4),
)
GAP = 0.055  # between labels, as a share of the axes' height


def points(records: list[dict[str, Any]], peer: str, dtype: str) -> list[dict[str, Any]]:
    return [
        r
        for r in records
        if r["work"] == w.STEP and r["peer"] == peer and r["dtype"] == dtype and r["value"] is not None
    ]


def spread(wanted: list[float]) -> list[float]:
    """Heights near the wanted ones, in the same order from below, at least GAP apart."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    heights = list(wanted)
    for below, above in pairwise(order):
        heights[above] = max(heights[above], heights[below] + GAP)
    # What pushing up has moved too far is taken back by half, as a block.
    excess = sum(heights[i] - wanted[i] for i in order) / max(len(order), 1)
    return [height - excess for height in heights]


def draw_lines(axes: Axes, curves: list[Curve]) -> None:
    """Curves with their names at their right ends."""
    for name, color, style, width, xs, ys in curves:
        front = 3 if name.startswith("sweepgrad") else 2
        axes.plot(
            xs, ys, color=color, linestyle=style, linewidth=width, zorder=front, marker="o", markersize=3.2
        )
    axes.set(xscale="log", yscale="log")
    axes.grid(which="major", color=GRID, linewidth=0.8)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}" if y < 1000 else f"{y:,.0f}")
    axes.figure.draw_without_rendering()  # limits are final only now
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [to_axes.transform((xs[-1], ys[-1])) for *_, xs, ys in curves]
    for (name, color, *_), (x, y), height in zip(curves, ends, spread([y for _, y in ends]), strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(x + 0.035, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            fontsize=9.5,
            fontweight="bold" if name.startswith("sweepgrad") else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )


def curves(records: list[dict[str, Any]], against: str) -> list[Curve]:
    """For each peer measured at two points at least: name, colour, style, width, xs, microseconds."""
    found = []
    for peer, dtype, name, color, style, width in LINES:
        line = sorted((r[against], r["value"] * 1e6) for r in points(records, peer, dtype))
        if len(line) > 1:
            found.append((name, color, style, width, [x for x, _ in line], [y for _, y in line]))
    return found


def titled(figure: Figure, title: str, subtitle: str) -> None:
    figure.text(0.012, 0.985, title, fontsize=13, fontweight="bold", color=INK, va="top")
    figure.text(0.012, 0.925, subtitle, fontsize=9.5, color="#666666", va="top")


def against_parameters(records: list[dict[str, Any]], path: Path) -> None:
    """Two equal hidden layers of growing width, batch 32."""
    sizes = {(width, width) for width in w.CHART_WIDTHS}
    some = [r for r in records if r["batch"] == w.CHART_BATCH and tuple(r["hidden"]) in sizes]
    figure = Figure(figsize=(9, 5.6))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.08, right=0.77, top=0.84, bottom=0.11)
    draw_lines(axes, curves(some, "parameters"))
    axes.set_xlabel("parameters of the network", color=INK)
    axes.set_ylabel("µs per training step", color=INK)
    titled(
        figure,
        "Time per training step by size of the network",
        f"MLP with two equal hidden layers, batch {w.CHART_BATCH}, dropout, SGD; one core; both axes logarithmic",
    )
    save(figure, path)


def against_batch(records: list[dict[str, Any]], path: Path) -> None:
    """A small and a middling network, batches from one row to 1,024."""
    figure = Figure(figsize=(11.5, 5.2))
    panels = figure.subplots(1, len(w.CHART_HIDDEN), sharey=True)
    figure.subplots_adjust(left=0.06, right=0.82, top=0.79, bottom=0.12, wspace=0.42)
    for axes, hidden in zip(panels, w.CHART_HIDDEN, strict=True):
        title = f"{w.network(hidden)}, {task.parameters(hidden):,} parameters"
        some = [r for r in records if tuple(r["hidden"]) == hidden]
        draw_lines(axes, curves(some, "batch"))
        axes.set_title(
            f"{w.network(hidden)}, {task.parameters(hidden):,} parameters",
            fontsize=10.5,
            color=INK,
            loc="left",
        )
        axes.set_xlabel("rows in a batch", color=INK)
        axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    panels[0].set_ylabel("µs per training step", color=INK)
    titled(figure, "Time per training step by batch size", "dropout, SGD; one core; both axes logarithmic")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what there are enough measurements for; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = [r for r in results["measurements"] if r["work"] == w.STEP]
    drawn = []
    for name, draw_chart, varied in (
        ("step_by_parameters", against_parameters, "parameters"),
        ("step_by_batch", against_batch, "batch"),
    ):
        if len({r[varied] for r in steps if r["value"] is not None}) > 1:
            path = folder / f"{name}.png"
            draw_chart(steps, path)
            drawn.append(path)
    return drawn
