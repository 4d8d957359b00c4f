"""`sweepgrad leaderboard`."""

import argparse
import logging

from sweepgrad.cli.verbs.stores import add_store, add_sweep, store_of
from sweepgrad.messages import show, show_json

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
    from sweepgrad.api.stored import load_sweep
    from sweepgrad.messages.terminal import console as console_of
    from sweepgrad.selection import leaderboard

    sweep = load_sweep(options.sweep, store=store_of(options))
    ranking = sweep.standings()
    entries, metric, decision, notice, unranked = ranking
    if notice:
        log.info(notice)
    if options.json:
        show_json(leaderboard.as_json(sweep.name, sweep.id, entries, metric, decision, unranked))
    elif options.csv:
        show(leaderboard.as_csv(entries, metric), end="")
    else:
        finished = sum(len(entry.runs) for entry in entries if not entry.ensemble)
        title = f"{sweep.name}: {sweep.n_jobs} run{'s' if sweep.n_jobs > 1 else ''}"
        if missing := sweep.n_jobs - finished - len(unranked):
            title += f", {missing} not finished"
        if unranked:
            title += f", {len(unranked)} not ranked"
        table = leaderboard.as_table(title, entries, metric, decision)
        console = console_of()
        if not console.is_terminal:
            natural = console.measure(table, options=console.options.update(width=10_000)).maximum
            console = console_of(width=max(200, natural))
        console.print(table)
    return 0
