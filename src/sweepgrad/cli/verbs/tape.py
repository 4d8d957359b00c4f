"""`sweepgrad tape`."""

import argparse

from sweepgrad.cli.verbs.overrides import add_overrides, search_of

HELP = "show the instructions that a run replays at every step"
DESCRIPTION = "Show the instructions that a run replays at every step, a tape for each architecture."
EXAMPLES = "example: sweepgrad tape model=wide,deep optimizer=adam train.clip=1"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--evaluation", action="store_true", help="what is replayed after each epoch instead")
    add_overrides(verb)


def run(options: argparse.Namespace) -> int:
    from sweepgrad.cli.listing import listing

    print(listing(options.overrides, evaluation=options.evaluation, search=search_of(options)))
    return 0
