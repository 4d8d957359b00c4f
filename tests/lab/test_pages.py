"""The lab's pages: the code that they name exists, and their findings are what the lab finds."""

import importlib
import json
import re
from pathlib import Path

import pytest
from tests.support import command

from sweepgrad.lab.configs import QUESTIONS, titles

PAGES = Path(__file__).parents[2] / "docs" / "lab"
NUMBER = re.compile(r"(?<![\w^⁻])[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


def finding_of(name: str) -> str:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- finding: {name} -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    assert found, name
    return found[1].strip()


def resolved(path: str) -> object:
    """Return the module or the object of a dotted path; None if there is none."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        outer, _, name = path.rpartition(".")
        return getattr(resolved(outer), name, None) if outer else None


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_code_that_a_page_names_exists(name):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    named = re.findall(r"`(sweepgrad(?:\.\w+)+)`", text)
    assert named
    for path in named:
        assert resolved(path) is not None, path


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_shows_what_its_command_draws_and_no_measured_number_of_its_own(name):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"    sweepgrad lab {name}\n" in text
    assert finding_of(name).startswith("- ✓")
    pictures = {file.name for file in (PAGES / "pictures").iterdir()}
    shown = set(re.findall(r"\]\(pictures/([^)]+)\)", text))
    assert shown
    assert shown <= pictures


def test_every_picture_is_shown():
    shown = {
        name
        for page in PAGES.glob("*.md")
        for name in re.findall(r"pictures/([\w.]+)", page.read_text(encoding="utf-8"))
    }
    assert shown == {file.name for file in (PAGES / "pictures").iterdir()}


@pytest.mark.slow
def test_all_claims_hold_and_the_pages_say_what_was_found(tmp_path, monkeypatch):
    """Compare numbers of the pages loosely and words exactly: another processor rounds differently."""
    monkeypatch.chdir(tmp_path)
    done = command("lab", "all", "--json")
    assert done.code == 0, done.out
    answers = {answer["name"]: answer for answer in json.loads(done.out)}
    assert list(answers) == list(titles())
    for name, answer in answers.items():
        failed = [claim["text"] for claim in answer["claims"] if not claim["holds"]]
        assert not failed
        written = (tmp_path / answer["folder"] / "finding.md").read_text(encoding="utf-8").strip()
        page = finding_of(name)
        assert len(written.splitlines()) == len(page.splitlines())
        words = [NUMBER.sub("#", text) for text in (written, page)]
        assert words[0] == words[1], name
        for here, there in zip(NUMBER.findall(written), NUMBER.findall(page), strict=True):
            a, b = (float(text.replace(",", "").replace("−", "-").strip("+")) for text in (here, there))
            assert abs(a - b) <= 0.35 * max(abs(a), abs(b)) + 0.02, (
                f"{name}: {here} where the page has {there}"
            )
