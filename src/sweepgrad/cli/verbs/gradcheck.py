"""The verb `sweepgrad gradcheck`."""

import argparse

from sweepgrad.cli.verbs.overrides import add_overrides, search_of
from sweepgrad.messages import show, show_json

HELP = "Compare the gradients of a run with finite differences."
DESCRIPTION = """\
Compare the gradient of the loss with central differences, entry by entry, for each network of a command
line, and print the largest error. Exit code: 0 all agree, 1 one does not."""
EXAMPLES = """\
examples:
  sweepgrad gradcheck model=wide,deep model.dropout=0.5 engine.dtype=float64,float32"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON")
    add_overrides(verb)


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.training.gradcheck import gradcheck

    reports = []
    for report in gradcheck(options.overrides, search=search_of(options)):
        reports.append(report)
        if not options.json:
            show(report, flush=True)
    if options.json:
        show_json(json.dumps([report.to_json() for report in reports], indent=1))
    return 0 if all(report.passed for report in reports) else 1
