"""Read the pages of this folder: their code and what it prints, their findings, folded parts and pictures."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures"
NO_NOTEBOOK = frozenset({"index", "teaching"})
NO_EXPERIMENT = frozenset({"index", "teaching", "programming"})

CODE = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
"""A block of Python, and the output that is shown directly after it."""
FINDING = re.compile(
    r"^<!-- finding: (?P<name>\w+) -->\n(?P<text>.*?)^<!-- end -->\n?", re.DOTALL | re.MULTILINE
)
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(pictures/(?P<file>[\w.-]+)\)")
FENCE = re.compile(r"^(?P<fence>```+)[^`\n]*\n.*?^(?P=fence)\n", re.DOTALL | re.MULTILINE)
"""A fenced block of any language."""

_END = "\x1e"  # after the output of a block


def names() -> list[str]:
    """Return the names of all pages but the contents, in order."""
    return sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index")


def read(name: str) -> str:
    """Return a page as Markdown."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def with_finding(page: str, name: str, finding: str) -> str:
    """Return a page with another finding between its markers.

    Raises:
        SystemExit: the page does not have exactly one place for it.
    """
    places = [match for match in FINDING.finditer(page) if match["name"] == name]
    if len(places) != 1:
        raise SystemExit(
            f"docs/lab/{name}.md: has {len(places)} places for its finding; it needs exactly one"
        )
    start, end = places[0].span("text")
    return f"{page[:start]}\n{finding.strip()}\n\n{page[end:]}"


def printed(page: str) -> list[str]:
    """Run the Python of a page in one namespace, in an empty folder; return the output of each block.

    Raises:
        RuntimeError: a block fails; the message has the traceback.
    """
    blocks = [match["code"] for match in CODE.finditer(page)]
    if not blocks:
        return []
    script = "".join(f"{code}\nprint({_END!r}, end='', flush=True)\n" for code in blocks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.py")
        file.write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, file.name], cwd=folder, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.split(_END)[:-1]


def with_outputs(page: str, outputs: Sequence[str]) -> str:
    """Return a page with the output of each block of Python after it; none if it prints nothing."""
    remaining = iter(outputs)

    def shown(match: re.Match[str]) -> str:
        output = next(remaining).rstrip("\n")
        text = f"\n```text\n{output}\n```\n" if output else ""
        return f"```python\n{match['code']}```\n{text}"

    return CODE.sub(shown, page)


def both_themes(file: str) -> list[str]:
    """Return the files of a picture that a page shows: of an SVG also the dark one, even if it is missing."""
    return [file, f"{file.removesuffix('.svg')}-dark.svg"] if file.endswith(".svg") else [file]
