"""Choose the model of a sweep by validation, and evaluate it on the test set once."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepgrad.bounded import reading
from sweepgrad.config import old_names
from sweepgrad.data.access import Tables, open_test
from sweepgrad.errors import UserError
from sweepgrad.files import digest, naming, write_json
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import LedgerEntry
from sweepgrad.selection import score_card, seals
from sweepgrad.selection.card import Card
from sweepgrad.selection.card_markdown import markdown
from sweepgrad.selection.decide import Decision, decide, refuse_unfinished
from sweepgrad.tracking.limits import MAX_TAG
from sweepgrad.tracking.mapping import BUNDLE, Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import CHOSEN, REGISTERED
from sweepgrad.training import plots

CARD_FILES = ("card.md", "calibration.png", "card.json")  # a folder that has the last one has the others
CARD_DIGEST = "sweepgrad.card_digest"  # a tag of a sweep's own run: SHA-256 of its card.json


@dataclass(frozen=True)
class FinalizeResult:
    """The result of `finalize`.

    Attributes:
        card: None if another version of sweepgrad wrote it; its card.md and card.json are in the folder.
        folder: of the card's files.
        evaluated_now: whether this call evaluated the test set; if not, the card is an earlier one.
    """

    card: Card | None
    folder: Path
    evaluated_now: bool


def finalize(
    store: Store, name: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> FinalizeResult:
    """Choose the model of a sweep by validation, evaluate it on the test set, write and log its card.

    A model is evaluated once: a second call returns its card and does not read the test set. An evaluation
    that was interrupted before there was a card is repeated.

    Everything that can be done before the test set is read is done then. The evaluation is recorded before,
    in the store and in a ledger on disk.

    Arguments:
        name: of the sweep, as for `Store.sweep`.
        runs: the folder that holds the cards and the ledger.
        incomplete: choose among the runs that finished and are intact, although others are not.
        again: evaluate a test set that was evaluated before.

    Raises:
        UserError: no run finished, the sweep has not ended, a run is not as it was written, its runs cannot
            be compared, the table or the split has changed, the test set was evaluated before, or the card is
            damaged.
    """
    sweep = store.sweep(name)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    tables = Tables()
    decision = decide(store, tables, jobs, incomplete=incomplete)
    config, training = decision.configs[0], decision.training(tables)
    folder = runs / "cards" / sweep.name
    with reserved(folder):
        sweep = store.sweep(sweep.run_id)  # another process may have evaluated it in the meantime
        chosen = " ".join(run.run_id for run in decision.runs)[:MAX_TAG]
        if not again and (known := _earlier_card(store, sweep, folder, chosen)):
            return known
        run_id = decision.runs[0].run_id if len(decision.runs) == 1 else sweep.run_id
        entry = ledger.entry_now(sweep.name, run_id, decision.digests)
        kept = CHOSEN in sweep.tags or (folder / "card.json").exists()
        try:
            with entering(store, runs / ledger.LEDGER, entry, kept=kept, again=again) as (before, others):
                registered = _register(store, sweep, decision, f"sweepgrad-{config.data.name}")
                store.record_test_evaluation(sweep, entry, decision.digests, others)
        except ledger.AlreadyEvaluated as seen:
            raise UserError(_refusal(training.source, seen.earlier)) from None

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
            store_uri=store.uri,
        )
        plots.reliability(*score_card.reliability(decision, test), folder / "calibration.png")
        (folder / "card.md").write_text(markdown(card), encoding="utf-8")
        write_json(
            folder / "card.json", seals.sealed(card.to_json())
        )  # last, so that a folder that has it has the others
        _send(store, sweep, card, folder, chosen)
        return FinalizeResult(card, folder, evaluated_now=True)


@contextmanager
def entering(
    store: Store, file: Path, entry: LedgerEntry, *, kept: bool, again: bool
) -> Iterator[tuple[ledger.Before, list[LedgerEntry] | None]]:
    """Allow a test-set evaluation and record it in the ledger, see `ledger.entering`; one process at a time.

    Yields:
        The earlier evaluations, and the argument `known` for `Store.record_test_evaluation`.
    """
    with (
        store.evaluating(entry) as known,
        ledger.entering(file, known, entry, kept=kept, again=again) as before,
    ):
        yield before, None if again else known


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make a folder of results and keep other processes out; remove it if nothing was written to it."""
    try:
        with naming(folder), ledger.reserved(folder):
            yield
    finally:
        with suppress(OSError):  # it has files
            folder.rmdir()
            folder.parent.rmdir()


