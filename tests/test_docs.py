"""Run the code blocks of the README and of the pages, as they show them."""

import ast
import inspect
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests import documents

import sweepgrad
from sweepgrad.paths import cache_dir

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        ROOT / "README.md",
        DOCS / "index.md",
        DOCS / "quickstart.md",
        DOCS / "reference" / "api.md",
        *DOCS.glob("howto/*.md"),
        *DOCS.glob("coming-from/*.md"),
    ]
)
FAST = {"api.md", "notebook.md"}  # the others train more
ELSEWHERE = {  # pages whose commands other tests run, here or beside what the page is about
    "engine.md",
    "extending.md",
    "many-machines.md",
    "sweeps.md",
    "tracking-server.md",
    "trust.md",
    "values.md",
}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell that finds `sweepgrad` as after `source .venv/bin/activate`."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "XDG_CACHE_HOME": str(cache_dir().parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page.name in FAST else pytest.mark.slow) for page in PAGES],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_blocks_of_a_page_run_and_print_what_it_shows(page, folder):
    documents.prepare(folder)
    documents.check(page, folder)


def test_blocks_that_are_not_run_say_why():
    for page in PAGES:
        for block in documents.blocks(page.read_text()):
            if block.left_out:
                assert re.search(r"<!-- not run: \w+ .+ -->", block.notes)
            else:
                assert block.language in {"bash", "console", "python", "text", "yaml"}, page


def test_no_page_has_commands_that_no_test_runs():
    for page in DOCS.rglob("*.md"):
        languages = {block.language for block in documents.blocks(page.read_text()) if not block.left_out}
        if {"bash", "console", "python"} & languages:
            assert page in PAGES or page.name in ELSEWHERE or page.parent.name == "lab", page


def test_outputs_are_compared_without_numbers_and_ids():
    shown = "sweep-2026-11-28-090051-aa87: 12 runs\n…\ntest accuracy 78.5% on 205 rows\n"
    assert documents.agrees(
        shown, "sweep-2026-12-01-120000-00ff: 8 runs\nmore\nlines\ntest accuracy 9% on 5 rows"
    )
    assert not documents.agrees(shown, "sweep-2026-12-01-120000-00ff: 8 runs\ntest precision 9% on 5 rows")
    assert not documents.agrees(shown, "test accuracy 9% on 5 rows\n")


def test_a_sweep_has_one_name_on_a_page():
    one, other, printed = (f"sweep-2026-11-28-09005{i}-aa87" for i in range(3))
    assert documents.sweep_names_agree([(f"{one}: 12 runs", f"{printed}: 8 runs")] * 2)
    assert not documents.sweep_names_agree([(one, printed), (other, printed)])
    assert not documents.sweep_names_agree([(one, printed), (one, other)])


def test_outputs_that_differ_in_names_alone_are_rewritten_with_the_rest(folder):
    page = folder / "page.md"
    old = "sweep-2026-11-28-090050-aa87"
    shown = "".join(
        f"```python\nprint({name!r})\n```\n\n```text\n{output}\n```\n"
        for name, output in ((old.replace("aa87", "00ff"), old), ("new", "old"))
    )
    page.write_text(shown)
    documents.rewrite(page, folder)
    assert f"```text\n{old}" not in page.read_text()


def test_an_output_that_changed_is_rewritten_with_its_elisions(folder):
    page = folder / "page.md"
    text = (
        "<!-- exit 2 -->\n```console\n$ sweepgrad train optimizer.lrr=0.1\nsweepgrad: one problem\n…\n```\n"
    )
    page.write_text(text)
    with pytest.raises(AssertionError, match="one problem"):
        documents.check(page, folder)
    documents.rewrite(page, folder)
    documents.check(page, folder)
    assert "one problem" not in page.read_text()
    assert "…" in page.read_text()


def followed(block: documents.Block, copy: Path) -> None:
    """Change a copy of the repository as a block of CONTRIBUTING.md says."""
    first, _, code = block.code.partition("\n")
    if block.language == "python":
        asked = re.fullmatch(r"# (?:append |insert in)to (\S+)(?: before (\w+))?", first)
        assert asked, first
        file, before = asked.groups()
        text = (copy / file).read_text()
        place = re.search(rf"^{before}\b", text, flags=re.MULTILINE)
        at = place.start() if place else len(text)
        assert bool(place) == bool(before), first
        (copy / file).write_text(f"{text[:at]}\n\n{code}\n\n{text[at:]}")
    elif block.language == "diff":
        file = copy / first.removeprefix("# ")
        lines = code.splitlines()
        for old, new in zip(lines[::2], lines[1::2], strict=True):
            text = file.read_text()
            assert (old[0], new[0], text.count(old[1:])) == ("-", "+", 1), old
            file.write_text(text.replace(old[1:], new[1:]))
    elif block.file:
        (copy / block.file).write_text(block.code)


