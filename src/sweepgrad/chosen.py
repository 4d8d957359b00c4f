"""The model that validation chooses among runs on one split: what `finalize` and `evaluate` judge."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweepgrad.bundle import Bundle
from sweepgrad.candidates import compare, configuration
from sweepgrad.config import Config, Select
from sweepgrad.data.doors import Training, open_training
from sweepgrad.entities import BUNDLE, Logged, local
from sweepgrad.errors import UserError
from sweepgrad.experiment import dtype_of
from sweepgrad.ranking import Entry, comparable, finished, folds, judged, rank, splits
from sweepgrad.selection import Choice
from sweepgrad.tracking import DIGEST, Store


@dataclass(frozen=True, eq=False)
class Chosen:
    """A model, and what it was chosen from.

    Attributes:
        entries: ranked, with what the validation rows say of them.
        select: the metric and the rule that were declared.
        run: the one whose model is taken, of `entry`.
        config, bundle: of that run.
    """

    entries: list[Entry]
    choice: Choice
    select: Select
    run: Logged
    config: Config
    bundle: Bundle

    @property
    def entry(self) -> Entry:
        return self.entries[self.choice.chosen]

    def training(self) -> Training:
        """The rows that the model was trained on and compared on.

        Raises:
            UserError: the table or the split is no longer what it was trained on.
        """
        training = open_training(self.config.data, self.config.split, dtype_of(self.config))
        digests = asdict(training.digests)
        changed = [part for part, digest in digests.items() if self.run.tags.get(f"{DIGEST}{part}") != digest]
        if changed:
            what = "its contents have changed" if "table" in changed else "it is split differently now"
            raise UserError(
                f"{training.source} is not what run {self.run.run_id} was trained on: {what}."
                " Put the old one back, or train anew"
            )
        return training


def choose_model(store: Store, runs: Sequence[Logged]) -> Chosen:
    """Choose by the declared metric and rule, on validation rows.

    The configuration is chosen by its mean over seeds and folds. Within it the first fold is taken, and the
    best seed on it: folds have different validation rows, so the best run of all would be the one with the
    easiest rows.

    Raises:
        UserError: nothing to choose from, runs that cannot be compared, or a table that has changed.
    """
    select = _declared(store, runs)
    entries = rank(runs, select.metric)
    candidates = [run for entry in entries for run in entry.runs]
    if not comparable(candidates):
        several = len(splits(candidates))
        instead = f"; sweepgrad evaluate judges the procedure on its {several} splits" if several > 1 else ""
        raise UserError(
            "the runs of this sweep were made on different tables or splits, so their validation figures"
            f" cannot be compared: sweep with one data source, one split.seed and one split.folds{instead}"
        )
    if folds(entries[0].runs) != folds(candidates):
        raise UserError(
            "no configuration finished on every fold, so their means are of different rows and cannot be"
            " compared: train what is missing"
        )
    choice = compare(store, entries, select)
    entries = judged(entries, choice)
    run = entries[choice.chosen].runs[0]
    return Chosen(entries, choice, select, run, configuration(store, run), bundle_of(store, run))


def bundle_of(store: Store, run: Logged) -> Bundle:
    """The model of a run."""
    with tempfile.TemporaryDirectory() as copies:
        return Bundle.load(local(run, BUNDLE) or store.download(run, BUNDLE, Path(copies)))


def refuse_unfinished(sweep: Logged, runs: Sequence[Logged], *, incomplete: bool) -> None:
    """Raises:
    UserError: the sweep is running, or did not finish and this is not asked for.
    """
    if sweep.status == "RUNNING":
        raise UserError(f"{sweep.name} is still running: wait for it, or look with sweepgrad leaderboard")
    if sweep.status != "FINISHED" and not incomplete:
        done = sum(run.status == "FINISHED" for run in runs)
        of = sweep.tags.get("sweepgrad.jobs", str(len(runs)))
        raise UserError(
            f"{sweep.name} is {sweep.status}: {done} of {of} runs finished. Run it again, or choose among"
            " these with --incomplete"
        )


def _declared(store: Store, runs: Sequence[Logged]) -> Select:
    """How the sweep was to be chosen from, as its runs say."""
    first = next((run for run in runs if finished(run)), None)
    if first is None:
        raise UserError(f"none of the {len(runs)} runs finished, so there is nothing to choose from")
    return configuration(store, first).select
