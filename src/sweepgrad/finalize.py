"""Opening the test rows for the model that was decided on by validation."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweepgrad import judge, openings, plots
from sweepgrad.card import Card
from sweepgrad.card_page import markdown
from sweepgrad.data.doors import open_test
from sweepgrad.decide import Decision, decide, refuse_unfinished
from sweepgrad.entities import Logged
from sweepgrad.errors import UserError
from sweepgrad.folders import write_json
from sweepgrad.openings import Opening
from sweepgrad.tracking import Store

CARD_FILES = ("card.md", "card.json", "calibration.png")
CHOSEN = "sweepgrad.chosen_run"  # or runs, of an ensemble
_MAX_TAG = 5000  # characters


@dataclass(frozen=True)
class Judgement:
    """What `finalize` came to.

    Attributes:
        folder: where the card is.
        opened: whether the test rows were read for it; else the card is the one that was written then.
    """

    card: Card
    folder: Path
    opened: bool


def finalize(
    store: Store, which: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> Judgement:
    """Decide on the model of a sweep by validation, judge it on the test rows, write and log its card.

    What was judged before is not judged again: its card is shown once more, and the test rows stay closed.

    All that can be checked is checked before the test rows are opened, and the opening is recorded, in the
    store and in a ledger beside it, before they are read.

    Arguments:
        which: the sweep, as for `Store.sweep`.
        runs: the folder of cards/, in which the card's own folder is made, and of the ledger.
        incomplete: choose among the runs that finished, though others did not.
        again: open test rows that were opened before.

    Raises:
        UserError: nothing to choose from, a sweep that has not finished, runs that cannot be compared, a
            table or split that has changed since, or test rows that were opened before.
    """
    sweep = store.sweep(which)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    decision = decide(store, jobs)
    config, training = decision.configs[0], decision.training()
    digests = asdict(training.digests)
    folder = runs / "cards" / sweep.name
    chosen = " ".join(run.run_id for run in decision.runs)[:_MAX_TAG]
    if not again and sweep.tags.get(CHOSEN) == chosen and (known := _judged_before(store, sweep, folder)):
        return Judgement(known, folder, opened=False)
    run_id = decision.runs[0].run_id if len(decision.runs) == 1 else sweep.run_id
    ledger = runs / openings.LEDGER
    earlier = openings.of_rows([*store.openings(digests), *openings.read(ledger)], digests)
    if earlier and not again:
        raise UserError(_opened_before(training.source, earlier))
    opening = openings.opening_now(sweep.name, run_id, digests)
    openings.write(ledger, opening)
    store.record_opening(sweep, opening, digests)

    test = open_test(config.data, config.split, training.digests)
    card = judge.card(
        decision,
        training,
        test,
        sweep=sweep.name,
        run_id=run_id,
        n_jobs=len(jobs),
        registered=_register(store, sweep, decision, f"sweepgrad-{config.data.name}"),
        opening=str(opening),
        earlier_openings=tuple(map(str, earlier)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    plots.reliability(*judge.reliability(decision, test), folder / "calibration.png")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")
    write_json(folder / "card.json", card.to_json())
    figures = {"accuracy": card.test.accuracy, "nll": card.test.nll, "roc_auc": card.test.roc_auc}
    store.log_result(
        sweep.run_id,
        {f"test/{key}": value for key, value in figures.items()},
        {CHOSEN: chosen, "sweepgrad.registered_model": card.registered},
        [folder / name for name in CARD_FILES],
    )
    return Judgement(card, folder, opened=True)


def _register(store: Store, sweep: Logged, decision: Decision, name: str) -> str:
    """Register the very model that is judged: that of its run, or what was made of it, with the sweep."""
    if decision.as_trained:
        return f"{name}/{store.register(decision.runs[0].run_id, name)}"
    with tempfile.TemporaryDirectory() as folder:
        decision.bundle.save(Path(folder))
        return f"{name}/{store.register(sweep.run_id, name, Path(folder))}"


def _judged_before(store: Store, sweep: Logged, folder: Path) -> Card | None:
    """The card that the sweep has; written to its folder once more."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CARD_FILES:
        store.download(sweep, name, folder)
    try:
        return Card.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return None  # another version's


def _opened_before(source: str, earlier: Sequence[Opening]) -> str:
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    said = "".join(f"\n  {opening}" for opening in earlier)
    return (
        f"the test rows of {source} were opened {times} before:{said}\nTheir figure has been seen, so what"
        " was chosen or changed since is not judged honestly by them. Take another split.seed and train anew;"
        " or say --again to open them once more, which the card will tell"
    )
