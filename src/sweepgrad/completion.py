"""Tab completion: the verbs are ours, what follows `train` is answered by Hydra."""

import io
import os
from contextlib import redirect_stdout

VERBS = ("train", "leaderboard", "finalize", "ui", "sync", "completion")
_FLAGS = {
    "leaderboard": ("--json", "--csv", "--uri", "--experiment", "--help"),
    "finalize": ("--json", "--incomplete", "--uri", "--experiment", "--help"),
    "ui": ("--host", "--port", "--uri", "--experiment", "--help"),
    "completion": ("bash", "zsh"),
}
_TRAIN_FLAGS = ("--multirun", "--cfg", "--help", "--hydra-help", "--config-dir", "--info")

# Answers come one a line and are taken as they are: `compgen -W` would run what a file name has in $(...).
# Bash breaks words at "=", so of `model=de` it replaces only `de`: the part before is taken off the answers.
_BASH = """\
_sweepgrad() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##* }
    mapfile -t COMPREPLY < <(COMP_LINE=$line sweepgrad complete 2>/dev/null)
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
    fi
}
complete -o nospace -o default -F _sweepgrad sweepgrad"""

_ZSH = """\
_sweepgrad() {
    local -a answers
    answers=("${(@f)$(COMP_LINE=$LBUFFER sweepgrad complete 2>/dev/null)}")
    compadd -Q -U -S '' -- $answers
}
compdef _sweepgrad sweepgrad"""


def script(shell: str) -> str:
    """What to evaluate in the shell, bash or zsh."""
    return _BASH if shell == "bash" else _ZSH


def complete(line: str) -> list[str]:
    """What may stand in place of the last word of a command line that begins with the program's name."""
    _, *words = line.split(" ")
    last = words[-1] if words else ""
    return [answer for answer in _candidates(words) if answer.startswith(last)]


def _candidates(words: list[str]) -> list[str]:
    if len(words) <= 1:
        return [f"{verb} " for verb in VERBS]
    verb, last = words[0], words[-1]
    if verb != "train":
        return [f"{flag} " for flag in _FLAGS.get(verb, ())]
    if last.startswith("-"):
        return [f"{flag} " for flag in _TRAIN_FLAGS]
    return _ask_hydra(" ".join(words[1:]))


def _ask_hydra(overrides: str) -> list[str]:
    """Hydra's answers. It parts them with blanks: names of files that have some come in pieces."""
    from sweepgrad.train import train

    answer = io.StringIO()
    os.environ["COMP_LINE"] = f"sweepgrad {overrides}"
    with redirect_stdout(answer):
        train(["--shell-completion", "query=bash"])
    return answer.getvalue().split()
