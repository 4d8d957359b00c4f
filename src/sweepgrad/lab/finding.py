"""What an experiment of the lab comes to: claims that hold or not, the numbers behind them, and pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sweepgrad.files import naming

FINDING, WORDS = "finding.json", "finding.md"


@dataclass(frozen=True)
class Claim:
    """A sentence with its numbers, and whether what was measured bears it out."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Finding:
    """The answer to a question.

    Attributes:
        claims: in the order of the page that derives them.
        numbers: what was measured, by name; logged as metrics, so names are words and slashes. What is not
            finite, as where training diverged, is left out.
        tables: each as Markdown.
        pictures: by name, without ending; those that are text are SVG.
        pages: HTML to be embedded, by name, without ending.
    """

    claims: tuple[Claim, ...]
    numbers: Mapping[str, float]
    tables: tuple[str, ...] = ()
    pictures: Mapping[str, Figure | str] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        finite = {name: float(number) for name, number in self.numbers.items() if isfinite(number)}
        object.__setattr__(self, "numbers", finite)

    @property
    def holds(self) -> bool:
        """Whether all of its claims do."""
        return all(bool(claim.holds) for claim in self.claims)

    @property
    def markdown(self) -> str:
        """The claims and tables, as they stand on the question's page."""
        claims = "\n".join(f"- {'✓' if claim.holds else '✗'} {claim.text}" for claim in self.claims)
        return "\n\n".join([claims, *self.tables])

    def to_json(self) -> dict[str, object]:
        claims = [{"text": claim.text, "holds": bool(claim.holds)} for claim in self.claims]
        return {"holds": self.holds, "claims": claims, "numbers": dict(self.numbers)}

    def write(self, folder: Path, config: Mapping[str, Any]) -> list[Path]:
        """Leave it in `folder`: as JSON and Markdown, and each picture as SVG.

        Arguments:
            config: what it is an answer to.

        Returns:
            The files.

        Raises:
            OSError: there is no room, or no right to.
        """
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / FINDING, folder / WORDS]
            said = {"config": dict(config), **self.to_json()}
            files[0].write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            files[1].write_text(self.markdown + "\n", encoding="utf-8")
            for name, picture in self.pictures.items():
                files.append(folder / f"{name}.svg")
                if isinstance(picture, str):
                    files[-1].write_text(picture, encoding="utf-8")
                else:
                    save(picture, files[-1])
            for name, page in self.pages.items():
                files.append(folder / f"{name}.html")
                files[-1].write_text(page, encoding="utf-8")
        return files


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its first column is of words, the others of numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(figure: Figure, path: Path) -> None:
    """As SVG that is the same whenever it is drawn from the same numbers."""
    import matplotlib as mpl

    FigureCanvasSVG(figure)
    with mpl.rc_context({"svg.hashsalt": "sweepgrad"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
