"""Text from data is shown as text: on a terminal, in Markdown, HTML, SVG, pictures, CSV, JSON and MLflow."""

import csv
import io
import json
import logging
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweepgrad import Value
from sweepgrad.api import display
from sweepgrad.drawing.diagram import diagram_of
from sweepgrad.drawing.graph import graph_of
from sweepgrad.drawing.page import page
from sweepgrad.drawing.pictures import dot, mermaid, svg
from sweepgrad.messages import escape, refuse, show, show_json, shown
from sweepgrad.messages.terminal import console

ANYTHING = st.text(st.characters(codec=None, categories=None), max_size=40)
# Of these, texts are more dangerous than of all characters.
SPECIAL = st.text(st.sampled_from("\\`*_{}[]()<>#+-=.!|~$&;:/@ \n\tab1w\x1b\u202e"), max_size=20)
PARTS: tuple[str, ...] = (
    "<b>",
    "<a href=x>",
    "</b>",
    "<!--",
    "-->",
    "[x](y)",
    "![x](y)",
    "[8](y)",
    "[8]",
    "&lt;",
    "&#60;",
    "&amp;",
    "~~x~~",
    "**",
)
PARTS += (
    "1. ",
    "12) ",
    "# ",
    "#",
    "> ",
    "- ",
    "+ ",
    "---",
    "==",
    "_x_",
    "x_y",
    "`",
    "``",
    "|",
    "\\",
    "a",
    " ",
    "\n",
    "$x$",
)
TEXTS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join) | SPECIAL | ANYTHING

ORDINARY = (
    "danceability",
    "best/val/accuracy",
    "model.hidden=[8, 4], optimizer.lr=0.01",
    "Größe (in cm)",
    "mean_of_x",
    "2026-11-28 13:00+00:00 by ada, of 2026-11-28_12-00-00",
    "-0.5",
    "R&B",
    "日本語",
    "می\u200cخواهم",  # Persian, with a zero-width non-joiner
    "ක්\u200dෂ",  # Sinhala, with a joiner after a virama
    "👩\u200d💻 ❤\ufe0f\u200d🔥 1\ufe0f\u20e3",
)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_names_stay_as_they_are(text):
    functions = (escape.terminal, escape.message, escape.plain, escape.in_markdown, escape.label)
    assert [function(text) for function in functions] == [text] * len(functions)
    assert escape.csv_cell(text) == text


def steers(character: str) -> bool:
    """Return whether a character is a control, turns the text, or cannot be encoded; not for line feeds."""
    if character in "\n\t":
        return False
    turns = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or (
        unicodedata.bidirectional(character) in turns
    )


def test_every_character_that_steers_a_terminal_is_escaped():
    for n in range(0x110000):
        if steers(chr(n)):
            assert escape.terminal(chr(n)).startswith("\\"), hex(n)
            assert escape.terminal(chr(n)).isascii()


HIDDEN = (
    "\xad\u034f\u115f\u1160\u17b4\u180b\u180e\u200b"
    "\u200c\u200d\u2060\u3164\ufe00\ufe0f\uffa0\U000e0061\U000e0101"
)


@pytest.mark.parametrize("character", HIDDEN, ids=[f"{ord(character):x}" for character in HIDDEN])
def test_two_names_that_look_the_same_are_shown_differently(character):
    assert escape.plain(f"acc{character}uracy") == f"acc{character.encode('unicode_escape').decode()}uracy"
    assert escape.plain(f"می{character}") == f"می{character.encode('unicode_escape').decode()}"  # at an end


@given(st.text(st.sampled_from("a1می👩❤\u200c\u200d\ufe0f\u20e3 ්"), max_size=8))
def test_joiners_are_escaped_once(text):
    assert escape.terminal(escape.terminal(text)) == escape.terminal(text)


@given(TEXTS)
def test_escaping_for_a_terminal_twice_changes_nothing(text):
    assert escape.terminal(escape.terminal(text)) == escape.terminal(text)
    assert "\n" not in escape.plain(text)
    assert not any(map(steers, escape.message(text)))


def test_a_later_line_of_a_message_does_not_look_like_a_message(capsys):
    with shown():
        logging.getLogger("sweepgrad.somewhere").info("column x\nkept in runs/y\n  \x1b[2Jindented")
    refuse("column x\nsweepgrad: all is well")
    show("a\x1b[31mb")
    out, err = capsys.readouterr()
    assert err == (
        "column x\n  kept in runs/y\n  \\x1b[2Jindented\nsweepgrad: column x\n  sweepgrad: all is well\n"
    )
    assert out == "a\\x1b[31mb\n"


@given(ANYTHING)
def test_json_is_printed_without_control_characters_and_reads_the_same(text):
    written = escape.json_text(json.dumps({text: text}, ensure_ascii=False))
    assert not any(map(steers, written))
    # A pair of lone surrogates is one character, as in all JSON.
    expected = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    assert json.loads(written) == {expected: expected}


def test_show_json_prints_del_as_json(capsys):
    show_json(json.dumps("\x7f"))
    assert json.loads(capsys.readouterr().out) == "\x7f"


