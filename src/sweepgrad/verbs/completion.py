"""`sweepgrad completion`."""

import argparse

HELP = "print the tab completion of a shell"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=("bash", "zsh"))


def run(options: argparse.Namespace) -> int:
    from sweepgrad.completion import script

    print(script(options.shell))
    return 0
