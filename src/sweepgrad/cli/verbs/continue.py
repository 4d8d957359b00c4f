"""`sweepgrad continue`."""

import argparse
import logging

from sweepgrad.cli.verbs.stores import RUNS, add_store, store_of
from sweepgrad.errors import UserError

log = logging.getLogger(__name__)

HELP = "train a run for more epochs, as if straight through"
DESCRIPTION = """\
Goes on from where a run ended, as a new run on its own, and ends with the bits of a run that was trained
straight through. Also from a run that Ctrl-C, patience or halving ended early."""
EXAMPLES = """\
examples:
  sweepgrad continue 3f2a train.epochs=60
  sweepgrad continue runs/single/FOLDER train.epochs=60 train.patience=null
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "which", metavar="RUN", help="its id in MLflow or the beginning, its name, or its folder"
    )
    verb.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="train.epochs and train.patience")
    verb.add_argument("-q", "--quiet", action="store_true", help="say nothing but what went wrong")
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import tempfile
    from datetime import datetime
    from pathlib import Path

    from sweepgrad.cli.verbs.train import report
    from sweepgrad.config.schema import Tracking, store_uri
    from sweepgrad.sweep.launch import continue_training
    from sweepgrad.verify.resume_training import continuation
    from sweepgrad.verify.sources import find

    changes = dict(map(_change, options.changes))
    with tempfile.TemporaryDirectory(prefix="sweepgrad-fetched-") as scratch:
        found = find(options.which, lambda: store_of(options), RUNS, Path(scratch))
        if len(found) > 1:
            raise UserError(f"{options.which} is a sweep of {len(found)} runs: name the one that is to go on")
        (kept,) = found
        tracking = Tracking(uri=store_uri(options.uri), experiment=options.experiment)
        todo = continuation(kept, changes, tracking)
    if not options.quiet:
        log.info(f"goes on from {kept.name} after epoch {len(todo.start.history)}")
    folder = RUNS / "single" / f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    launched = continue_training(
        todo.config, folder, todo.start, todo.origin, options.changes, quiet=options.quiet
    )
    return report(launched, quiet=options.quiet)


def _change(word: str) -> tuple[str, object]:
    import yaml

    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{word}: is no KEY=VALUE, such as train.epochs=60")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"{word}: {value!r} is no value") from None
