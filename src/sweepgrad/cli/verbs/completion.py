"""The verb `sweepgrad completion`."""

import argparse

from sweepgrad.messages import show

# Answers are one per line and not expanded: `compgen -W` would execute a $(...) in a file name.
# Bash splits words at "=", so of `model=de` it replaces only `de`: the part before is removed from answers.
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

HELP = "Print the tab completion script of a shell."
DESCRIPTION = """\
Print the tab completion script of bash or zsh. Verbs, config groups, options and keys are completed."""
EXAMPLES = """\
examples:
  eval "$(sweepgrad completion bash)"     in ~/.bashrc
  eval "$(sweepgrad completion zsh)"      in ~/.zshrc"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=("bash", "zsh"), help="the shell")


def run(options: argparse.Namespace) -> int:
    show(_BASH if options.shell == "bash" else _ZSH)
    return 0
