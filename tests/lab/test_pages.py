"""The lab's pages: their layout, the code that they name and run, their pictures, and what the lab finds."""

import importlib
import re
from pathlib import Path

import pytest
from docs.lab import pages

from sweepgrad.lab.configs import QUESTIONS, titles

NAMES = pages.names()
RUN = [name for name in NAMES if pages.CODE.search(pages.read(name))]
NUMBER = re.compile(r"(?<![\w^⁻])[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
SECTION = re.compile(r"^(?:## (.+)|<summary>(.+)</summary>)$", re.MULTILINE)
SHOWN = re.compile(r"^\|  \| claim \| measured \|\n\| --- \| --- \| --- \|\n((?:\| ✓ \|.*\|\n?)+)(?:\n|\Z)")
QUESTION = re.compile(
    r"\A# .+\n\n\*Questions? (.+?) of the assignment[^*\n]* ?\([^*\n]*\d+ points?[^*\n]*\)\.\*"
)


def finding_of(name: str) -> str:
    (found,) = pages.FINDING.finditer(pages.read(name))
    assert found["name"] == name
    return found["text"].strip()


def prose(page: str) -> str:
    """Return a page without fenced blocks and findings."""
    return pages.FENCE.sub("", pages.FINDING.sub("", page))


def sections(page: str) -> list[str]:
    """Return headings, and the summaries of folded parts."""
    return [heading or summary for heading, summary in SECTION.findall(prose(page))]


TINY, FACTOR = 1e-9, 30
"""Numbers below are errors of rounding, and may differ by a factor; those below 1e-16 count as that."""
RELATIVE, COUNTS = 0.1, 0.01
"""Other numbers may differ by these shares, besides a unit of the last digit: real numbers, and integers."""


def agree(written: str, page: str, name: str) -> None:
    """Compare words exactly, and numbers by their kind: another processor rounds differently."""
    assert NUMBER.sub("#", written) == NUMBER.sub("#", page), name
    for here, there in zip(NUMBER.findall(written), NUMBER.findall(page), strict=True):
        assert close(here, there), f"{name}: {here} where the page has {there}"


def close(here: str, there: str) -> bool:
    """Return whether two numbers are the same but for the rounding of another processor.

    - Errors of rounding, with an exponent: within a factor of 30.
    - Others: within a unit of the last digit shown (each is rounded by half of one) and a share, 1 %
      for integers (counts, settings, percentages), 10 % for others. The signs are equal, unless both are at
      most one unit from 0.
    """
    (a, unit_a), (b, unit_b) = value_and_unit(here), value_and_unit(there)
    unit = max(unit_a, unit_b)
    if "e" in here + there and min(abs(a), abs(b)) < TINY:
        low, high = sorted(max(abs(number), 1e-16) for number in (a, b))
        return a * b >= 0 and high <= FACTOR * low
    if a * b < 0:
        return max(abs(a), abs(b)) <= unit * (1 + 1e-9)
    share = COUNTS if unit == 1 else RELATIVE
    return abs(a - b) <= share * max(abs(a), abs(b)) + unit * (1 + 1e-9)


def value_and_unit(text: str) -> tuple[float, float]:
    """Return a number and the value of one unit of its last digit."""
    text = text.replace(",", "").replace("−", "-")
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(text), 10.0 ** (int(exponent or 0) - decimals)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("7e-16", "2e-15"),
        ("0", "7e-16"),  # rounding may cancel
        ("+0.0263", "+0.0271"),
        ("-0.0001", "+0.0000"),
        ("-0.1", "+0.1"),  # both within rounding of 0
        ("0.056", "0.060"),
        ("24.4", "25.9"),
        ("1,200", "1,205"),
        ("17", "18"),
        ("2e-05", "3e-05"),
        ("60,", "60,"),
        ("2026.", "2026."),
    ],
)
def test_what_another_processor_may_print_agrees(here, there):
    assert close(here, there)
    assert close(there, here)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("1e-15", "0.015"),
        ("1e-15", "1e-12"),
        ("0", "1e-12"),
        ("+0.0041", "-0.0041"),
        ("-0.003", "+0.003"),
        ("-0.2", "+0.1"),
        ("0.05", "0.07"),
        ("0.0049", "0.0152"),
        ("24.4", "29.4"),
        ("25", "20"),
        ("40", "38"),
        ("1,200", "1,300"),
        ("2e-05", "9e-05"),
        ("-3e-16", "3e-15"),
    ],
)
def test_other_findings_do_not(here, there):
    assert not close(here, there)
    assert not close(there, here)


