"""Links that lead out of docs/, to files of the repository: the site has no such pages, and names them."""

import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def _named(app: Sphinx, page: str, source: list[str]) -> None:
    here = Path(app.srcdir, page).parent

    def without(match: re.Match[str]) -> str:
        inside = (here / match[2]).resolve().is_relative_to(Path(app.srcdir).resolve())
        return match[0] if inside else match[1]

    source[0] = _LINK.sub(without, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _named)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
