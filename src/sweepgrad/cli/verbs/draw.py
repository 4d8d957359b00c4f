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
x3 = x1 + x2; x4 = x1 + x3; x5 = x3 * x4; L = log(x5) at x1 = 1 and x2 = 0. With --network, draw a box for
each layer of a run's network, or with --full the graph of its loss."""
EXAMPLES = """\
examples:
  sweepgrad draw                                    the table of the example
  sweepgrad draw 'log(a * b + exp(c))' a=2 b=3 c=0  an expression
  sweepgrad draw -o graph.svg -o graph.png          pictures; .mmd is Mermaid, .dot Graphviz
  sweepgrad draw -o steps.html                      a page that shows the backward pass step by step
  sweepgrad draw --network model=wide -o network.svg           a box a layer
  sweepgrad draw --network --full 'model.hidden=[2]' -o graph.svg
                                                    a box an operation"""


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
    verb.add_argument("--force", action="store_true", help="overwrite files of -o that exist")
    verb.add_argument(
        "--network",
        action="store_true",
        help="draw the network of a run, a box a layer; the arguments are KEY=VALUE, as for train",
    )
    verb.add_argument(
        "--full", action="store_true", help="draw every operation of the network's loss, with --network"
    )
    verb.add_argument("--rows", type=int, default=1, help="rows of the table, with --network (default: 1)")
    verb.add_argument("--json", action="store_true", help="print nodes and edges as JSON")
    verb.add_argument("--config-dir", metavar="FOLDER", help="folder with more YAML files, as for train")


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.autograd.value import DomainError
    from sweepgrad.cli.verbs.overrides import search_of
    from sweepgrad.drawing.diagram import diagram_of
    from sweepgrad.drawing.expressions import ASSIGNMENT, ASSIGNMENT_AT, graph_at, numbers
    from sweepgrad.drawing.page import Source
    from sweepgrad.drawing.text import listing, table
    from sweepgrad.errors import UserError
    from sweepgrad.training import loss_graph

    loss_graph.check(options.output, force=options.force)
    if options.rows < 1:
        raise UserError(f"--rows {options.rows}: should be 1 or more")
    if options.full and not options.network:
        raise UserError("--full: draws the loss of a network; add --network")
    pages = [file for file in options.output if file.suffix == ".html"]
    if options.network and not options.full and pages:
        raise UserError(f"-o {pages[0]}: layers have no steps; add --full for a page of the backward pass")
    graph = source = None
    try:
        if options.network:
            loss = loss_graph.loss_of(options.arguments, options.rows, search_of(options))
            if options.full:
                graph = loss.graph
            diagram = diagram_of(graph) if graph else loss.layers
        else:
            text, *values = options.arguments or (ASSIGNMENT, *ASSIGNMENT_AT)
            _, graph = graph_at(text, numbers(values))
            source, diagram = Source(text, " ".join(values)), diagram_of(graph)
    except DomainError as error:
        raise UserError(f"a gradient does not exist: {error}") from None
    for file in options.output:
        try:
            if graph and file in pages:
                loss_graph.write_page(graph, source, file)
            else:
                loss_graph.write(diagram, file)
        except OSError as error:
            raise UserError(f"-o {file}: {error.strerror}") from None
        log.info(f"{file}: {len(diagram.items)} nodes, {len(diagram.links)} edges")
    if options.json:
        show_json(json.dumps((graph or diagram).to_json(), indent=1))
    elif not options.output:
        show(table(graph) if graph else listing(diagram))
    return 0
