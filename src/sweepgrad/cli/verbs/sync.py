"""`sweepgrad sync`."""

import argparse
from pathlib import Path

from sweepgrad.cli.verbs.stores import RUNS
from sweepgrad.errors import UserError

HELP = "send runs to MLflow that could not be sent when they were made"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("runs", nargs="?", type=Path, default=RUNS, help="folder to look in (default: runs)")


def run(options: argparse.Namespace) -> int:
    from sweepgrad.tracking.sync import sync

    if not options.runs.is_dir():
        raise UserError(f"{options.runs.absolute()} is no folder")
    print(f"{sync(options.runs)} runs sent")
    return 0
