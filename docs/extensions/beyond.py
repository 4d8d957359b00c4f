"""Replace links out of docs/ by their text: the site has no pages for files of the repository."""

import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def _without_outside_links(app: Sphinx, page: str, source: list[str]) -> None:
    here = Path(app.srcdir, page).parent

    def without(match: re.Match[str]) -> str:
        inside = (here / match[2]).resolve().is_relative_to(Path(app.srcdir).resolve())
        return match[0] if inside else match[1]

    source[0] = _LINK.sub(without, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _without_outside_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
