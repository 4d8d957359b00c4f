"""Tab completion of verbs, and of overrides by Hydra."""

import argparse
import io
import os
import re
from contextlib import redirect_stdout

from sweepgrad.cli.verbs import VERBS, verb

_TRAIN_FLAGS = (
    "--multirun",
    "--dry-run",
    "--quiet",
    "--cfg",
    "--help",
    "--hydra-help",
    "--config-dir",
    "--info",
)


def complete(line: str) -> list[str]:
    """Return the completions of the last word of a command line, which begins with the program's name."""
    _, *typed = line.split(" ")
    last = typed[-1] if typed else ""
    return [answer for answer in _candidates(typed) if answer.startswith(last)]


def _candidates(typed: list[str]) -> list[str]:
    if len(typed) <= 1:
        return [f"{name} " for name in ("train", *VERBS)]
    name, last = typed[0], typed[-1]
    takes_overrides, flags = name == "train", list(_TRAIN_FLAGS)
    if name in VERBS:
        arguments = argparse.ArgumentParser()
        verb(name).add_arguments(arguments)
        usage = arguments.format_usage()
        takes_overrides = "KEY=VALUE" in usage
        choices = re.search(r"{(.*?)}", usage)
        flags = [*re.findall(r"--[a-z-]+", usage), "--help", *(choices[1].split(",") if choices else ())]
    if takes_overrides and not last.startswith("-"):
        if name == "lab":
            return _lab(typed)
        if name == "continue":
            from sweepgrad.config.identity import LENGTH

            return [f"{key}=" for key in LENGTH]
        # Hydra does not know our flags and names of runs: it gets the overrides and the last word.
        overrides = [word for word in typed[1:-1] if "=" in word and not word.startswith("-")]
        return _ask_hydra(" ".join([*overrides, last]))
    return [f"{flag} " for flag in flags]


def _lab(typed: list[str]) -> list[str]:
    """Return the names of experiments, and after one the keys of its settings."""
    from sweepgrad.lab.configs import settings, titles

    known = titles()
    asked, *_ = [word for word in typed[1:] if not word.startswith("-")]
    if len(typed) == 2 or asked not in known:
        return [f"{name} " for name in (*known, "all")]
    _, section = settings(asked, [])
    return [f"{key}=" for key in type(section).model_fields]


def _ask_hydra(overrides: str) -> list[str]:
    """Return Hydra's completions. It separates them by spaces, so file names with spaces are split."""
    from sweepgrad.cli.verbs.train import ask_hydra

    answer = io.StringIO()
    os.environ["COMP_LINE"] = f"sweepgrad {overrides}"
    with redirect_stdout(answer):
        ask_hydra(["--shell-completion", "query=bash"])
    return answer.getvalue().split()