@pytest.mark.slow
def test_the_first_change_of_the_page_on_contributing_works(tmp_path):
    copy = tmp_path / "clone"
    for name in ("src", "conf", "data", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    shown = [
        block for block in documents.blocks((ROOT / "CONTRIBUTING.md").read_text()) if not block.left_out
    ]
    for block in shown:
        followed(block, copy)
    (commands,) = [block.code for block in shown if block.language == "bash"]
    for command in commands.splitlines():
        done = run(f"PYTHONPATH={copy / 'src'} {command}", copy)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "val accuracy" in done.stderr


def sections(page: str) -> dict[str, str]:
    """Return the text below each heading of the second level, by the heading."""
    _, *parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


TRUST = sections((DOCS / "trust.md").read_text())


@pytest.mark.parametrize("title", [title for title, text in TRUST.items() if blocks("bash", text)])
@pytest.mark.slow
@documents.restored()
def test_the_commands_of_a_section_on_trust_run_in_their_order(title, folder):
    page = documents.Page(folder)
    for line in (line for block in blocks("bash", TRUST[title]) for line in documents.commands(block)):
        code, output = page.command(line)
        assert code == 0, f"$ {line}\n{output}"


@pytest.mark.slow
@documents.restored()
def test_the_commands_of_the_page_on_sweeps_do_as_it_says(folder):
    page, printed = documents.Page(folder), []
    for block in blocks("bash", (DOCS / "sweeps.md").read_text()):
        for line in documents.commands(block):
            code, output = page.command(line)
            assert code == 0, f"$ {line}\n{output}"
            printed.append(output)
    rehearsal, first, _, again, wider, from_scratch, *_, halving, search = printed
    assert "nothing was run" in rehearsal
    assert re.search(r"^starting sweep \S+: 12 runs", first, flags=re.MULTILINE)
    for printed_again in (again, wider):
        assert "12 runs had been trained before" in printed_again
    assert "before" not in from_scratch
    assert "halving stopped 8 of 9 runs early" in halving
    assert "12 trials finished, 0 failed" in search


def test_the_python_of_the_page_on_trust_runs(folder):
    (code,) = blocks("python", (DOCS / "trust.md").read_text())
    (folder / "example.py").write_text(code)
    done = run("python -W error example.py", folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_for_many_machines_run_on_this_one(folder):
    text = (DOCS / "many-machines.md").read_text()
    alone, by_hand = blocks("bash", text)
    done = run(alone, folder)
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:  # the port that the page names may be in use here
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ending = "\ncode=$?; kill $(jobs -p); wait; exit $code"
    done = run(by_hand.replace("8786", str(port)) + ending, folder)
    assert done.returncode == 0, done.stderr
    assert "1 worker with 2 cores" in done.stderr
    assert len([*(folder / "runs" / "sweeps").glob("*/*/record.json")]) == 6


def test_the_python_for_many_machines_is_python():
    text = (DOCS / "many-machines.md").read_text()
    scripts = blocks("python", text)
    assert len(scripts) == 2
    for script in scripts:
        ast.parse(script)


def test_the_reference_lists_every_name_of_the_api_with_its_arguments():
    text = (DOCS / "reference" / "api.md").read_text()
    for name in sweepgrad.__all__:
        assert re.search(rf"`(sg\.)?{name}\b", text), f"docs/reference/api.md does not mention {name}"
        shown = re.search(rf"`sg\.{name}\((.*?)\)`", text)
        found = getattr(sweepgrad, name)
        if shown and not isinstance(found, type):
            names = [
                part.partition("=")[0].strip().removeprefix("*")
                for part in shown[1].split(",")
                if part.strip() not in ("*", "")
            ]
            assert names == [*inspect.signature(found).parameters], name


def test_sweep_is_the_function():
    assert inspect.isfunction(sweepgrad.sweep)


def test_the_example_table_is_what_its_script_draws():
    done = run(f"python {DOCS / 'examples' / 'churn.py'}", ROOT)
    drawn, kept = done.stdout.splitlines(), (DOCS / "examples" / "churn.csv").read_text().splitlines()
    assert (drawn[0], len(drawn)) == (kept[0], len(kept))


def test_links_and_pictures_of_the_documents_exist():
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "README.md"):
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
            assert document.parent.joinpath(link).exists(), f"{document} links to {link}"


def test_the_readme_fits_on_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def test_no_figure_of_the_documents_is_still_to_be_filled_in():
    written = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for document in (document for document in written if document.parent.name != "reference"):
        text = re.sub(r"```(python|diff).*?```", "", document.read_text(), flags=re.DOTALL)
        assert not re.findall(r"\b[A-Z]{9,}\b", text.replace("CONTRIBUTING", "").replace("CHANGELOG", "")), (
            document
        )
        assert not re.findall(r"<!-- (?!end)\w+ -->\n\n", text), document
