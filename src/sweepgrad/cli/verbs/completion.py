"""`sweepgrad completion`."""

import argparse

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

HELP = "print the tab completion of a shell"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=("bash", "zsh"))


def run(options: argparse.Namespace) -> int:
    print(_BASH if options.shell == "bash" else _ZSH)
    return 0
