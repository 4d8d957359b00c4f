"""Standard output, with text escaped: the only module that makes rich's consoles and texts.

A test finds other uses of `print`, `Console` and `Text`.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from sweepgrad.messages import escape


class _Escaping(Console):
    """Escapes control characters in all that is printed, also in text that was not made by `text`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape.terminal(segment.text), segment.style)


def console(**settings: Any) -> Console:
    """Return a console, with the settings of rich's `Console`."""
    return _Escaping(**settings)


def text(content: str, style: str = "") -> Text:
    """Return text from data for a cell, a title or a line, without markup and line breaks."""
    return Text(escape.plain(content), style=style)


def lines(content: Iterable[str]) -> Text:
    """Return several lines of text from data."""
    return Text("\n".join(map(escape.plain, content)))
