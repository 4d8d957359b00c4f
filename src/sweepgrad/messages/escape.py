"""Escape text from data for the place where it is shown: one function for each kind of place.

Names of columns and classes, levels, paths, error texts of libraries and what a store holds are written by
others. None of these functions changes an ordinary name: joiners stay within words of scripts that use them
and within emoji, where they show; elsewhere they only hide text. `plain` also escapes line breaks; all the
others build on it or on `terminal`, so none lets a control character through.
"""

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than tab and line feed, ESC among them
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # invisible, or change the direction of the text
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible too: soft hyphen, fillers
    "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # variation selectors
    "\ud800-\udfff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"  # cannot be encoded, or not in XML; tags
)
_CONTROLS = re.compile(f"[{_UNSEEN}]")
_CONTROLS_AND_BREAKS = re.compile(f"[\t\n{_UNSEEN}]")
# Scripts whose words have joiners (Arabic, Syriac, those of India, Khmer, Myanmar, Mongolian), and emoji.
_SCRIPT = (
    "[\u0620-\u065f\u066e-\u06d3\u06fa-\u07ff\u0840-\u08ff\u0900-\u0dff"
    "\u1000-\u109f\u1780-\u17b3\u17b6-\u17dd\u1820-\u18aa]"
)
_EMOJI = "[\u2190-\u2bff\U0001f000-\U0001faff]"
_SHOWS = re.compile(
    f"(?<={_SCRIPT})[\u200c\u200d](?={_SCRIPT})"
    f"|((?<={_EMOJI})|(?<={_EMOJI}\ufe0f))\u200d(?={_EMOJI})"
    f"|(?<={_EMOJI})[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
)
_LETTERS = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}

# Lists of numbers stay readable, since they are no links unless a bracket or a colon follows.
_MARKDOWN = re.compile(
    r"(?P<kept>\[\d[\d., ]*\](?![(\[:])|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))"
    r"|(?P<number>^\d{1,9})(?P<dot>[.)])(?=\s|$)"  # a numbered list
    r"|(?P<escaped>[\\`*_\[\]<>|~$@#]|&(?=#|\w+;)|:(?=//)|(?<=www)\.|^[+=-](?=[\s+=-]|$))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are full-width
_LONGEST_LABEL = 60


def _code(found: re.Match[str]) -> str:
    """Return how Python writes the character, such as `\\x1b`; the character itself where it shows."""
    if _SHOWS.match(found.string, found.start()):
        return found[0]
    n = ord(character := found[0])
    if character in _LETTERS:
        return _LETTERS[character]
    return f"\\x{n:02x}" if n < 0x100 else f"\\u{n:04x}" if n < 0x10000 else f"\\U{n:08x}"


def _with_backslash(found: re.Match[str]) -> str:
    return found["kept"] or f"{found['number'] or ''}\\{found['dot'] or found['escaped']}"


def terminal(text: str) -> str:
    """Escape characters that steer a terminal or hide text, but not line feeds and tabs."""
    return _CONTROLS.sub(_code, text)


def message(text: str) -> str:
    """Escape a message for a terminal; its later lines are indented, so that none looks like a message."""
    first, *others = terminal(text).split("\n")
    return "\n".join([first, *(f"  {line}" if line[:1].strip() else line for line in others)])


def plain(text: str) -> str:
    """Escape text for one line of a terminal or a cell of a table."""
    return _CONTROLS_AND_BREAKS.sub(_code, text)


def in_markdown(text: str) -> str:
    """Escape text for Markdown, in a sentence, a heading or a cell of a table."""
    return _MARKDOWN.sub(_with_backslash, plain(text))


def code(text: str) -> str:
    """Return text as a code span of Markdown, or escaped without one, since a span would show backslashes."""
    return span(in_markdown(text))


def span(escaped: str) -> str:
    """Return the same for text that `in_markdown` has escaped."""
    return escaped if "\\" in escaped or not escaped.strip() else f"`{escaped}`"


def all_in_markdown(value: Any) -> Any:
    """Escape the keys and the texts of a mapping, and of what it holds, for Markdown."""
    if isinstance(value, str):
        return in_markdown(value)
    if isinstance(value, Mapping):
        return {all_in_markdown(key): all_in_markdown(each) for key, each in value.items()}
    return [*map(all_in_markdown, value)] if isinstance(value, list | tuple) else value


def markup(text: str) -> str:
    """Escape text for HTML and SVG, in an element or a quoted attribute."""
    return html.escape(terminal(text))


def label(text: str) -> str:
    """Escape text for a picture of Matplotlib, which takes dollars for mathematics; shorten long text."""
    shown = plain(text)
    shown = shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 1]}…"
    return shown.replace("$", "\\$")


def csv_cell(value: object) -> object:
    """Return a value for a cell of CSV, text so that spreadsheets do not take it for a formula.

    Numbers stay as they are, also as text. An apostrophe is put before other text that begins as a formula.
    """
    if not isinstance(value, str):
        return value
    shown = plain(value)
    begins = value.lstrip().startswith(_FORMULA) or value[:1] in ("\t", "\r", "\n")
    return f"'{shown}" if begins and not _NUMBER.fullmatch(value) else shown


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return records as CSV; the keys of the first are the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, rows[0]))
    writer.writerows([csv_cell(row.get(key, "")) for key in rows[0]] for row in rows)
    return text.getvalue()


def json_text(written: str) -> str:
    """Escape what JSON may hold raw within its texts, such as DEL; the result is JSON of the same value."""
    return _CONTROLS.sub(_code_in_json, written)


def _code_in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def tag(text: str, longest: int) -> str:
    """Return text for a tag or a param of MLflow: without control characters, and not longer than allowed."""
    return terminal(text)[:longest]
