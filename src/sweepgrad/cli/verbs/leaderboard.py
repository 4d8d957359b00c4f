"""`sweepgrad leaderboard`."""

import argparse
import logging

from sweepgrad.cli.verbs.stores import add_store, add_sweep, store_of

log = logging.getLogger(__name__)

HELP = "Rank the runs of a sweep by their validation metric."
DESCRIPTION = """\
Rank the configurations of a sweep by the mean of select.metric on the validation set, over seeds and folds,
with standard errors."""
EXAMPLES = """\
examples:
  sweepgrad leaderboard                     the latest sweep
  sweepgrad leaderboard SWEEP --csv         another sweep, as CSV"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    add_sweep(verb)
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sweepgrad.data.access import Tables
    from sweepgrad.selection import leaderboard
    from sweepgrad.selection.decide import standings
    from sweepgrad.tracking.tags import N_JOBS

    store = store_of(options)
    sweep = store.sweep(options.sweep)
    runs = store.children(sweep)
    entries, metric, decision, notice = standings(store, Tables(), runs)
    if notice:
        log.info(notice)
    if options.json:
        print(leaderboard.as_json(sweep, entries, metric, decision))
    elif options.csv:
        print(leaderboard.as_csv(entries, metric), end="")
    else:
        unfinished = len(runs) - sum(len(entry.runs) for entry in entries if not entry.ensemble)
        of = int(sweep.tags.get(N_JOBS, len(runs)))
        title = f"{sweep.name}: {of} run{'s' if of > 1 else ''}"
        if missing := of - len(runs) + unfinished:
            title += f", {missing} not finished"
        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        console.print(leaderboard.as_table(title, entries, metric, decision))
    return 0
