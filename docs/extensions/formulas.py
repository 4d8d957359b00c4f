"""Formulas as SVG when the site is built: the reader needs no network, no script and no font.

ziamath draws them with the outlines of STIX Two Math. MathML, which browsers know by themselves, would need
a mathematical font on the reader's machine to look as it should; KaTeX and MathJax need scripts and fonts
beside the pages. The formula's LaTeX is its label, which screen readers read.
"""

import re
from html import escape
from typing import Any, NoReturn

import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ziamath.config.svg2 = False  # every formula by itself, without ids that a page would have twice
_INLINE, _BLOCK = 17.0, 18.0  # pixels, for text of 16
_TAG = re.compile(r"\\tag\{(.*?)\}")
_logger = logging.getLogger(__name__)


def svg(latex: str, *, inline: bool) -> tuple[str, float]:
    """The picture of a formula, in the colour of the text, and how far below the baseline it reaches."""
    drawn = ziamath.Latex(latex, size=_INLINE if inline else _BLOCK, inline=inline, color="currentColor")
    return drawn.svg().replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1), drawn.getyofst()


def _visit_inline(translator: Any, node: nodes.Element) -> NoReturn:
    latex = node.astext()
    picture, below = _drawn(latex, node, inline=True)
    translator.body.append(
        f'<span class="formula" role="img" aria-label="{escape(latex)}"'
        f' style="vertical-align: {below:.2f}px">{picture}</span>'
    )
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.Element) -> NoReturn:
    latex = node.astext().strip()
    tag = _TAG.search(latex)
    picture, _ = _drawn(_TAG.sub("", latex), node, inline=False)
    number = f'<span class="formula-number">({escape(tag[1])})</span>' if tag else ""
    translator.body.append(
        f'<div class="formula-block" role="img" aria-label="{escape(latex)}" tabindex="0">'
        f'<div class="formula-picture">{picture}</div>{number}</div>'
    )
    raise nodes.SkipNode


def _drawn(latex: str, node: nodes.Element, *, inline: bool) -> tuple[str, float]:
    try:
        return svg(latex, inline=inline)
    except Exception as error:  # noqa: BLE001 - whatever a formula makes the library raise, the place is told
        _logger.warning("%s: cannot be drawn: %r", latex, error, location=node)
        return escape(latex), 0.0


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("ziamath", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
