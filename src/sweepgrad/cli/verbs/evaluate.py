"""`sweepgrad evaluate`."""

import argparse
import logging
import os

from sweepgrad.cli.verbs.stores import add_store, add_sweep, store_of
from sweepgrad.messages import show, show_json

log = logging.getLogger(__name__)

HELP = "Evaluate the whole procedure on many splits (nested cross-validation)."
DESCRIPTION = """\
Evaluate the whole procedure (sweep, selection, test) on each split of a sweep over splits. On each split the
chosen model is evaluated once on the test set. Prints the mean, the standard deviation and an interval."""
EXAMPLES = """\
examples:
  sweepgrad train -m model=wide,deep 'split.seed=range(1000,1020)'    repeated splits
  sweepgrad train -m model=wide,deep 'split.outer_fold=range(5)' \\
    'split.fold=range(4)' split.folds=4                               or nested cross-validation
  sweepgrad evaluate                                                  then evaluate the latest sweep"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    add_sweep(verb)
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV, one row per split")
    verb.add_argument(
        "--incomplete",
        action="store_true",
        help="choose among the finished runs although others did not finish",
    )
    verb.add_argument(
        "--again", action="store_true", help="evaluate a test set that was evaluated before; the page says so"
    )
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.api.evaluation import evaluate
    from sweepgrad.messages.terminal import console as console_of
    from sweepgrad.messages.terminal import text
    from sweepgrad.selection import evaluation_markdown

    done = evaluate(
        options.sweep, incomplete=options.incomplete, again=options.again, store=store_of(options)
    )
    if not done.n_evaluated:
        log.info("the test sets were evaluated before; this is the result of that evaluation")
    if options.json:
        show_json(json.dumps(done.to_json(), indent=1, allow_nan=False))
    elif options.csv:
        show(evaluation_markdown.as_csv(done), end="")
    else:
        console = console_of()
        if not console.is_terminal:
            console = console_of(width=200)
        console.print(evaluation_markdown.as_table(done))
        for line in (*evaluation_markdown.summary(done), *evaluation_markdown.warnings(done)):
            console.print(text(line), highlight=False, soft_wrap=not console.is_terminal)
        show(f"page: {os.path.relpath(done.folder / 'evaluation.md')}")
    return 0