class _Text(HTMLParser):
    """The text of a page, and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags = "", list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


MARKDOWN = (
    MarkdownIt("commonmark"),
    MarkdownIt("commonmark").enable(["table", "strikethrough"]),
    MarkdownIt("js-default", {"linkify": False}),
)


@pytest.mark.parametrize("renderer", MARKDOWN)
@given(text=TEXTS)
def test_markdown_renders_as_the_text_and_nothing_else(renderer, text):
    expected = " ".join(escape.plain(text).split())
    for written, tags in (
        (f"# A {escape.in_markdown(text)} z", {"h1"}),
        (f"# A {escape.in_markdown(text)}\n\nz", {"h1", "p"}),
        (f"a {escape.in_markdown(text)} z", {"p"}),
        (f"**a {escape.in_markdown(text)} z**", {"p", "strong"}),
        (f"a {escape.code(text)} z", {"p", "code"}),
    ):
        found = _Text(renderer.render(written))
        assert {*found.tags} <= tags
        assert " ".join(found.text.split()[1:-1]) == expected


def check_line_that_begins_with(text: str) -> None:
    for before, after in (("", " z"), ("", ""), ("y\n", ""), ("y\n", "\nz")):
        found = _Text(MARKDOWN[1].render(f"{before}{escape.in_markdown(text.strip())}{after}"))
        assert {*found.tags} <= {"p"}
        expected = f"{before} {escape.plain(text.strip())} {after}"
        assert " ".join(found.text.split()) == " ".join(expected.split())


@pytest.mark.parametrize("text", PARTS)
def test_a_line_of_markdown_may_begin_with_a_special_text(text):
    check_line_that_begins_with(text)
    check_line_that_begins_with(f"{text} b")


@given(text=TEXTS)
def test_a_line_of_markdown_may_begin_with_any_text(text):
    check_line_that_begins_with(text)


@given(st.lists(TEXTS, min_size=2, max_size=2))
def test_a_cell_of_a_markdown_table_is_one_cell(texts):
    cells = [escape.in_markdown(texts[0]), escape.code(texts[1])]
    written = f"| a | b | c |\n| --- | --- | --- |\n| {cells[0]} | {cells[1]} | end |\n"
    found = _Text(MARKDOWN[1].render(written))
    assert {*found.tags} - {"code"} == {"table", "thead", "tbody", "tr", "th", "td"}
    assert found.tags.count("td") == 3
    expected = [word for text in ("a", "b", "c", *map(escape.plain, texts), "end") for word in text.split()]
    assert found.text.split() == expected


@given(TEXTS)
def test_html_shows_the_text_and_has_no_other_elements(text):
    made = display.page(text, display.facts({text: text}), display.table([text], [[text]]))
    found = _Text(made)
    assert found.text == escape.terminal(text) * 5
    assert {*found.tags} == {"div", "strong", "table", "thead", "tbody", "tr", "th", "td"}


@given(TEXTS)
def test_csv_cells_are_neither_formulas_nor_several_cells(text):
    written = escape.csv_text([{"a": text, "b": 0.5}, {"a": "x"}])
    header, first, second = csv.reader(io.StringIO(written))
    assert (header, second, first[1]) == (["a", "b"], ["x", ""], "0.5")
    cell = first[0]
    try:
        float(cell)
    except ValueError:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))


def test_numbers_in_csv_stay_numbers():
    cells = ["-0.5", "+1e-3", "-inf", -2.5, None, "-1+cmd|' /C calc'!A0", "=1", " =1", "@x", "\tx", "\uff1d1"]
    assert [escape.csv_cell(cell) for cell in cells] == [
        *("-0.5", "+1e-3", "-inf", -2.5, None),
        *("'-1+cmd|' /C calc'!A0", "'=1", "' =1", "'@x", "'\\tx", "'\uff1d1"),
    ]


@pytest.mark.parametrize("text", ["$x$", "$$", "a $\\frac{1}{2}$ b", "\\$x$", "a\\b", "$\\broken{$"])
def test_matplotlib_draws_dollars(text):
    figure = Figure()
    drawn = figure.text(0, 0, escape.label(text))
    FigureCanvasAgg(figure).draw()
    assert drawn._preprocess_math(drawn.get_text()) == (text, False)  # type: ignore[attr-defined]


def test_labels_of_pictures_are_short():
    assert escape.label("a" * 10_000) == "a" * 59 + "…"


NAMES = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\x1b[2J\u202e\nb", "`$x$`")


@pytest.mark.parametrize("name", NAMES)
def test_drawings_show_labels_as_text(name):
    graph = graph_of((Value(2.0, label=name) * Value(3.0, label="b")).sum())
    diagram = diagram_of(graph)
    ET.fromstring(svg(diagram))
    found = _Text(page(graph))
    assert "img" not in found.tags
    assert found.tags.count("script") == 1
    for text in (svg(diagram), page(graph), mermaid(diagram), dot(diagram)):
        assert not any(map(steers, text))
    assert "<img" not in mermaid(diagram)
    assert "`" not in mermaid(diagram)
    assert "<script>" not in Value(2.0, label=name)._repr_html_()


def test_a_console_escapes_what_reaches_it_raw():
    out = io.StringIO()
    console(file=out, width=80).print("a\x1b]0;title\x07b", markup=False)
    assert out.getvalue() == "a\\x1b]0;titleb\n"  # rich itself removes BEL


def test_tags_are_short_and_have_no_control_characters():
    assert escape.tag("a\x00b\n" * 3, 10) == "a\\x00b\na\\x"
