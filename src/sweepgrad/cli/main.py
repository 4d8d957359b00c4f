"""The `sweepgrad` command. Each verb imports what it needs when it runs, so that --help answers at once."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from sweepgrad import __version__
from sweepgrad.cli.verbs import VERBS, verb
from sweepgrad.errors import UserError
from sweepgrad.extensions import ExtensionError
from sweepgrad.messages import shown

_EXAMPLES = """\
examples:
  sweepgrad train model=wide optimizer.lr=0.01                one run
  sweepgrad train --multirun model=wide,middle,deep seed=1,2  a sweep
  sweepgrad train data=csv data.path=FILE data.target=COLUMN  your own table
  sweepgrad leaderboard                                       rank the latest sweep by validation
  sweepgrad finalize                                          choose, open the test rows once, write the card
  sweepgrad evaluate                                          judge the procedure on a sweep over splits
  sweepgrad verify SWEEP                                      train its runs again, compare bit for bit
  sweepgrad ui                                                look at the runs in MLflow
  sweepgrad tape model=wide                                   see what a training step is made of

Everything after `sweepgrad train` is plain Hydra: `sweepgrad train --help` lists the keys and their values.
Tab completion: eval "$(sweepgrad completion bash)"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code: 0, 1 when a run failed, 2 for bad input, 130 after Ctrl-C."""
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
                print(answer)
            return 0
        options = _parser().parse_args(given)
        if options.verb is None:
            _parser().print_help()
            return 0
        return int(options.run(options))
    except (UserError, ExtensionError) as error:
        print(f"sweepgrad: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is not None or error.errno != errno.ENOSPC:
            raise
        return _unwritable(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _flushed(code: int) -> int:
    """Write out what was printed; the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _unwritable(error)
    return code


def _unwritable(error: OSError) -> int:
    """Report that standard output cannot be written; the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"sweepgrad: cannot write to standard output: {error.strerror}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweepgrad",
        description="From a table and a yes/no question to an honest best model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sweepgrad {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("train", help="train a network, or sweep over many (plain Hydra from here on)")
    for name in VERBS:
        module = verb(name)
        arguments = verbs.add_parser(
            name,
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", None),
            epilog=getattr(module, "EXAMPLES", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(arguments)
        arguments.set_defaults(run=module.run)
    return parser