def _send(store: Store, sweep: Logged, card: Card, folder: Path, chosen: str) -> None:
    store.log_result(
        sweep.run_id,
        {f"test/{key}": value for key, value in card.test.metrics.items()},
        {
            CHOSEN: chosen,
            REGISTERED: card.registered,
            ledger.JUDGED: card.evaluated,
            CARD_DIGEST: digest(folder / "card.json"),
        },
        [folder / name for name in CARD_FILES],
    )


def _register(store: Store, sweep: Logged, decision: Decision, name: str) -> str:
    """Register the model that is evaluated: of its run, or, if it was changed since, with the sweep."""
    with tempfile.TemporaryDirectory() as scratch:
        if decision.as_trained:
            with decision.evidence.model_files(decision.runs[0]) as files:
                return f"{name}/{store.register(decision.runs[0].run_id, name, files, own=True)}"
        decision.bundle.save(folder := Path(scratch, BUNDLE))
        return f"{name}/{store.register(sweep.run_id, name, folder, own=False)}"


def _earlier_card(store: Store, sweep: Logged, folder: Path, chosen: str) -> FinalizeResult | None:
    """Return the card of an earlier evaluation of the same model; copy it to where it is missing.

    Raises:
        UserError: a card is damaged or was changed.
    """
    card = _card_in(folder, sweep)
    if card is not None and " ".join(member["run_id"] for member in card.members)[:MAX_TAG] != chosen:
        card = None  # of another model
    in_store = sweep.tags.get(ledger.JUDGED, "") if sweep.tags.get(CHOSEN) == chosen else None
    # Evaluations begin with their time, so the later one is the greater.
    if card is not None and (in_store is None or in_store <= card.evaluated):
        if in_store != card.evaluated:
            _send(store, sweep, card, folder, chosen)
        return FinalizeResult(card, folder, evaluated_now=False)
    if in_store is None:
        return None
    with tempfile.TemporaryDirectory() as copies:  # nothing reaches the folder unchecked
        files = [store.download(sweep, name, Path(copies)) for name in CARD_FILES]
        card = _card_in(Path(copies), sweep, f"card.json of {sweep.name} in MLflow")
        for file in files:
            shutil.copyfile(file, folder / file.name)
    return FinalizeResult(card, folder, evaluated_now=False)


def _card_in(folder: Path, sweep: Logged | None = None, name: str = "") -> Card | None:
    """Return the card in a folder; None if there is none, or if another version wrote it.

    Arguments:
        sweep: its own run in the store, with which the card is compared.
        name: of the file in messages; empty for its path.

    Raises:
        UserError: it is damaged, or was changed.
    """
    file = folder / "card.json"
    try:
        values = reading.load(file, reading.RESULTS)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{name or file} is damaged ({error}). Restore it, or move it away: if it was sent to the store,"
            " the next sweepgrad finalize restores it from there"
        ) from None
    try:
        card = Card.from_json(values)
    except (KeyError, TypeError, ValueError):
        card = None
    try:
        _refuse_changed(file, values, card, sweep)
    except UserError as error:
        remedy = (
            "Restore it in the store from a backup"
            if name
            else "Restore it, or move it away, and the next sweepgrad finalize restores it from the store"
        )
        raise UserError(
            f"{name or file} {error}. {remedy}; or evaluate again with --again, which the card will say"
        ) from None
    return card


def _refuse_changed(file: Path, values: Any, card: Card | None, sweep: Logged | None) -> None:
    """Check the checksum of a card, and compare the card with what the store has of the same evaluation.

    Raises:
        UserError: it was changed.
    """
    evaluated = old_names.result(values).get("evaluated") if isinstance(values, Mapping) else None
    if sweep is None or evaluated != sweep.tags.get(ledger.JUDGED):  # maybe a later one that was not sent
        seals.check(values, required=sweep is not None and CARD_DIGEST in sweep.tags)
        return
    seals.check(values)
    if card is not None:
        seals.compare_metrics(sweep, card.test.metrics, "test/")
    seals.compare(file, sweep, CARD_DIGEST)


def _refusal(source: str, earlier: Sequence[LedgerEntry]) -> str:
    lines = "".join(f"\n  {entry}" for entry in earlier)
    return (
        f"the test set of {source} was evaluated {ledger.times(len(earlier))} before:{lines}\nIts result is"
        " known, so a model that was chosen or changed since would be judged too optimistically. Train again"
        " with another split.seed; or repeat the evaluation with --again (in Python: again=True), which the"
        " card will say"
    )
