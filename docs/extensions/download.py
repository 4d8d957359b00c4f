"""Link the notebook of a page, where there is one, before its first section.

The link is not in the Markdown: a notebook must not offer itself.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

_SECTION = re.compile(r"^## ", re.MULTILINE)


def _with_link(app: Sphinx, page: str, source: list[str]) -> None:
    place = Path(page)
    notebook = place.parent / "notebooks" / f"{place.name}.ipynb"
    if Path(app.srcdir, notebook).is_file():
        link = f"{{download}}`This page as a notebook <notebooks/{notebook.name}>`\n\n"
        source[0] = _SECTION.sub(lambda match: link + match[0], source[0], count=1)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _with_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
