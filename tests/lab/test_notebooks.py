"""The lab's pages as notebooks, and the tools that write both."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from docs.lab import make, notebook, pages
from tests.lab.test_pages import agree, finding_of
from tests.support import environment

from sweepgrad.lab.configs import QUESTIONS

NAMES = notebook.names()

PAGE = """\
# Title

A [page](other.md#part), [trust](../trust.md#a), [below](#one-part), [web](https://example.org) and $[a](b)$.

## In short

Two pictures:

![left, |a|](pictures/mine_a.svg)
![right.](pictures/mine_b.svg)

## One part

```python
x = 2
print(x)
```

```text
2
```

    sweepgrad lab mine

<details>
<summary>Only text</summary>

Folded [page](other.md).

</details>

<details>
<summary>With a cell</summary>

```python
print(x + 1)
```

```text
stale
```

</details>

```{raw} html
:file: pictures/mine.html
```

```text
not an output
```

<!-- finding: mine -->

| stale |

<!-- end -->

## Try

- it
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Take another folder of pages: mine.md and other.md."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "mine.html").write_text("<p>steps</p>\n")
    (tmp_path / "mine.md").write_text(PAGE)
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / "index.md").write_text("# Index\n")
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    monkeypatch.setattr(pages, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(notebook, "FOLDER", tmp_path / "notebooks")
    return tmp_path


def cells(text: str) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_of_a_page_is_up_to_date(name):
    """If it is not: `make notebooks`."""
    text = (notebook.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text == notebook.written(name), f"docs/lab/{name}.md has changed; make notebooks"
    found = nbformat.reads(text, as_version=4)
    nbformat.validate(found)
    ids = [cell.id for cell in found.cells]
    assert len(set(ids)) == len(ids)
    assert not any(cell.get("outputs") for cell in found.cells)
    code = [cell.source for cell in found.cells if cell.cell_type == "code"]
    for source in code:
        if not source.startswith("%%html"):
            compile(source, name, "exec")
    assert sum(f'sg.ask("{name}")' in source for source in code) == (name in QUESTIONS)
    for cell in found.cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", cell.source):
                assert (notebook.FOLDER / link).exists(), link


def test_there_is_no_notebook_without_a_page():
    assert sorted(file.name for file in notebook.FOLDER.iterdir()) == [f"{name}.ipynb" for name in NAMES]


def test_a_page_becomes_cells(folder):
    found = cells(notebook.written("mine"))
    assert [source for kind, source in found if kind == "code"] == [
        "x = 2\nprint(x)",
        "print(x + 1)",
        "%%html\n<p>steps</p>",
        'import sweepgrad as sg\n\nsg.ask("mine")',
    ]
    text = "\n".join(source for kind, source in found if kind == "markdown")
    assert (
        "[page](other.ipynb), [trust](../../trust.md#a), [below](#One-part), [web](https://example.org)"
        in text
    )
    assert "and $[a](b)$." in text
    assert "*Figure: left, |a|.*\n*Figure: right.*" in text
    assert "<details>\n<summary>Only text</summary>\n\nFolded [page](other.ipynb).\n\n</details>" in text
    assert "## With a cell" in text
    assert text.count("details") == 2
    assert "```text\nnot an output\n```" in text
    assert not re.search(r"stale|<!--|pictures/", text)
    assert "    sweepgrad lab mine" in text
    assert notebook.written("mine") == notebook.written("mine")


def test_notebooks_of_pages_that_are_gone_are_removed(folder):
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "gone.ipynb").write_text("")
    assert notebook.main([]) == 0
    assert sorted(file.name for file in (folder / "notebooks").iterdir()) == ["mine.ipynb", "other.ipynb"]


def test_outputs_are_written_after_the_code_that_prints_them(folder):
    outputs = pages.printed(PAGE)
    assert outputs == ["2\n", "3\n"]
    page = pages.with_outputs(PAGE, outputs)
    assert "print(x + 1)\n```\n\n```text\n3\n```\n" in page
    assert pages.with_outputs(page, outputs) == page
    assert "```text\n3" not in pages.with_outputs(page, ["2\n", ""])
    silent = pages.with_outputs(page, ["", ""])
    assert pages.with_outputs(silent, outputs) == page


def test_code_that_fails_is_shown_with_its_error():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        pages.printed("```python\n1 / 0\n```\n")


def test_an_answer_is_put_into_its_page_and_replaces_its_pictures(folder):
    answer = folder / "runs" / "mine"
    answer.mkdir(parents=True)
    (answer / "finding.md").write_text("| new |\n")
    for name in ("mine_a.svg", "mine_a-dark.svg", "mine.html"):
        (answer / name).write_text(name)
    for name in ("mine-dark.svg", "mine_old.svg", "mine_old-dark.svg", "other.svg", "mined.svg"):
        (folder / "pictures" / name).write_text("old")
    make.take(answer)
    assert "<!-- finding: mine -->\n\n| new |\n\n<!-- end -->\n" in (folder / "mine.md").read_text()
    assert sorted(file.name for file in (folder / "pictures").iterdir()) == [
        *("mine.html", "mine_a-dark.svg", "mine_a.svg", "mined.svg", "other.svg")
    ]
    (folder / "mine.md").write_text("# No place\n")
    with pytest.raises(SystemExit, match="has 0 places"):
        make.take(answer)


def test_a_page_that_does_not_exist_is_reported(folder):
    with pytest.raises(SystemExit, match=r"has no page others; it has mine, other"):
        make.main(["others"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_an_empty_folder_and_finds_what_the_page_shows(name, tmp_path):
    file = Path(shutil.copy(notebook.FOLDER / f"{name}.ipynb", tmp_path))
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-execute"), "--inplace", "--timeout=600", file.name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    html = ""
    printed = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            if output["output_type"] == "execute_result":
                html += "".join(output["data"].get("text/html", ""))
            elif output.get("name") == "stdout":
                printed.append("".join(output["text"]))
    assert "".join(printed) == "".join(pages.printed(pages.read(name)))
    if name in QUESTIONS:
        finding = (tmp_path / "runs" / "lab" / name / "finding.md").read_text(encoding="utf-8")
        assert "✗" not in finding
        agree(finding.strip(), finding_of(name), name)
        assert html.count(">✓<") == finding.count("| ✓ |")
        assert html.count("<img ") == len([*(tmp_path / "runs" / "lab" / name).glob("*-dark.svg")])
