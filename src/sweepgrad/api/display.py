"""HTML of results, for notebooks."""

from collections.abc import Mapping, Sequence

from sweepgrad.messages.escape import markup


def page(title: str, *parts: str) -> str:
    """Return a heading and what follows it. The parts are HTML."""
    return f"<div><strong>{markup(title)}</strong>{''.join(parts)}</div>"


def facts(values: Mapping[str, object]) -> str:
    """Return a table of two columns: names and values."""
    rows = (
        f"<tr><th style='text-align:left'>{markup(name)}</th>{_cell(value)}</tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], more: int = 0) -> str:
    """Return a table, and a line that says how many rows are left out. Short rows end in empty cells."""
    head = "".join(f"<th>{markup(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, _padded(row, len(columns))))}</tr>" for row in rows)
    rest = f"<p>… and {more} more</p>" if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def paragraphs(lines: Sequence[str]) -> str:
    """Return a paragraph for each line."""
    return "".join(f"<p>{markup(line)}</p>" for line in lines)


def _padded(row: Sequence[object], n: int) -> list[object]:
    return [*row, *[""] * (n - len(row))]


def _cell(value: object) -> str:
    return f"<td style='text-align:left'>{markup(value if isinstance(value, str) else _text(value))}</td>"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def preformatted(text: str) -> str:
    """Return text in a fixed-width font."""
    return f"<pre>{markup(text)}</pre>"
