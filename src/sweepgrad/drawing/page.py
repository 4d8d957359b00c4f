"""An HTML page that steps through the backward pass node by node, without other files.

The page computes other expressions too, which a reader types in: `steps.js` evaluates them, `steps_view.js` draws them.
"""

import json
from dataclasses import asdict, dataclass, replace
from importlib import resources

from sweepgrad.drawing.diagram import diagram_of
from sweepgrad.drawing.graph import Graph, shown
from sweepgrad.drawing.pictures import svg
from sweepgrad.drawing.style import Theme
from sweepgrad.drawing.text import passed_back
from sweepgrad.messages.escape import markup

THEME = Theme(
    "page", "", "var(--steps-ink)", "var(--steps-faint)", "var(--steps-surface)",
    ("var(--steps-given)", "var(--steps-result)"),
)  # fmt: skip
"""The colours of `steps.css`, which follow the page."""


@dataclass(frozen=True)
class Source:
    """An expression and its values as typed: log(a * b) and a=2 b=3."""

    expression: str
    values: str


@dataclass(frozen=True)
class Step:
    """A step of the backward pass: the node, the edges to it, and the gradients of all nodes after it, as text."""

    node: int
    edges: list[int]
    grads: list[str]


def fragment(graph: Graph, source: Source | None = None, prefix: str = "backward-") -> str:
    """Return HTML with the picture and the steps, for any page; without JavaScript the steps are a list.

    Arguments:
        source: the expression that the graph is of, which a form shows for the reader to change; no form
            without it.
        prefix: of all ids, so that a page can hold several.
    """
    items, steps = [], []
    grads = [shown(0 * node.grad) for node in graph.nodes]
    grads[-1] = shown(graph.nodes[-1].grad)
    sums = [0 * node.grad for node in graph.nodes]
    for step in graph.backward:
        node, edges = graph.nodes[step], [e for e in range(len(graph.edges)) if graph.edges[e].child == step]
        for e in edges:
            edge = graph.edges[e]
            if edge.share is not None:
                sums[edge.parent] = sums[edge.parent] + edge.share
                grads[edge.parent] = shown(sums[edge.parent])
        steps.append(Step(step, edges, list(grads)))
        lines = "<br>".join(markup(line) for line in passed_back(graph, step))
        passed = (
            f"It passes back<br>{lines}" if lines else "It passes nothing back: its parents are constants."
        )
        items.append(
            f"<li><b>{markup(node.name)} = {markup(graph.formula(step))}</b>. Its gradient is"
            f" {markup(shown(node.grad))}. {passed}</li>"
        )
    diagram = diagram_of(graph)
    # Half-way through, a gradient may be longer than at the end.
    letters = [
        0 if node.constant else max(len(f"grad {step.grads[n]}") for step in steps)
        for n, node in enumerate(graph.nodes)
    ]
    roomy = [replace(item, letters=least) for item, least in zip(diagram.items, letters, strict=True)]
    drawn = svg(replace(diagram, items=tuple(roomy)), THEME, prefix)
    data = json.dumps([asdict(step) for step in steps], ensure_ascii=False).replace("<", "\\u003c")
    parts = [
        f"<style>\n{_file('steps.css')}</style>",
        f'<div id="{prefix}walk" class="steps">',
        *([] if source is None else [_form(source, prefix)]),
        f'<div id="{prefix}bar" class="steps-bar" role="group" aria-label="steps" hidden>',
        f'<button type="button" id="{prefix}back" aria-label="step back">◀ back</button>',
        f'<button type="button" id="{prefix}next" aria-label="next step">next ▶</button>',
        f'<button type="button" id="{prefix}again">restart</button>',
        f'<span id="{prefix}where" class="steps-where" aria-live="polite"></span>\n</div>',
        '<div class="steps-parts">\n<ol aria-live="polite">',
        *items,
        f'</ol>\n<div id="{prefix}picture" class="steps-picture">\n{drawn}</div>',
        "</div>\n</div>",
        f"<script>\n(() => {{\n{_file('steps.js')}\n{_file('steps_view.js')}\nstart({json.dumps(prefix)}, {data});\n}})();\n</script>",
    ]
    return "\n".join(parts) + "\n"


def page(graph: Graph, source: Source | None = None) -> str:
    """Return a complete HTML page."""
    name = markup(graph.nodes[-1].name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>The backward pass of {name}</title>\n"
        "<style>\n:root { color-scheme: light dark; }\n"
        "body { max-width: 62em; margin: 0 auto; padding: 0.5em 1em; font: 16px/1.5 system-ui, sans-serif;"
        " background: #ffffff; color: #1f2933; }\n"
        "@media (prefers-color-scheme: dark) { body { background: #131416; color: #e4e7eb; } }\n"
        "h1 { font-size: 1.5em; }\n</style>\n"
        f"</head>\n<body>\n<h1>The backward pass of {name}</h1>\n"
        "<p>Each box has the value from the forward pass and the gradient that has arrived so far. Each arrow has"
        " the partial derivative of its head. The keys ← and → step through the backward pass.</p>\n"
        f"{fragment(graph, source)}</body>\n</html>\n"
    )


def _form(source: Source, prefix: str) -> str:
    """Return the form for an expression and its values; it needs JavaScript and is hidden without it."""
    typed = 'type="text" spellcheck="false" autocapitalize="off" autocomplete="off"'
    return "\n".join(
        [
            f'<form id="{prefix}form" class="steps-form" hidden>',
            f'<label for="{prefix}expression">expression</label>',
            f'<input id="{prefix}expression" {typed} value="{markup(source.expression)}">',
            f'<label for="{prefix}values">values</label>',
            f'<input id="{prefix}values" class="steps-values" {typed} value="{markup(source.values)}">',
            f'<button type="submit">draw</button>\n<p id="{prefix}problem" class="steps-problem" role="alert"></p>\n</form>',
        ]
    )


def _file(name: str) -> str:
    return resources.files("sweepgrad.drawing").joinpath(name).read_text(encoding="utf-8")
