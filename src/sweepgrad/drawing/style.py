"""The style of pictures: a light and a dark theme with the same colour-blind safe colours.

A panel is as wide as a phone, so that its text can be read there; a picture with several panels is several
files, which a page shows side by side where there is room.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 4.0, 3.1
"""Size of a panel in inches: 384 pixels wide, two fit into the text of a page and one onto a phone."""


@dataclass(frozen=True)
class Theme:
    """Colours of a picture.

    Attributes:
        name: light or dark; `suffix` is what its files end in.
        ink: of text, axes, and lines that are no data.
        faint: of reference lines, grids and what is of less importance.
        surface: of the background.
        colors: of data, in order, from Okabe & Ito ("Color universal design", 2008). Those that are too light
            or too dark for the background are replaced by shades of themselves.
    """

    name: str
    suffix: str
    ink: str
    faint: str
    surface: str
    colors: tuple[str, ...]

    @property
    def rc(self) -> dict[Any, Any]:
        """The settings of Matplotlib."""
        inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        surfaces = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
        return {
            **dict.fromkeys(inks, self.ink),
            **dict.fromkeys(surfaces, self.surface),
            "axes.prop_cycle": cycler(color=self.colors),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "grid.color": self.faint,
            "grid.alpha": 0.3,
            "font.size": 9.0,
            "axes.titlesize": 10.0,
            "axes.labelsize": 9.0,
            "legend.fontsize": 8.0,
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "lines.markersize": 4.5,
            "svg.hashsalt": "sweepgrad",  # ids that are not random: the same numbers give the same file
        }


LIGHT = Theme(
    "light", "", "#1f2933", "#7b8794", "#ffffff",
    ("#0072b2", "#d55e00", "#009e73", "#b4568f", "#8a6d00", "#2f88b8", "#4d4d4d"),
)  # fmt: skip
DARK = Theme(
    "dark", "-dark", "#e4e7eb", "#9aa5b1", "#131416",
    ("#56b4e9", "#e69f00", "#2cc295", "#dd8fbf", "#f0e442", "#8fd0f5", "#c0c0c0"),
)  # fmt: skip
THEMES = (LIGHT, DARK)

Draw = Callable[[Theme], "Figure | str"]
"""Draw a picture in a theme: a figure of Matplotlib, or SVG."""


def applied(theme: Theme) -> AbstractContextManager[None]:
    """Return a context in which figures are made in a theme. It changes Matplotlib's settings: one thread."""
    return mpl.rc_context(theme.rc)


def panel(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return a figure of one panel, `height` inches high, and its axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def integers(axes: Axes) -> None:
    """Label the x-axis, such as one of layers or epochs, with integers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def write(draw: Draw, folder: Path, name: str) -> list[Path]:
    """Write a picture as SVG in each theme, without dates, so that the same numbers give the same files.

    Returns:
        The files: NAME.svg and NAME-dark.svg.

    Raises:
        OSError: a file cannot be written.
    """
    files = []
    for theme in THEMES:
        files.append(folder / f"{name}{theme.suffix}.svg")
        with applied(theme):
            drawn = draw(theme)
            if isinstance(drawn, str):
                files[-1].write_text(drawn, encoding="utf-8")
            else:
                FigureCanvasSVG(drawn)
                drawn.savefig(files[-1], format="svg", metadata={"Date": None, "Creator": None})
    return files
