"""The finding of an experiment of the lab: claims that hold or not, numbers, tables and pictures."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import Any

from sweepgrad.bounded import reading
from sweepgrad.drawing.style import THEMES, Draw, write
from sweepgrad.errors import UserError
from sweepgrad.files import naming

FINDING, TEXT = "finding.json", "finding.md"


@dataclass(frozen=True)
class Claim:
    """A statement, what was measured, and whether the measurement confirms the statement.

    Attributes:
        name: a few lower-case words, unique in a finding, by which tests and readers refer to it.
        text: the statement as it was made before anything was measured, so without measured numbers.
        measured: the numbers that decide it, with their uncertainty.
        holds: False if the measurement contradicts the statement. A statement that the settings do not test is
            not made; `Finding.notes` says why.
    """

    name: str
    text: str
    measured: str
    holds: bool


@dataclass(frozen=True)
class Finding:
    """The answer to a question.

    Attributes:
        claims: in the order of the page that derives them.
        numbers: measurements by name, logged as metrics. Infinite ones and NaN, such as those of training that
            diverged, are left out.
        tables: each as Markdown.
        notes: what these settings do not test, and why; a sentence each.
        pictures: by name, without suffix.
        pages: HTML to be embedded, by name, without suffix.
    """

    claims: tuple[Claim, ...]
    numbers: Mapping[str, float]
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, Draw] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        if len(set(names)) < len(names):
            raise ValueError(f"two claims have the same name: {names}")
        finite = {name: float(number) for name, number in self.numbers.items() if isfinite(number)}
        object.__setattr__(self, "numbers", finite)

    @property
    def holds(self) -> bool:
        """True if all of its claims hold."""
        return all(bool(claim.holds) for claim in self.claims)

    @property
    def markdown(self) -> str:
        """The claims as a table, notes and tables as Markdown, for the page of the question."""
        rows = [[_mark(claim), claim.text, claim.measured] for claim in self.claims]
        claims = table(["", "claim", "measured"], rows, numbers=False)
        return "\n\n".join([claims, *self.notes, *self.tables])

    def text(self, width: int = 100) -> str:
        """Return claims, notes and tables as text for a terminal of that many columns."""
        claims = "\n".join(
            fill(f"{_mark(claim)} {claim.text}", width, subsequent_indent="  ")
            + "\n"
            + fill(claim.measured, width, initial_indent="    ", subsequent_indent="    ")
            for claim in self.claims
        )
        return "\n\n".join([claims, *(fill(note, width) for note in self.notes), *self.tables])

    def to_json(self) -> dict[str, object]:
        claims = [
            {"name": claim.name, "text": claim.text, "measured": claim.measured, "holds": bool(claim.holds)}
            for claim in self.claims
        ]
        return {
            "holds": self.holds,
            "claims": claims,
            "notes": list(self.notes),
            "numbers": dict(self.numbers),
        }

    def write(self, folder: Path, config: Mapping[str, Any]) -> list[Path]:
        """Write it to `folder` as JSON and Markdown, and each picture as SVG, light and dark.

        Arguments:
            config: the question and its settings.

        Returns:
            The files.

        Raises:
            UserError: a file is in the way, and not of an earlier answer.
            OSError: a file cannot be written.
        """
        with naming(folder):
            self._refuse_what_is_in_the_way(folder)
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / FINDING, folder / TEXT]
            content = {"config": dict(config), **self.to_json()}
            files[0].write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            files[1].write_text(self.markdown + "\n", encoding="utf-8")
            for name, draw in self.pictures.items():
                files += write(draw, folder, name)
            for name, page in self.pages.items():
                files.append(folder / f"{name}.html")
                files[-1].write_text(page, encoding="utf-8")
        return files

    def _refuse_what_is_in_the_way(self, folder: Path) -> None:
        """Refuse to overwrite a file, unless the folder has an answer, all files of which may be replaced."""
        pictures = (f"{name}{theme.suffix}.svg" for name in self.pictures for theme in THEMES)
        names = (FINDING, TEXT, *pictures, *(f"{name}.html" for name in self.pages))
        found = next((folder / name for name in names if os.path.lexists(folder / name)), None)
        if found is not None and not _is_answer(folder / FINDING):
            raise UserError(
                f"{found} is not of an answer, and would be overwritten: move it, or choose another folder"
            )


def _is_answer(path: Path) -> bool:
    try:
        content = reading.load(path, reading.RESULTS)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"config", "holds", "claims", "numbers"} <= content.keys()


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """Return a Markdown table.

    Arguments:
        numbers: align all columns but the first to the right.
    """
    lines = [header, ["---", *["---:" if numbers else "---"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _mark(claim: Claim) -> str:
    return "✓" if claim.holds else "✗"
