"""The verb `sweepgrad continue`."""

import argparse
import logging

from sweepgrad.cli.verbs.stores import RUNS, add_store, store_of
from sweepgrad.errors import UserError, shortened

log = logging.getLogger(__name__)

HELP = "Train a run for more epochs."
DESCRIPTION = """\
Continue a run from its last epoch, as a new run. The result equals that of one run over all epochs, bit for
bit. Runs that Ctrl-C, patience or successive halving ended early can be continued too."""
EXAMPLES = """\
examples:
  sweepgrad continue 3f2a train.epochs=60
  sweepgrad continue runs/single/FOLDER train.epochs=60 train.patience=null"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "run_name", metavar="RUN", help="MLflow id of the run or its beginning, its name, or its folder"
    )
    verb.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="new train.epochs and train.patience")
    verb.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import tempfile
    from datetime import datetime
    from pathlib import Path

    from sweepgrad.cli.verbs.train import report
    from sweepgrad.config.schema import Tracking, store_uri
    from sweepgrad.sweeps.launch import continue_training
    from sweepgrad.verify.resume_training import continuation
    from sweepgrad.verify.sources import find

    changes = dict(map(_change, options.changes))
    with tempfile.TemporaryDirectory(prefix="sweepgrad-fetched-") as scratch:
        found = find(options.run_name, lambda: store_of(options), RUNS, Path(scratch))
        if len(found) > 1:
            raise UserError(f"{options.run_name} is a sweep of {len(found)} runs. Name one run")
        (kept,) = found
        tracking = Tracking(uri=store_uri(options.uri), experiment=options.experiment)
        todo = continuation(kept, changes, tracking)
    if not options.quiet:
        log.info(f"continuing {kept.name} after epoch {len(todo.start.history)}")
    folder = RUNS / "single" / f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    launched = continue_training(
        todo.config, folder, todo.start, todo.origin, options.changes, quiet=options.quiet
    )
    return report(launched, quiet=options.quiet)


def _change(word: str) -> tuple[str, object]:
    from sweepgrad.compose import yaml_files

    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{word}: not of the form KEY=VALUE, such as train.epochs=60")
    try:
        return key, yaml_files.parse(value, key)
    except UserError:
        raise UserError(f"{shortened(word)}: {shortened(value)!r} is not a valid value") from None
