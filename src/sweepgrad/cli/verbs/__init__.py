"""The verbs of the `sweepgrad` command, one per module: its arguments and its output."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

SECTIONS = {
    "Train": ("check", "train", "continue"),
    "Choose and evaluate": ("leaderboard", "finalize", "evaluate"),
    "Inspect and verify": ("ui", "verify", "tape", "gradcheck", "draw", "lab"),
    "Other": ("sync", "completion"),
}
"""The verbs by the headings of `sweepgrad --help`."""

VERBS = tuple(name for names in SECTIONS.values() for name in names if name != "train")
"""All verbs but `train`, whose arguments Hydra parses."""

TRAIN_HELP = "Train a network, or sweep over many configurations."


class Verb(Protocol):
    """The contents of a verb's module.

    Attributes:
        HELP: one line for `sweepgrad --help`.
        DESCRIPTION: what the verb does and its exit codes.
        EXAMPLES: command lines that work.
    """

    HELP: str
    DESCRIPTION: str
    EXAMPLES: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def verb(name: str) -> Verb:
    """Return the module of a verb."""
    return cast(Verb, import_module(f"sweepgrad.cli.verbs.{name}"))
