"""Tab completion: the verbs are ours, what follows `train` is answered by Hydra."""

import argparse
import io
import os
import re
from contextlib import redirect_stdout

from sweepgrad.cli.verbs import VERBS, verb

_TRAIN_FLAGS = ("--multirun", "--cfg", "--help", "--hydra-help", "--config-dir", "--info")


def complete(line: str) -> list[str]:
    """What may stand in place of the last word of a command line that begins with the program's name."""
    _, *words = line.split(" ")
    last = words[-1] if words else ""
    return [answer for answer in _candidates(words) if answer.startswith(last)]


def _candidates(words: list[str]) -> list[str]:
    if len(words) <= 1:
        return [f"{name} " for name in ("train", *VERBS)]
    name, last = words[0], words[-1]
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
            return _of_the_lab(words)
        if name == "continue":
            from sweepgrad.config.identity import LENGTH

            return [f"{key}=" for key in LENGTH]
        # Hydra knows nothing of flags and of names of runs: it is handed overrides, and the last word.
        return _ask_hydra(" ".join([*(word for word in words[1:-1] if "=" in word and word[0] != "-"), last]))
    return [f"{flag} " for flag in flags]


def _of_the_lab(words: list[str]) -> list[str]:
    """The names of questions, and after one the keys of its settings."""
    from sweepgrad.lab.questions import names, settings

    known, (asked, *_) = names(), [word for word in words[1:] if not word.startswith("-")]
    if len(words) == 2 or asked not in known:
        return [f"{name} " for name in (*known, "all")]
    _, section = settings(asked, [])
    return [f"{key}=" for key in type(section).model_fields]


def _ask_hydra(overrides: str) -> list[str]:
    """Hydra's answers. It parts them with blanks: names of files that have some come in pieces."""
    from sweepgrad.cli.verbs.train import ask_hydra

    answer = io.StringIO()
    os.environ["COMP_LINE"] = f"sweepgrad {overrides}"
    with redirect_stdout(answer):
        ask_hydra(["--shell-completion", "query=bash"])
    return answer.getvalue().split()
