"""An HTML page that steps through the backward pass node by node, without other files."""

import json

from sweepgrad.drawing.graph import Graph, shown
from sweepgrad.drawing.pictures import svg
from sweepgrad.drawing.text import passed_back
from sweepgrad.messages.escape import markup

_STYLE = """\
.PREFIXwalk { max-width: 100%; overflow-x: auto; font-family: system-ui, sans-serif; }
.PREFIXwalk svg { max-width: none; }
.PREFIXwalk button { font: inherit; padding: 0.2em 0.9em; margin: 0.4em 0.3em 0.4em 0; }
.PREFIXwalk ol { padding-left: 1.6em; }
.PREFIXwalk.stepping li { display: none; }
.PREFIXwalk.stepping li.now { display: list-item; }
.PREFIXwalk g.now > rect { stroke: #c2410c; stroke-width: 3; }
.PREFIXwalk g.now > path { stroke: #c2410c; stroke-width: 2.5; }
.PREFIXwalk g.now > text { fill: #c2410c; }
"""

# Each step shows the sum of the gradients that have been passed back to each node so far.
_SCRIPT = """\
(() => {
  const walk = document.getElementById("PREFIXwalk"), steps = STEPS;
  const at = id => document.getElementById("PREFIX" + id);
  const bar = document.createElement("div"), where = document.createElement("span");
  where.setAttribute("aria-live", "polite");
  const button = (text, move) => {
    const made = document.createElement("button");
    made.type = "button"; made.textContent = text;
    made.onclick = () => show(now + move());
    bar.append(made);
  };
  let now = 0;
  function show(step) {
    now = Math.max(0, Math.min(steps.length - 1, step));
    walk.querySelectorAll(".now").forEach(part => part.classList.remove("now"));
    const {node, edges, grads} = steps[now];
    at("node-" + node).classList.add("now");
    edges.forEach(edge => at("edge-" + edge).classList.add("now"));
    grads.forEach((text, n) => { at("grad-" + n).textContent = "grad " + text; });
    walk.querySelectorAll("li")[now].classList.add("now");
    where.textContent = ` step ${now + 1} of ${steps.length}`;
  }
  button("◀ back", () => -1);
  button("next ▶", () => 1);
  button("start again", () => -now);
  bar.append(where);
  walk.insertBefore(bar, walk.firstChild);
  walk.tabIndex = 0;
  walk.addEventListener("keydown", event => {
    const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (move) { show(now + move); event.preventDefault(); }
  });
  walk.classList.add("stepping");
  show(0);
})();
"""


def fragment(graph: Graph, prefix: str = "backward-") -> str:
    """Return HTML with the picture and the steps, for any page; without JavaScript the steps are a list.

    Arguments:
        prefix: of all ids and classes, so that a page can hold several.
    """
    items, steps = [], []
    result = graph.nodes[-1]
    grads = [shown(0 * node.grad) for node in graph.nodes]
    grads[-1] = shown(result.grad)
    sums = [0 * node.grad for node in graph.nodes]
    for step in graph.backward:
        node, edges = graph.nodes[step], [e for e in range(len(graph.edges)) if graph.edges[e].child == step]
        for e in edges:
            edge = graph.edges[e]
            if edge.share is not None:
                sums[edge.parent] = sums[edge.parent] + edge.share
                grads[edge.parent] = shown(sums[edge.parent])
        steps.append({"node": step, "edges": edges, "grads": list(grads)})
        operands = ", ".join(graph.nodes[graph.edges[e].parent].name for e in edges)
        lines = "<br>".join(markup(line) for line in passed_back(graph, step))
        items.append(
            f"<li><b>{markup(node.name)} = {markup(node.operation)} of {markup(operands)}</b>. Its gradient is"
            f" {markup(shown(node.grad))}. It passes back<br>{lines}</li>"
        )
    script = _SCRIPT.replace("PREFIX", prefix).replace(
        "STEPS", json.dumps(steps, ensure_ascii=False).replace("<", "\\u003c")
    )
    return (
        f"<style>\n{_STYLE.replace('PREFIX', prefix)}</style>\n"
        f'<div id="{prefix}walk" class="{prefix}walk">\n{svg(graph, prefix)}<ol>\n'
        + "\n".join(items)
        + "\n</ol>\n</div>\n"
        f"<script>\n{script}</script>\n"
    )


def page(graph: Graph) -> str:
    """Return a complete HTML page."""
    name = markup(graph.nodes[-1].name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>The backward pass of {name}</title>\n</head>\n<body>\n<h1>The backward pass of {name}</h1>\n"
        f"{fragment(graph)}</body>\n</html>\n"
    )
