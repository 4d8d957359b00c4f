"""The charts of a benchmark run: time per step against parameters and against batch size."""

from pathlib import Path
from typing import Any

from benchmarks import workloads as w
from benchmarks.peers import task
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Curve = tuple[str, str, str, float, list[float], list[float]]  # see `curves`

INK, GRID = "#333333", "#e6e6e6"
# Ours in a strong colour, each other library in a lighter one; dashed lines for second variants.
LINES = (
    (w.SKLEARN, "float64", "scikit-learn", "#8c8c8c", "-", 1.5),
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
    """Return heights near the wanted ones, in the same order, at least GAP apart.

    Those too close to each other become a block around their mean, and so do blocks.
    """
    blocks: list[list[int]] = []

    def lowest(block: list[int]) -> float:
        return sum(wanted[i] for i in block) / len(block) - GAP * (len(block) - 1) / 2

    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        blocks.append([i])
        while len(blocks) > 1 and lowest(blocks[-1]) < lowest(blocks[-2]) + GAP * len(blocks[-2]):
            above = blocks.pop()
            blocks[-1] += above
    places = {i: lowest(block) + GAP * rank for block in blocks for rank, i in enumerate(block)}
    return [places[i] for i in range(len(wanted))]


def draw_lines(axes: Axes, lines: list[Curve]) -> None:
    for name, color, style, width, xs, ys in lines:
        front = 3 if name.startswith("sweepgrad") else 2
        axes.plot(
            xs, ys, color=color, linestyle=style, linewidth=width, zorder=front, marker="o", markersize=3.2
        )
    axes.set(xscale="log", yscale="log")
    axes.grid(which="major", color=GRID, linewidth=0.8)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}" if y < 1000 else f"{y:,.0f}")


def name_lines(axes: Axes, lines: list[Curve]) -> None:
    """Write the names of curves at their right ends; the limits of the axes must be final."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [to_axes.transform((xs[-1], ys[-1])) for *_, xs, ys in lines]
    for (name, color, *_), (x, y), height in zip(lines, ends, spread([y for _, y in ends]), strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.03, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            fontsize=9.5,
            fontweight="bold" if name.startswith("sweepgrad") else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def curves(records: list[dict[str, Any]], against: str) -> list[Curve]:
    """Return, for each library with at least two points, name, colour, style, width, xs and microseconds."""
    found = []
    for peer, dtype, name, color, style, width in LINES:
        line = sorted((r[against], r["value"] * 1e6) for r in points(records, peer, dtype))
        if len(line) > 1:
            found.append((name, color, style, width, [x for x, _ in line], [y for _, y in line]))
    return found


def finish(figure: Figure, panels: list[tuple[Axes, list[Curve]]], title: str, subtitle: str) -> None:
    figure.text(0.012, 0.985, title, fontsize=13, fontweight="bold", color=INK, va="top")
    figure.text(0.012, 0.925, subtitle, fontsize=9.5, color="#666666", va="top")
    panels[0][0].set_ylabel("µs per training step", color=INK)
    for axes, lines in panels:
        draw_lines(axes, lines)
    figure.draw_without_rendering()  # fixes the limits
    for axes, lines in panels:
        name_lines(axes, lines)


def against_parameters(records: list[dict[str, Any]], path: Path) -> None:
    """Draw the time per step against the number of parameters: two equal hidden layers, batch 32."""
    sizes = {(width, width) for width in w.CHART_WIDTHS}
    some = [r for r in records if r["batch"] == w.CHART_BATCH and tuple(r["hidden"]) in sizes]
    figure = Figure(figsize=(9, 5.6))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.1, right=0.77, top=0.84, bottom=0.11)
    axes.set_xlabel("parameters of the network", color=INK)
    finish(
        figure,
        [(axes, curves(some, "parameters"))],
        "Time per training step by size of the network",
        f"two equal hidden layers, batch {w.CHART_BATCH}, dropout (scikit-learn: none), SGD; one core",
    )
    save(figure, path)


def against_batch(records: list[dict[str, Any]], path: Path) -> None:
    """Draw the time per step against the batch size, for a small and a medium network."""
    figure = Figure(figsize=(12, 5.2))
    both = figure.subplots(1, len(w.CHART_HIDDEN), sharey=True)
    figure.subplots_adjust(left=0.08, right=0.84, top=0.79, bottom=0.12, wspace=0.56)
    panels = []
    for axes, hidden in zip(both, w.CHART_HIDDEN, strict=True):
        name = f"{w.network(hidden)}, {task.parameters(hidden):,} parameters"
        axes.set_title(name, fontsize=10.5, color=INK, loc="left")
        axes.set_xlabel("rows in a batch", color=INK)
        panels.append((axes, curves([r for r in records if tuple(r["hidden"]) == hidden], "batch")))
    finish(
        figure,
        panels,
        "Time per training step by batch size",
        "dropout (scikit-learn: none), SGD; one core",
    )
    for axes in both:
        axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        axes.tick_params(labelleft=True)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the charts that have enough measurements; return the files."""
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
