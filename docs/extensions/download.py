"""Link the notebook of a page, where there is one, before its first section or at its end.

The link is not in the Markdown: a notebook must not offer itself.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

_SECTION = re.compile(r"^## ", re.MULTILINE)


def _with_link(app: Sphinx, page: str, source: list[str]) -> None:
    here = Path(page)
    notebook = here.parent / "notebooks" / f"{here.name}.ipynb"
    if Path(app.srcdir, notebook).is_file():
        link = f"{{download}}`This page as a notebook <notebooks/{notebook.name}>`\n\n"
        section = _SECTION.search(source[0])
        place = section.start() if section else len(source[0])
        source[0] = f"{source[0][:place].rstrip()}\n\n{link}{source[0][place:]}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _with_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