def test_other_words_do_not_agree_either():
    agree("rows 3.10 or more", "rows 3.11 or more", "same words")
    with pytest.raises(AssertionError):
        agree("rows 3.1 or more", "rows 3.1 or less", "other words")


def resolved(path: str) -> object:
    """Return the module or the object of a dotted path; None if there is none."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        outer, _, name = path.rpartition(".")
        return getattr(resolved(outer), name, None) if outer else None


def test_each_question_has_a_page():
    assert {*NAMES} == {*QUESTIONS, *pages.NO_EXPERIMENT} - {"index"}


@pytest.mark.parametrize("name", NAMES)
def test_the_code_that_a_page_names_exists(name):
    for path in re.findall(r"`(sweepgrad(?:\.\w+)+)`", pages.read(name)):
        assert resolved(path) is not None, path


@pytest.mark.parametrize("name", [name for name in NAMES if name not in pages.NO_NOTEBOOK])
def test_a_page_begins_with_its_question_and_a_short_answer_with_one_figure(name):
    page = pages.read(name)
    question = QUESTION.match(page)
    assert question, page[:200]
    if name in QUESTIONS:
        assert titles()[name].number in question[1]
    assert sections(page)[0] == "In short"
    short = re.split(
        r"^(?:## |<details)", page.partition("## In short\n")[2], maxsplit=1, flags=re.MULTILINE
    )[0]
    assert len(short.splitlines()) >= 3
    if name in QUESTIONS:
        (figure,) = [part for part in short.split("\n\n") if pages.PICTURE.search(part)]
        assert 1 <= len(pages.PICTURE.findall(figure)) <= 2
        assert not pages.PICTURE.sub("", figure).strip(), "pictures stand in a paragraph of their own"


@pytest.mark.parametrize("name", QUESTIONS)
def test_then_come_the_derivation_the_evidence_and_what_to_try(name):
    page = pages.read(name)
    found = sections(page)
    evidence = found.index("Evidence")
    assert evidence >= 2
    assert found[evidence:][-1] == "Try"
    after = re.split(r"^(?:## |<summary>)Evidence.*$", page, flags=re.MULTILINE)[1]
    assert re.findall(r"^## (.+)$", after, re.MULTILINE) in ([], ["Try"])
    assert after.startswith(f"\n\n    sweepgrad lab {name}\n\n")
    assert pages.FINDING.search(after)
    assert re.search(r"^- `|^    ", after.partition("Try")[2], re.MULTILINE)
    assert SHOWN.match(finding_of(name)), "a table of claims that hold"


@pytest.mark.parametrize("name", NAMES)
def test_folded_parts_are_closed_and_hold_markdown_without_headings(name):
    depth = 0
    for tag in re.findall(r"^</?details", prose(pages.read(name)), re.MULTILINE):
        depth += 1 if tag == "<details" else -1
        assert depth in (0, 1)
    assert depth == 0
    for folded in re.findall(r"^<details.*?^</details>", pages.read(name), re.DOTALL | re.MULTILINE):
        assert re.match(r"<details>\n<summary>.+</summary>\n\n", folded), folded[:80]
        assert folded.endswith("\n\n</details>"), folded[-80:]
        assert not re.search(r"^#+ ", prose(folded), re.MULTILINE)


@pytest.mark.parametrize("name", RUN)
def test_its_python_runs_and_prints_what_the_page_shows(name):
    page = pages.read(name)
    assert pages.with_outputs(page, pages.printed(page)) == page


def test_pictures_are_shown_and_exist_in_both_themes():
    shown = set[str]()
    for name in NAMES:
        page = pages.read(name)
        shown |= {file for match in pages.PICTURE.finditer(page) for file in pages.both_themes(match["file"])}
        shown |= {Path(file).name for file in re.findall(r"^:file: (.+)$", page, re.MULTILINE)}
    assert shown == {file.name for file in pages.PICTURES.iterdir()}
