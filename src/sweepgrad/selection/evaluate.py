"""Evaluate a procedure: on each split of a sweep, choose a model by validation and evaluate its test set.

A sweep over `split.seed` or `split.outer_fold` repeats the same search on other splits of one table. Each
split is treated as by `finalize`; its result is kept at once.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from sweepgrad.bounded import reading
from sweepgrad.config.data import FileData
from sweepgrad.data.access import Rows, Tables, open_test
from sweepgrad.data.split import units_of
from sweepgrad.errors import UserError
from sweepgrad.files import write_json
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import Before, LedgerEntry
from sweepgrad.selection import evaluation_markdown, kept_splits
from sweepgrad.selection.card import Scores
from sweepgrad.selection.decide import Decision, decide, refuse_unfinished
from sweepgrad.selection.evaluation import Evaluation, SplitResult, complete_outer_folds
from sweepgrad.selection.finalize import entering, reserved
from sweepgrad.selection.kept_splits import SPLITS
from sweepgrad.selection.ranking import fold_of, splits
from sweepgrad.selection.score_card import baselines, scores
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.registry import task_of
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.training import plots
from sweepgrad.training.bundle import Bundle, ensemble

log = logging.getLogger(__name__)

FILES = ("evaluation.md", "evaluation.json", "splits.png", SPLITS)
EVALUATED = "sweepgrad.evaluated"

_Entered = tuple[LedgerEntry, Before]
_ByRows = dict[tuple[str, str], SplitResult]  # by the digest of the test rows, and the runs that were chosen


@dataclass(frozen=True)
class EvaluateResult:
    """The result of `evaluate`.

    Attributes:
        folder: of the page and its files.
        n_evaluated: how many test sets this call evaluated; the others were evaluated before.
    """

    evaluation: Evaluation
    folder: Path
    n_evaluated: int


@dataclass(frozen=True, eq=False)
class _Split:
    """A split, and the model that was chosen on it."""

    name: str
    decision: Decision

    @property
    def run_ids(self) -> str:
        return " ".join(run.run_id for run in self.decision.runs)

    @property
    def key(self) -> tuple[str, str]:
        return self.decision.digests.test, self.run_ids


def evaluate(
    store: Store, name: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> EvaluateResult:
    """Choose a model on each split of a sweep, evaluate it on the split's test set, write and log a page.

    The models of all splits are chosen before any test set is read. Every evaluation is recorded before it,
    in the store and in the ledger. Test sets that were evaluated before, for the same model, are not read
    again; an evaluation that was interrupted is repeated.

    Arguments:
        name: of the sweep, as for `Store.sweep`.
        runs: the folder that holds the evaluations and the ledger.
        incomplete: choose among the runs that finished and are intact, although others are not.
        again: evaluate test sets that were evaluated before.

    Raises:
        UserError: there are fewer than two splits or several tables, no model can be chosen on a split (see
            `decide.decide`), the table has changed, a test set was evaluated before, or results that were
            kept are damaged.
    """
    sweep = store.sweep(name)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    folder = runs / "evaluations" / sweep.name
    tables = Tables()
    found = _chosen(store, tables, jobs, sweep.name, incomplete=incomplete)
    with reserved(folder):
        sweep = store.sweep(sweep.run_id)  # another process may have evaluated it in the meantime
        file = folder / SPLITS
        results = _earlier_results(store, sweep, file)
        todo = [split for split in found if split.key not in results]
        if not again:
            _refuse_seen(store, sweep, todo, len(found), runs)
        for number, split in enumerate(todo, 1):
            entry, before = _enter(store, sweep, split, runs / ledger.LEDGER, again=again)
            for other in before.interrupted:
                log.info(f"{split.name}: repeating an evaluation that was interrupted ({other})")
            results[split.key] = _evaluate(store, tables, split, entry, before)
            kept_splits.keep(file, results.values())
            test = results[split.key].test
            figure = METRICS[test.main].figure(test.value)
            done = f"{number} of {len(todo)} splits evaluated"
            log.info(f"{split.name}: {figure} on {test.n} test rows ({done})")
        whole = _whole(sweep, found, results, _known(store, found[0].decision.digests.table, runs))
        latest = max(split.evaluated for split in whole.splits)  # each begins with its time
        sent = sweep.tags.get(ledger.JUDGED) == latest
        page = reading.parse(json.dumps(whole.to_json()).encode(), reading.RESULTS)
        if sent and sweep.tags.get(EVALUATED) == str(len(whole.splits)):
            kept_splits.compare(file, whole, sweep)
        if not sent or kept_splits.written(folder / "evaluation.json") != page:
            kept_splits.keep(file, results.values())
            _write(store, sweep, whole, folder, latest)
    return EvaluateResult(whole, folder, len(todo))


def _known(store: Store, table: str, runs: Path) -> list[LedgerEntry]:
    """Return what the store and the ledger know of a table's test-set evaluations."""
    return ledger.once_each([*store.test_evaluations(table), *ledger.read(runs / ledger.LEDGER)], table)


