"""`sweepgrad finalize`."""

import argparse
import logging

from sweepgrad.cli.verbs.stores import RUNS, add_store, add_sweep, store_of

log = logging.getLogger(__name__)

HELP = "Select a model on the validation set and evaluate it once on the test set."
DESCRIPTION = """\
Select the best model of a sweep on the validation set, evaluate it once on the test set, write a model card
and register the model in MLflow."""
EXAMPLES = """\
examples:
  sweepgrad finalize                        the latest sweep
  sweepgrad finalize SWEEP --json           another sweep; print the card as JSON"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    add_sweep(verb)
    verb.add_argument("--json", action="store_true", help="print the card's data as JSON")
    verb.add_argument(
        "--incomplete",
        action="store_true",
        help="select among the finished runs although others did not finish",
    )
    verb.add_argument(
        "--again", action="store_true", help="evaluate a test set that was evaluated before; the card says so"
    )
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from sweepgrad.selection.finalize import finalize
    from sweepgrad.stats.metrics import METRICS

    done = finalize(
        store_of(options), options.sweep, RUNS, incomplete=options.incomplete, again=options.again
    )
    card, folder = done.card, done.folder
    if card is None:
        log.info(
            "judged before, by another version of sweepgrad, whose card this is; the test rows stay closed"
        )
        name = "card.json" if options.json else "card.md"
        print((folder / name).read_text(encoding="utf-8"), end="")
        return 0
    if not done.opened:
        log.info(f"judged before, {card.evaluated}; the test rows stay closed")
    for opening in card.interrupted_evaluations if done.opened else ():
        log.info(f"taken up again, for nothing was kept when the test rows were opened {opening}")
    if options.json:
        print(json.dumps(card.to_json(), indent=1, allow_nan=False))
        return 0
    metric = METRICS[card.test.main]
    low, high = map(metric.figure, card.test.interval)
    averages = f" and {card.n_ensembles} average{'s' if card.n_ensembles > 1 else ''}"
    of = f"{card.n_candidates}{averages if card.n_ensembles else ''}"
    several = f"{len(card.members)} networks averaged, the first with " if len(card.members) > 1 else ""
    print(f"chosen of {of} by validation: {several}layers {card.model['layers']}, run {card.run_id}")
    for notice in card.notices:
        log.info(notice)
    print(f"test {metric.title} {metric.figure(card.test.value)} ({low} to {high}) on {card.test.n} rows")
    for name, scores in card.baselines.items():
        print(f"  {name}: {metric.figure(scores.value)}")
    Console(width=100).print(card.verdict)
    print(f"card: {folder / 'card.md'}; in MLflow: {card.registered}, alias chosen")
    return 0
