"""The verb `sweepgrad sync`."""

import argparse
from pathlib import Path

from sweepgrad.cli.verbs.stores import RUNS
from sweepgrad.errors import UserError
from sweepgrad.messages import show

HELP = "Send runs to MLflow that could not be sent when they were trained."
DESCRIPTION = """\
Send finished runs to MLflow that are on disk only, because the MLflow server could not be reached."""
EXAMPLES = """\
examples:
  sweepgrad sync
  sweepgrad sync /path/to/runs"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("runs", nargs="?", type=Path, default=RUNS, help="folder of the runs (default: runs)")


def run(options: argparse.Namespace) -> int:
    from sweepgrad.tracking.sync import sync

    if not options.runs.is_dir():
        raise UserError(f"{options.runs.absolute()}: there is no such folder")
    show(f"{sync(options.runs)} runs sent")
    return 0
