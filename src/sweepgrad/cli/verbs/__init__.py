"""The verbs of the `sweepgrad` command, one a module: its arguments, and what it prints."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

VERBS = (
    "check",
    "leaderboard",
    "finalize",
    "evaluate",
    "verify",
    "continue",
    "ui",
    "tape",
    "draw",
    "gradcheck",
    "lab",
    "sync",
    "completion",
)
"""In the order of --help, where `train`, which Hydra reads, stands before them."""


class Verb(Protocol):
    """What a module of a verb has, besides DESCRIPTION and EXAMPLES where one line is not enough."""

    HELP: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def verb(name: str) -> Verb:
    """The module of a verb."""
    return cast(Verb, import_module(f"sweepgrad.cli.verbs.{name}"))
