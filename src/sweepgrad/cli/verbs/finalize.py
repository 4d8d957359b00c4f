"""`sweepgrad finalize`."""

import argparse
import logging
import os

from sweepgrad.cli.verbs.stores import add_store, add_sweep, store_of
from sweepgrad.messages import show, show_json

log = logging.getLogger(__name__)

HELP = "Choose a model on the validation set and evaluate it once on the test set."
DESCRIPTION = """\
Choose the best model of a sweep on the validation set, evaluate it once on the test set, write a model card
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
        help="choose among the finished runs although others did not finish",
    )
    verb.add_argument(
        "--again", action="store_true", help="evaluate a test set that was evaluated before; the card says so"
    )
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.api.evaluation import OtherVersion, finalize
    from sweepgrad.bounded import reading
    from sweepgrad.messages.terminal import console as console_of
    from sweepgrad.stats.metrics import METRICS

    try:
        card = finalize(
            options.sweep, incomplete=options.incomplete, again=options.again, store=store_of(options)
        )
    except OtherVersion as other:
        log.info("another version of sweepgrad evaluated the test set and wrote this card")
        if options.json:
            card_json = reading.load(other.folder / "card.json", reading.RESULTS)
            show_json(json.dumps(card_json, indent=1, allow_nan=False))
        else:
            page = reading.read(other.folder / "card.md", reading.RESULTS.size)
            show(page.decode(errors="replace"), end="")
        return 0
    if not card.evaluated_now:
        log.info(
            f"the test set was evaluated before, on {card.evaluated}; this is the card of that evaluation"
        )
    for entry in card.interrupted_evaluations if card.evaluated_now else ():
        log.info(f"repeated an evaluation that was interrupted ({entry})")
    if options.json:
        show_json(json.dumps(card.to_json(), indent=1, allow_nan=False))
        return 0
    metric = METRICS[card.test.main]
    low, high = map(metric.figure, card.test.interval)
    ensembles = f" and {card.n_ensembles} ensemble{'s' if card.n_ensembles > 1 else ''}"
    candidates = (
        f"{card.n_candidates} run{'s' if card.n_candidates > 1 else ''}{ensembles * bool(card.n_ensembles)}"
    )
    members = f"an ensemble of {len(card.members)} networks, the first with " if len(card.members) > 1 else ""
    show(f"chosen from {candidates} by validation: {members}layers {card.model['layers']}, run {card.run_id}")
    for notice in card.notices:
        log.info(notice)
    show(f"test {metric.title} {metric.figure(card.test.value)} ({low} to {high}) on {card.test.n} rows")
    for name, scores in card.baselines.items():
        show(f"  {name}: {metric.figure(scores.value)}")
    console_of(width=100).print(card.verdict)
    show(f"card: {os.path.relpath(card.folder / 'card.md')}; in MLflow: {card.registered}, alias chosen")
    return 0
