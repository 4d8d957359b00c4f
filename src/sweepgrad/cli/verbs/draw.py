"""The verb `sweepgrad draw`."""

import argparse
import logging
from pathlib import Path

from sweepgrad.messages import show, show_json

log = logging.getLogger(__name__)


HELP = "Draw an expression or a network as a graph with values and gradients."
DESCRIPTION = """\
Draw a computation as a graph, with the value and the gradient of each node and the local derivative on each
edge. Without -o, print a table with the chain rule written out. Without an expression, draw
x3 = x1 + x2; x4 = x1 + x3; x5 = x3 * x4; L = log(x5) at x1 = 1 and x2 = 0."""
EXAMPLES = """\
examples:
  sweepgrad draw                                    the table of the example
  sweepgrad draw 'log(a * b + exp(c))' a=2 b=3 c=0  an expression
  sweepgrad draw -o graph.svg -o graph.png          pictures; .mmd is Mermaid, .dot Graphviz
  sweepgrad draw -o steps.html                      a page that shows the backward pass step by step
  sweepgrad draw --network data=simulated 'model.hidden=[2]' -o network.svg"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "arguments",
        nargs="*",
        metavar="EXPRESSION | NAME=NUMBER",
        help="expression to draw, and values of its variables",
    )
    verb.add_argument(
        "-o",
        "--output",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="file to draw to; its ending is the format: .svg .png .mmd .dot .html",
    )
    verb.add_argument(
        "--network",
        action="store_true",
        help="draw the loss of a run; the arguments are KEY=VALUE, as for train",
    )
    verb.add_argument("--rows", type=int, default=1, help="rows of the table, with --network (default: 1)")
    verb.add_argument("--json", action="store_true", help="print nodes and edges as JSON")
    verb.add_argument("--config-dir", metavar="FOLDER", help="folder with more YAML files, as for train")


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.autograd.value import DomainError
    from sweepgrad.cli.verbs.overrides import search_of
    from sweepgrad.drawing.expressions import assignment_example, numbers, parsed
    from sweepgrad.drawing.graph import graph_of
    from sweepgrad.drawing.text import table
    from sweepgrad.errors import UserError
    from sweepgrad.training import loss_graph

    loss_graph.check(options.output)
    if options.rows < 1:
        raise UserError(f"--rows {options.rows}: should be 1 or more")
    if options.network:
        output = loss_graph.loss_of(options.arguments, options.rows, search_of(options))
    elif options.arguments:
        text, *values = options.arguments
        output = parsed(text, numbers(values))
    else:
        output = assignment_example()
    try:
        graph = graph_of(output)
    except DomainError as error:
        raise UserError(f"a gradient does not exist: {error}") from None
    for file in options.output:
        try:
            loss_graph.write(graph, file)
        except OSError as error:
            raise UserError(f"-o {file}: {error.strerror}") from None
        log.info(f"{file}: {len(graph.nodes)} nodes, {len(graph.edges)} edges")
    if options.json:
        show_json(json.dumps(graph.to_json(), indent=1))
    elif not options.output:
        show(table(graph))
    return 0