def _enter(store: Store, sweep: Logged, split: _Split, file: Path, *, again: bool) -> _Entered:
    """Record that a split's test set is about to be evaluated."""
    entry = ledger.entry_now(sweep.name, split.run_ids, split.decision.digests)
    try:
        with entering(store, file, entry, kept=False, again=again) as (before, known):
            store.record_test_evaluation(sweep, entry, split.decision.digests, known)
    except ledger.AlreadyEvaluated as seen:
        raise UserError(
            f"{split.name}: another process has just evaluated its test set: {seen.earlier[-1]}"
        ) from None
    return entry, before


def _chosen(
    store: Store, tables: Tables, jobs: Sequence[Logged], sweep: str, *, incomplete: bool
) -> list[_Split]:
    """Choose a model on each split of a sweep."""
    by_name = splits(jobs)
    if len(by_name) < 2:
        raise UserError(
            f"{sweep} has one split, and sweepgrad evaluate needs several: sweep over"
            " 'split.seed=range(1000,1020)' or 'split.outer_fold=range(5)'; or use sweepgrad finalize"
        )
    found = []
    for number, (name, members) in enumerate(by_name.items(), 1):
        try:
            decision = decide(store, tables, members, incomplete=incomplete)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        found.append(_Split(name, decision))
        log.info(f"{name}: chosen by validation, runs: {len(members)} ({number} of {len(by_name)} splits)")
    if len({split.decision.digests.table for split in found}) > 1:
        raise UserError("the splits are of different tables: sweep with one table")
    if len({split.decision.digests.test for split in found}) < len(found):
        raise UserError(
            "two splits have the same test rows, which would count twice: split.outer_fold=0 has those of"
            " split.outer_fold=null, and a table of few rows can be split in few ways"
        )
    return found


def _evaluate(store: Store, tables: Tables, split: _Split, entry: LedgerEntry, before: Before) -> SplitResult:
    """Evaluate the chosen model and the baselines on the test set."""
    decision, bundle, val = split.decision, split.decision.bundle, split.decision.val
    training, config = decision.training(tables), decision.configs[0]
    test = open_test(tables, config.data, config.split, decision.digests, split.name)
    task = task_of(config.data)
    units = {part: units_of(rows.frame, rows.roles.group) for part, rows in (("val", val), ("test", test))}

    def scored(bundle: Bundle, rows: Rows, part: str) -> Scores:
        return scores(task, rows.y, bundle.scores(rows.frame), units[part], bundle.threshold)

    chosen, metric = decision.entry, decision.select.metric
    siblings = [scored(model, test, "test") for model in _models(decision)]
    return SplitResult(
        split=split.name,
        run_id=split.run_ids,
        digest=decision.digests.test,
        settings=chosen.distinction,
        compared=len(decision.choice.standings),
        tied=len(decision.choice.tied) - 1,
        mean=chosen.metrics[metric].mean,
        test_mean=fmean(each.metrics[metric] for each in siblings),
        optimism=decision.choice.optimism,
        n_learned=training.n_train + training.n_val,
        n_test_units=len(np.unique(units["test"])),
        validation=scored(bundle, val, "val"),
        test=scored(bundle, test, "test"),
        baselines={
            name: scores(task, test.y, predicted, units["test"])
            for name, predicted in baselines(task, training, test.frame).items()
        },
        evaluated=str(entry),
        earlier_evaluations=tuple(map(str, before.seen)),
        interrupted_evaluations=tuple(map(str, before.interrupted)),
    )


