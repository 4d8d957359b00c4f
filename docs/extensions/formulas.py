"""Draw formulas as SVG while the site is built, so that reading it needs no network, script or font.

ziamath draws them with the outlines of STIX Two Math. MathML would need a mathematical font on the reader's
machine; KaTeX and MathJax would need scripts and fonts. The LaTeX source is the label for screen readers.
"""

import re
from html import escape
from typing import Any, NoReturn

import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ziamath.config.svg2 = False  # without ids, which would not be unique on a page
_INLINE, _BLOCK = 17.0, 18.0  # pixels, for text of 16
_TAG = re.compile(r"\\tag\{(.*?)\}")
_BIG = re.compile(r"(\\[bB]igg?[lrm]?)\s*(\\[lr]?[vV]ert\b|\\[lr]angle\b|\\\|)")
_FENCES = {
    **dict.fromkeys(("\\lVert", "\\rVert", "\\Vert", "\\|"), "‖"),
    **dict.fromkeys(("\\lvert", "\\rvert", "\\vert"), "|"),
    "\\langle": "⟨",
    "\\rangle": "⟩",
}
_logger = logging.getLogger(__name__)


def svg(latex: str, *, inline: bool) -> tuple[str, float]:
    """Return the SVG of a formula, in the colour of the text, and its depth below the baseline in pixels.

    Raises:
        ValueError: it has a command that is not known, which ziamath would draw as text.
    """
    latex = _BIG.sub(lambda match: match[1] + _FENCES[match[2]], latex)  # which are unknown after \\big
    if unknown := re.search(r"\\\w+|\\\W", ziamath.tex.tex2mml(latex, inline=inline)):
        raise ValueError(f"unknown command {unknown[0]}")
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
    except Exception as error:  # noqa: BLE001 - ziamath raises many types; the warning names the place
        _logger.warning("cannot draw the formula %s: %r", latex, error, location=node)
        return escape(latex), 0.0


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("ziamath", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
