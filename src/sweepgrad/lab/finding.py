"""The finding of an experiment of the lab: claims that hold or not, numbers, tables and pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sweepgrad.files import naming

FINDING, TEXT = "finding.json", "finding.md"


@dataclass(frozen=True)
class Claim:
    """A sentence with its numbers, and whether the measurements confirm it."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Finding:
    """The answer to a question.

    Attributes:
        claims: in the order of the page that derives them.
        numbers: measurements by name, logged as metrics. Infinite ones and NaN, such as those of training that
            diverged, are left out.
        tables: each as Markdown.
        pictures: by name, without suffix; text is SVG.
        pages: HTML to be embedded, by name, without suffix.
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
        """True if all of its claims hold."""
        return all(bool(claim.holds) for claim in self.claims)

    @property
    def markdown(self) -> str:
        """The claims and tables as Markdown, for the page of the question."""
        claims = "\n".join(f"- {'✓' if claim.holds else '✗'} {claim.text}" for claim in self.claims)
        return "\n\n".join([claims, *self.tables])

    def to_json(self) -> dict[str, object]:
        claims = [{"text": claim.text, "holds": bool(claim.holds)} for claim in self.claims]
        return {"holds": self.holds, "claims": claims, "numbers": dict(self.numbers)}

    def write(self, folder: Path, config: Mapping[str, Any]) -> list[Path]:
        """Write it to `folder` as JSON and Markdown, and each picture as SVG.

        Arguments:
            config: the question and its settings.

        Returns:
            The files.

        Raises:
            OSError: a file cannot be written.
        """
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / FINDING, folder / TEXT]
            content = {"config": dict(config), **self.to_json()}
            files[0].write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
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
    """Return a Markdown table; its first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as SVG without date and random ids, so that the same numbers give the same file."""
    import matplotlib as mpl

    FigureCanvasSVG(figure)
    with mpl.rc_context({"svg.hashsalt": "sweepgrad"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
