"""The `sweepgrad` command. A verb's module is imported when the verb is run, so that --help is fast."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from sweepgrad import __version__
from sweepgrad.cli.verbs import SECTIONS, TRAIN_HELP, VERBS, verb
from sweepgrad.config.suggest import Arguments, nearest, nearest_option
from sweepgrad.errors import UserError
from sweepgrad.extensions import ExtensionError
from sweepgrad.messages import refuse, show, shown

_HELP = """\
usage: sweepgrad VERB [ARGUMENTS]

Train small neural networks on tables: sweep, choose on validation data, evaluate the test set once.
{verbs}
Options:
  -h, --help   Show this help.
  --version    Show the version.

Examples:
  sweepgrad train model=wide optimizer.lr=0.01                Train one run.
  sweepgrad train --multirun model=wide,middle,deep seed=1,2  Sweep over models and seeds.
  sweepgrad train data=csv data.path=FILE data.target=COLUMN  Train on your own table.
  sweepgrad leaderboard                                       Rank the runs of the latest sweep.
  sweepgrad finalize                                          Choose a model and evaluate the test set.
  sweepgrad ui                                                Open the runs in MLflow.

Arguments and examples of a verb: sweepgrad VERB --help
Tab completion: eval "$(sweepgrad completion bash)"
"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Write `-o, --output FILE`, as Python 3.13 does, with every version of Python."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        metavar = self._get_default_metavar_for_optional(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, metavar)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code.

    0 is success, 1 a run that failed, 2 bad input, 130 Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with shown():
        return _flushed(_run(given))


def _run(given: list[str]) -> int:
    try:
        if given[:1] == ["train"]:  # Hydra reads its own arguments
            from sweepgrad.cli.verbs.train import train

            return train(given[1:])
        if given[:1] == ["complete"]:  # called by the completion script
            from sweepgrad.cli.completion import complete

            for answer in complete(os.environ.get("COMP_LINE", "")):
                show(answer)
            return 0
        if not given or given[0] in ("-h", "--help"):
            show(overview(), end="")
            return 0
        if given[0] == "--version":
            show(f"sweepgrad {__version__}")
            return 0
        if given[0] not in VERBS:
            raise UserError(_unknown(given[0]))
        arguments = parser(given[0])
        # Options may come before, between and after the others; after a -- there are none.
        read = arguments.parse_args if "--" in given else arguments.parse_intermixed_args
        return int(verb(given[0]).run(read(given[1:])))
    except (UserError, ExtensionError) as error:
        refuse(error)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            return _unwritable(error)
        if error.errno is None:  # not of the system
            raise
        file = f"{error.filename}: " if error.filename is not None else ""
        refuse(f"{file}{error.strerror}")
        return 2
    except MemoryError:
        refuse("not enough memory; what was finished is kept, and can be resumed")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _flushed(code: int) -> int:
    """Flush standard output and return the exit code."""
    if sys.stdout is None:  # it was closed when the program started
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _unwritable(error)
    return code


def _unwritable(error: OSError) -> int:
    """Report that standard output cannot be written, and return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    refuse(f"cannot write to standard output: {error.strerror}")
    return 2


def overview() -> str:
    """Return the text of `sweepgrad --help`."""
    lines = []
    for heading, names in SECTIONS.items():
        lines.append(f"\n{heading}:")
        lines += [f"  {name:13}{TRAIN_HELP if name == 'train' else verb(name).HELP}" for name in names]
    return _HELP.format(verbs="\n".join(lines) + "\n")


def parser(name: str) -> argparse.ArgumentParser:
    """Return the argument parser of a verb, other than `train`."""
    module = verb(name)
    arguments = Arguments(
        prog=f"sweepgrad {name}",
        description=module.DESCRIPTION,
        epilog=module.EXAMPLES,
        formatter_class=_HelpFormatter,
    )
    module.add_arguments(arguments)
    return arguments


def _unknown(word: str) -> str:
    if word.startswith("-"):
        return f"unknown option {word}.{nearest_option(word, ('--help', '--version'))} See sweepgrad --help"
    if "=" in word:
        return f"unknown verb {word}. Did you mean sweepgrad train {word}?"
    names = ("train", *VERBS)
    verbs = f" Verbs: {', '.join(names)}"
    return f"unknown verb {word}.{nearest(word, names) or verbs}"
