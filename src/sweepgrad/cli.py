"""The `sweepgrad` command. Each verb imports what it needs when it runs, so that --help answers at once."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad import __version__
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.tracking import Store

RUNS = Path("runs")
_DEFAULT_URI = "sqlite:///runs/mlflow.db"

_EXAMPLES = """\
examples:
  sweepgrad train model=wide optimizer.lr=0.01                one run
  sweepgrad train --multirun model=wide,middle,deep seed=1,2  a sweep
  sweepgrad train data=csv data.path=FILE data.target=COLUMN  your own table
  sweepgrad leaderboard                                       rank the latest sweep by validation
  sweepgrad finalize                                          choose, open the test rows once, write the card
  sweepgrad ui                                                look at the runs in MLflow
  sweepgrad tape model=wide                                   see what a training step is made of

Everything after `sweepgrad train` is plain Hydra: `sweepgrad train --help` lists the keys and their values.
Tab completion: eval "$(sweepgrad completion bash)"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code: 0, 1 when a run failed, 2 for bad input, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["train"]:  # Hydra reads its own arguments
            from sweepgrad.train import train

            return train(given[1:])
        if given[:1] == ["complete"]:  # called by the completion script
            from sweepgrad.completion import complete

            for answer in complete(os.environ.get("COMP_LINE", "")):
                print(answer)
            return 0
        options = _parser().parse_args(given)
        if options.verb is None:
            _parser().print_help()
            return 0
        return int(options.run(options))
    except UserError as error:
        print(f"sweepgrad: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


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

    verb = _with_store(verbs.add_parser("leaderboard", help="rank a sweep's runs by validation"))
    verb.add_argument(
        "sweep", nargs="?", help="name or id of a sweep, or its beginning (default: what was trained last)"
    )
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    verb.set_defaults(run=_leaderboard)

    verb = _with_store(
        verbs.add_parser("finalize", help="choose by validation, open the test rows for the chosen model")
    )
    verb.add_argument(
        "sweep", nargs="?", help="name or id of a sweep, or its beginning (default: what was trained last)"
    )
    verb.add_argument("--json", action="store_true", help="print the card's data as JSON")
    verb.add_argument(
        "--incomplete", action="store_true", help="choose among the runs that finished, though others did not"
    )
    verb.add_argument(
        "--again", action="store_true", help="open test rows that were opened before; the card says so"
    )
    verb.set_defaults(run=_finalize)

    verb = _with_store(verbs.add_parser("ui", help="open the runs in MLflow's own pages"))
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    verb.add_argument("--port", type=int, help="port to listen on (default: the first free from 5000)")
    verb.set_defaults(run=_ui)

    verb = verbs.add_parser(
        "tape",
        help="show the instructions that a run replays at every step",
        description="Show the instructions that a run replays at every step, a tape for each architecture.",
        epilog="example: sweepgrad tape model=wide,deep optimizer=adam train.clip=1",
    )
    verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train, such as model=wide")
    verb.add_argument("--evaluation", action="store_true", help="what is replayed after each epoch instead")
    verb.add_argument("--config-dir", metavar="FOLDER", help="more YAML, as for train")
    verb.set_defaults(run=_tape)

    verb = verbs.add_parser("sync", help="send runs to MLflow that could not be sent when they were made")
    verb.add_argument(
        "runs", nargs="?", type=Path, default=Path("runs"), help="folder to look in (default: runs)"
    )
    verb.set_defaults(run=_sync)

    verb = verbs.add_parser("completion", help="print the tab completion of a shell")
    verb.add_argument("shell", choices=("bash", "zsh"))
    verb.set_defaults(run=_completion)
    return parser


def _with_store(verb: argparse.ArgumentParser) -> argparse.ArgumentParser:
    uri = os.environ.get("MLFLOW_TRACKING_URI", _DEFAULT_URI)
    verb.add_argument("--uri", default=uri, help=f"MLflow store, as tracking.uri (default: {uri})")
    verb.add_argument("--experiment", default="sweepgrad", help="as tracking.experiment (default: sweepgrad)")
    return verb


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _store(options: argparse.Namespace) -> "Store":
    """The store to read from, which is not made where there is none."""
    from sweepgrad.config import store_uri
    from sweepgrad.tracking import Store

    try:
        file = Path(store_uri(options.uri).removeprefix("sqlite:///"))
    except ValueError as error:
        raise UserError(f"--uri: {error}") from None
    if options.uri.startswith("sqlite:") and not file.exists():
        kept = "; sweepgrad sync sends what is kept in runs/" if Path("runs", "sweeps").is_dir() else ""
        raise UserError(
            f"there is no MLflow store at {file}: train something here first, or give --uri{kept}"
        )
    return Store(options.uri, options.experiment, _say)


def _leaderboard(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sweepgrad import leaderboard
    from sweepgrad.candidates import standings

    store = _store(options)
    sweep = store.sweep(options.sweep)
    runs = store.children(sweep)
    entries, metric, notice = standings(store, runs)
    if notice:
        _say(notice)
    if options.json:
        print(leaderboard.as_json(sweep, entries, metric))
    elif options.csv:
        print(leaderboard.as_csv(entries, metric), end="")
    else:
        unfinished = len(runs) - sum(len(entry.runs) for entry in entries)
        of = int(sweep.tags.get("sweepgrad.jobs", len(runs)))
        title = f"{sweep.name}: {of} run{'s' if of > 1 else ''}"
        if missing := of - len(runs) + unfinished:
            title += f", {missing} not finished"
        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        console.print(leaderboard.as_table(title, entries, metric))
    return 0


def _finalize(options: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from sweepgrad.finalize import finalize

    done = finalize(_store(options), options.sweep, RUNS, incomplete=options.incomplete, again=options.again)
    card, folder = done.card, done.folder
    if not done.opened:
        _say(f"judged before, {card.opening}; the test rows stay closed")
    if options.json:
        print(json.dumps(card.to_json(), indent=1, allow_nan=False))
        return 0
    low, high = card.test.accuracy_ci
    print(f"chosen of {card.n_candidates} by validation: layers {card.model['layers']}, run {card.run_id}")
    print(f"test accuracy {card.test.accuracy:.1%} ({low:.1%} to {high:.1%}) on {card.test.n} rows")
    for name, scores in card.baselines.items():
        print(f"  {name}: {scores.accuracy:.1%}")
    Console(width=100).print(card.verdict)
    print(f"card: {folder / 'card.md'}; in MLflow: {card.registered}, alias chosen")
    return 0


def _ui(options: argparse.Namespace) -> int:
    from sweepgrad.ui import links, serve

    store = _store(options)
    if store.uri.startswith("http"):  # a server runs already
        for name, address in links(store, store.uri).items():
            print(f"{name}: {address}")
        return 0
    return serve(store, options.host, options.port, lambda text: print(text, flush=True))


def _tape(options: argparse.Namespace) -> int:
    from sweepgrad.listing import listing

    search = [options.config_dir] if options.config_dir else []
    print(listing(options.overrides, evaluation=options.evaluation, search=search))
    return 0


def _sync(options: argparse.Namespace) -> int:
    from sweepgrad.sync import sync

    if not options.runs.is_dir():
        raise UserError(f"{options.runs.absolute()} is no folder")
    print(f"{sync(options.runs, _say)} runs sent")
    return 0


def _completion(options: argparse.Namespace) -> int:
    from sweepgrad.completion import script

    print(script(options.shell))
    return 0
