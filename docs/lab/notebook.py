"""Write each page of this folder as a notebook: `make notebooks`.

    python docs/lab/notebook.py [NAME ...]

jupytext reads the page, so plain Markdown remains the only source, and it needs nothing from the site. With
nbsphinx and myst-nb the notebook would be the source: the site would run it while it is built, which takes
minutes, and the text would be read in JSON or in a Markdown that only MyST understands.

Prose is unchanged, Python becomes cells, and the finding becomes a cell that asks the question again; it
draws the pictures too, so their captions remain where the page shows them. No outputs are stored.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))

import jupytext
from docs.lab import pages

FOLDER = pages.FOLDER / "notebooks"
_RAW = re.compile(r"^```\{raw\} html\n:file: (\S+)\n```\n", re.MULTILINE)
_DETAILS = re.compile(r"^<details.*?^</details>\n?", re.DOTALL | re.MULTILINE)
_SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]*))?\)")
_FORMULA = r"\$\$.*?\$\$|\$[^$\n]+\$"
_NO_PROSE = re.compile(f"{pages.FINDING.pattern}|{pages.FENCE.pattern}|{_FORMULA}", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def names() -> list[str]:
    """Return the names of the pages that have a notebook."""
    return [name for name in pages.names() if name not in pages.NO_NOTEBOOK]


def written(name: str) -> str:
    """Return the notebook of a page as JSON; the same page gives the same text."""
    note = (
        f"*Made from docs/lab/{name}.md by `make notebooks`. Its cells write into a folder `runs` beside it.*"
    )
    text = f"{_markdown(name, pages.read(name))}\n\n\n{note}\n"  # two empty lines begin a cell
    notebook: Any = jupytext.reads(text, {"extension": ".md", "split_at_heading": True})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name}-{number}"
        cell.metadata.clear()
        if cell.source.startswith("%%html"):
            cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.metadata.clear()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.nbformat_minor = 5  # the first with ids
    return str(jupytext.writes(notebook, "ipynb")).rstrip() + "\n"


def _markdown(name: str, page: str) -> str:
    """Return the page with a block of Python for each cell, and captions in place of pictures."""
    page = _DETAILS.sub(_unfolded, page)
    page = pages.CODE.sub(lambda match: f"```python\n{match['code']}```\n", page)
    page = pages.PICTURE.sub(lambda match: f"*Figure: {match['alt'].rstrip('.')}.*", page)
    headings = _HEADING.findall(page)
    page = _in_prose(page, lambda text: _LINK.sub(lambda match: _link(match, headings), text))
    page = _RAW.sub(
        lambda match: _code(f"%%html\n{(pages.FOLDER / match[1]).read_text(encoding='utf-8')}"), page
    )
    return pages.FINDING.sub(
        lambda match: _code(f'import sweepgrad as sg\n\nsg.ask("{match["name"]}")\n'), page
    )


def _code(source: str) -> str:
    return f"```python\n{source.rstrip()}\n```\n"


def _unfolded(match: re.Match[str]) -> str:
    """Return a folded part as it is; as a section if it has cells, which HTML cannot enclose."""
    text = match[0]
    if not any(pattern.search(text) for pattern in (pages.CODE, pages.FINDING, _RAW)):
        return text
    text = _SUMMARY.sub(lambda summary: f"## {summary[1].strip()}", text)
    return re.sub(r"^</?details.*>\n?", "", text, flags=re.MULTILINE)


def _in_prose(page: str, change: Callable[[str], str]) -> str:
    """Change the text between findings, fenced blocks and formulas."""
    parts, end = [], 0
    for match in _NO_PROSE.finditer(page):
        parts += [change(page[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(page[end:])])


def _link(match: re.Match[str], headings: list[str]) -> str:
    """Return a link that starts in the folder of notebooks."""
    picture, text, target, anchor = match.groups()
    if not target:  # Jupyter's anchors are the words of the heading
        heading = next((h for h in headings if _slug(h) == anchor), None)
        return text if heading is None else f"[{text}](#{heading.replace(' ', '-')})"
    stem = target.removesuffix(".md")
    if stem in names():
        return f"[{text}]({stem}.ipynb)"
    return f"{picture}[{text}](../{target}{f'#{anchor}' if anchor else ''})"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main(chosen: list[str]) -> int:
    """Write the notebooks of the given pages, or of all; remove those without a page."""
    FOLDER.mkdir(exist_ok=True)
    for name in chosen or names():
        (FOLDER / f"{name}.ipynb").write_text(written(name), encoding="utf-8")
    for file in FOLDER.glob("*.ipynb"):
        if file.stem not in names():
            file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