def _models(decision: Decision) -> list[Bundle]:
    """Return the models over which the entry's means are taken: of each run, or an ensemble of each fold."""
    entry, by_model = decision.entry, dict[str, list[Bundle]]()
    for run in entry.runs:
        model = fold_of(run) if entry.ensemble else run.run_id
        by_model.setdefault(model, []).append(decision.evidence.bundle(run))
    return [ensemble(members) for members in by_model.values()]


def _whole(
    sweep: Logged, found: Sequence[_Split], results: _ByRows, known: Sequence[LedgerEntry]
) -> Evaluation:
    first = found[0].decision
    of_splits = tuple(replace(results[split.key], split=split.name) for split in found)
    own = {split.evaluated for split in of_splits}
    earlier = [entry for entry in known if entry.when <= min(own) and str(entry) not in own]
    return Evaluation(
        sweep=sweep.name,
        what=f"{first.bundle.target} = {first.bundle.positive}, from {first.configs[0].data.name}",
        metric=first.select.metric,
        rule=first.select.rule,
        grouped=isinstance(first.configs[0].data, FileData) and bool(first.configs[0].data.group),
        outer_folds=complete_outer_folds([split.decision.configs[0].split for split in found]),
        earlier_of_table=len(earlier),
        splits=of_splits,
        task=task_of(first.configs[0].data).name,
    )


def _earlier_results(store: Store, sweep: Logged, file: Path) -> _ByRows:
    """Return the results of earlier evaluations of this sweep, by their test rows and the run chosen."""
    if not file.exists() and EVALUATED in sweep.tags:
        store.download(sweep, file.name, file.parent)
    kept = kept_splits.kept_in(file, sealed=kept_splits.SPLITS_DIGEST in sweep.tags)
    return {(split.digest, split.run_id): split for split in kept}


def _refuse_seen(store: Store, sweep: Logged, todo: Sequence[_Split], n_splits: int, runs: Path) -> None:
    """Check that no test set was evaluated before; name the sweeps and the pages if one was.

    Raises:
        UserError: one was.
    """
    known = _known(store, todo[0].decision.digests.table, runs) if todo else []
    entries = [ledger.entry_now(sweep.name, split.run_ids, split.decision.digests) for split in todo]
    if not (seen := [e for each in entries if (e := ledger.before_of(known, each, kept=False).seen)]):
        return
    by_sweep: dict[str, list[LedgerEntry]] = {}
    for entry in sorted(sum(seen, ()), key=lambda entry: entry.when):
        by_sweep.setdefault(entry.sweep, []).append(entry)
    lines = []
    for name, some in by_sweep.items():
        times = "once" if len(some) == 1 else f"{len(some)} times, first"
        pages = (runs / "evaluations" / name / "evaluation.md", runs / "cards" / name / "card.md")
        listed = "".join(f"\n    result: {page}" for page in pages if page.exists())
        lines.append(f"\n  {times} {some[0]}{listed}")
    raise UserError(
        f"the test sets of {len(seen)} of {n_splits} splits were evaluated before:{''.join(lines)}\nTheir"
        " results are known, so models that were chosen or changed since would be judged too optimistically."
        " Train again with other splits, such as split.seed=range(2000,2020); or repeat the evaluation with"
        " --again (in Python: again=True), which the page will say"
    )


def _write(store: Store, sweep: Logged, whole: Evaluation, folder: Path, latest: str) -> None:
    (folder / "evaluation.md").write_text(evaluation_markdown.markdown(whole), encoding="utf-8")
    write_json(folder / "evaluation.json", whole.to_json())
    test = whole.test(whole.main.name)
    plots.splits(
        whole.main,
        [split.split for split in whole.splits],
        [split.validation.value for split in whole.splits],
        [split.test.value for split in whole.splits],
        (test.low, test.high),
        folder / "splits.png",
    )
    store.log_result(
        sweep.run_id,
        {f"evaluation/{name}": value for name, value in whole.figures.items()},
        {EVALUATED: str(len(whole.splits)), ledger.JUDGED: latest, **kept_splits.sent(folder / SPLITS)},
        [folder / name for name in FILES],
    )
