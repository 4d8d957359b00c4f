"""Opening the test rows for the model that was decided on by validation."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweepgrad.data.access import Tables, open_test
from sweepgrad.errors import UserError
from sweepgrad.files import write_json
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import LedgerEntry
from sweepgrad.selection import score_card
from sweepgrad.selection.card import Card
from sweepgrad.selection.card_markdown import markdown
from sweepgrad.selection.decide import Decision, decide, refuse_unfinished
from sweepgrad.tracking.limits import MAX_TAG
from sweepgrad.tracking.mapping import BUNDLE, Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import CHOSEN
from sweepgrad.training import plots

CARD_FILES = ("card.md", "card.json", "calibration.png")


@dataclass(frozen=True)
class FinalizeResult:
    """What `finalize` came to.

    Attributes:
        card: None where another version judged before, whose card.md and card.json are in the folder.
        folder: where the card is.
        opened: whether the test rows were read for it; else the card is the one that was written then.
    """

    card: Card | None
    folder: Path
    opened: bool


def finalize(
    store: Store, which: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> FinalizeResult:
    """Decide on the model of a sweep by validation, judge it on the test rows, write and log its card.

    What was judged before is not judged again: its card is shown once more, and the test rows stay closed. An
    opening for the same model that was interrupted before there was a card is taken up again.

    All that can be done before the test rows are opened is done then, and the opening is recorded, in the
    store and in a ledger beside it, before they are read.

    Arguments:
        which: the sweep, as for `Store.sweep`.
        runs: the folder of cards/, in which the card's own folder is made, and of the ledger.
        incomplete: choose among the runs that finished, though others did not.
        again: open test rows that were opened before.

    Raises:
        UserError: nothing to choose from, a sweep that has not finished, runs that cannot be compared, a
            table or split that has changed since, test rows that were opened before, or a damaged card.
    """
    sweep = store.sweep(which)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    tables = Tables()
    decision = decide(store, tables, jobs)
    config, training = decision.configs[0], decision.training(tables)
    folder = runs / "cards" / sweep.name
    with ledger.reserved(folder):
        sweep = store.sweep(sweep.run_id)  # another process may have judged it in the meantime
        chosen = " ".join(run.run_id for run in decision.runs)[:MAX_TAG]
        if not again and (known := _judged_before(store, sweep, folder, chosen)):
            return known
        run_id = decision.runs[0].run_id if len(decision.runs) == 1 else sweep.run_id
        entry = ledger.entry_now(sweep.name, run_id, decision.digests)
        kept = CHOSEN in sweep.tags or (folder / "card.json").exists()
        of_store = store.test_evaluations(entry.table)
        try:
            with ledger.entering(runs / ledger.LEDGER, of_store, entry, kept=kept, again=again) as before:
                registered = _register(store, sweep, decision, f"sweepgrad-{config.data.name}")
                store.record_test_evaluation(sweep, entry, decision.digests)
        except ledger.AlreadyEvaluated as seen:
            raise UserError(_evaluated_before(training.source, seen.earlier)) from None

        test = open_test(tables, config.data, config.split, decision.digests, f"run {run_id}")
        card = score_card.card(
            decision,
            training,
            test,
            sweep=sweep.name,
            run_id=run_id,
            n_jobs=len(jobs),
            registered=registered,
            evaluated=str(entry),
            earlier_evaluations=tuple(map(str, before.seen)),
        )
        card = replace(
            card,
            interrupted_evaluations=tuple(map(str, before.interrupted)),
            earlier_of_table=before.of_table,
        )
        plots.reliability(*score_card.reliability(decision, test), folder / "calibration.png")
        (folder / "card.md").write_text(markdown(card), encoding="utf-8")
        write_json(folder / "card.json", card.to_json())  # last: where it is, the others are
        _send(store, sweep, card, folder, chosen)
        return FinalizeResult(card, folder, opened=True)


def _send(store: Store, sweep: Logged, card: Card, folder: Path, chosen: str) -> None:
    store.log_result(
        sweep.run_id,
        {f"test/{key}": value for key, value in card.test.metrics.items()},
        {CHOSEN: chosen, "sweepgrad.registered_model": card.registered, ledger.JUDGED: card.evaluated},
        [folder / name for name in CARD_FILES],
    )


def _register(store: Store, sweep: Logged, decision: Decision, name: str) -> str:
    """Register the very model that is judged: that of its run, or what was made of it, with the sweep."""
    if decision.as_trained:
        return f"{name}/{store.register(decision.runs[0].run_id, name)}"
    with tempfile.TemporaryDirectory() as folder:
        decision.bundle.save(Path(folder, BUNDLE))
        return f"{name}/{store.register(sweep.run_id, name, Path(folder, BUNDLE))}"


def _judged_before(store: Store, sweep: Logged, folder: Path, chosen: str) -> FinalizeResult | None:
    """The card that the choice has, in its folder or in the store; where either lacks it, it gets it.

    Raises:
        UserError: the store's card is damaged.
    """
    card = _card_in(folder)
    if card is not None and " ".join(member["run_id"] for member in card.members)[:MAX_TAG] != chosen:
        card = None  # of another choice
    in_store = sweep.tags.get(ledger.JUDGED, "") if sweep.tags.get(CHOSEN) == chosen else None
    # An opening begins with its moment, so the later one is the greater.
    if card is not None and (in_store is None or in_store <= card.evaluated):
        if in_store != card.evaluated:
            _send(store, sweep, card, folder, chosen)
        return FinalizeResult(card, folder, opened=False)
    if in_store is None:
        return None
    for name in CARD_FILES:
        store.download(sweep, name, folder)
    return FinalizeResult(_card_in(folder), folder, opened=False)


def _card_in(folder: Path) -> Card | None:
    """The card of a folder; None where there is none, or that of another version.

    Raises:
        UserError: it is damaged.
    """
    file = folder / "card.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{file} is damaged ({error}): it says what test rows came to. Put it back as it was, or move it"
            " away: where it was sent to the store it comes back from there"
        ) from None
    try:
        return Card.from_json(values)
    except (KeyError, TypeError, ValueError):
        return None


def _evaluated_before(source: str, earlier: Sequence[LedgerEntry]) -> str:
    said = "".join(f"\n  {entry}" for entry in earlier)
    return (
        f"the test rows of {source} were opened {ledger.times(len(earlier))} before:{said}\nTheir figure"
        " has been seen, so what was chosen or changed since is not judged honestly by them. Take another"
        " split.seed and train anew; or say --again to open them once more, which the card will tell"
    )
