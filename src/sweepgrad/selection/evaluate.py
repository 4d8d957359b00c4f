"""Judging a whole procedure: in each split of a sweep choose by validation, then open its test rows.

A sweep over `split.seed` or `split.outer_fold` repeats the same search on other parts of one table. Each
split is chosen from and judged as `finalize` does with one; what it came to is kept as soon as it is known.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from sweepgrad.config.data import FileData
from sweepgrad.data.access import Rows, Tables, open_test
from sweepgrad.data.split import units_of
from sweepgrad.errors import UserError
from sweepgrad.files import write_json
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import Before, LedgerEntry
from sweepgrad.selection import evaluation_markdown
from sweepgrad.selection.candidates import bundle_of
from sweepgrad.selection.card import Scores
from sweepgrad.selection.decide import Decision, decide, refuse_unfinished
from sweepgrad.selection.evaluation import Evaluation, SplitResult, complete_outer_folds, kept_in
from sweepgrad.selection.ranking import Entry, fold_of, splits
from sweepgrad.selection.score_card import baselines, scores
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.registry import task_of
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.training import plots
from sweepgrad.training.bundle import Bundle, ensemble

log = logging.getLogger(__name__)

FILES = ("evaluation.md", "evaluation.json", "splits.png", "splits.json")
EVALUATED = "sweepgrad.evaluated"

_Entered = tuple[LedgerEntry, Before]
_ByRows = dict[tuple[str, str], SplitResult]  # by the digest of the test rows, and the runs that were chosen


@dataclass(frozen=True)
class Outcome:
    """What `evaluate` came to.

    Attributes:
        folder: where the page is.
        opened: on how many splits test rows were read for it; the others had been judged before.
    """

    evaluation: Evaluation
    folder: Path
    opened: int


@dataclass(frozen=True, eq=False)
class _Split:
    """A split that is chosen from and not judged yet."""

    name: str
    decision: Decision

    @property
    def run_ids(self) -> str:
        return " ".join(run.run_id for run in self.decision.runs)

    @property
    def judged_as(self) -> tuple[str, str]:
        return self.decision.digests.test, self.run_ids


def evaluate(
    store: Store, which: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> Outcome:
    """Choose and judge on each split of a sweep, write and log what that says of the procedure.

    All splits are chosen from before the test rows of any are opened, and every opening is recorded, in the
    store and in the ledger, before rows are read. What was judged before is not judged again; what was
    interrupted before it was kept is.

    Arguments:
        which: the sweep, as for `Store.sweep`.
        runs: the folder of evaluations/, in which the sweep's own folder is made, and of the ledger.
        incomplete: choose among the runs that finished, though others did not.
        again: open test rows that were opened before.

    Raises:
        UserError: fewer than two splits, several tables, a split that cannot be chosen from (see
            `decide.decide`), a table that has changed, test rows that were opened before, or kept figures
            that are damaged.
    """
    sweep = store.sweep(which)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    folder = runs / "evaluations" / sweep.name
    tables = Tables()
    found = _chosen(store, tables, jobs, sweep.name)
    with ledger.reserved(folder):
        sweep = store.sweep(sweep.run_id)  # another process may have judged it in the meantime
        judged = _judged_before(store, sweep, folder)
        todo = [split for split in found if split.judged_as not in judged]
        if not again:
            _refuse_seen(store, sweep, todo, len(found), runs)
        for number, split in enumerate(todo, 1):
            entry, before = _enter(store, sweep, split, runs / ledger.LEDGER, again=again)
            for other in before.interrupted:
                log.info(f"{split.name}: taken up again, for nothing was kept when it was opened {other}")
            judged[split.judged_as] = _judge(store, tables, split, entry, before)
            write_json(folder / "splits.json", [each.to_json() for each in judged.values()])
            test = judged[split.judged_as].test
            figure = METRICS[test.main].figure(test.value)
            log.info(f"{split.name}: {figure} on {test.n} test rows ({number} of {len(todo)} judged)")
        whole = _whole(sweep, found, judged, _known(store, found[0].decision.digests.table, runs))
        latest = max(split.evaluated for split in whole.splits)  # each begins with its moment
        sent = sweep.tags.get(ledger.JUDGED) == latest
        if not sent or _written(folder) != json.loads(json.dumps(whole.to_json())):
            _write(store, sweep, whole, folder, latest)
    return Outcome(whole, folder, len(todo))


def _known(store: Store, table: str, runs: Path) -> list[LedgerEntry]:
    """Return what the store and the ledger know of a table's test-set evaluations."""
    return ledger.once_each([*store.test_evaluations(table), *ledger.read(runs / ledger.LEDGER)], table)


def _enter(store: Store, sweep: Logged, split: _Split, file: Path, *, again: bool) -> _Entered:
    """Write down that a split's test rows are about to be read."""
    entry = ledger.entry_now(sweep.name, split.run_ids, split.decision.digests)
    of_store = store.test_evaluations(entry.table)
    try:
        with ledger.entering(file, of_store, entry, kept=False, again=again) as before:
            store.record_test_evaluation(sweep, entry, split.decision.digests)
    except ledger.AlreadyEvaluated as seen:
        raise UserError(f"{split.name} was opened by another process just now: {seen.earlier[-1]}") from None
    return entry, before


def _chosen(store: Store, tables: Tables, jobs: Sequence[Logged], sweep: str) -> list[_Split]:
    """The splits of a sweep, each with its model; of one table, and with test rows of their own."""
    by_name = splits(jobs)
    if len(by_name) < 2:
        raise UserError(
            f"{sweep} has one split, which says nothing of how splits differ: sweepgrad finalize judges"
            " its model. For the procedure sweep over splits, such as 'split.seed=range(1000,1020)' or"
            " 'split.outer_fold=range(5)'"
        )
    found = []
    for number, (name, members) in enumerate(by_name.items(), 1):
        try:
            decision = decide(store, tables, members)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        found.append(_Split(name, decision))
        log.info(f"{name}: chosen from {len(members)} runs ({number} of {len(by_name)} splits)")
    if len({split.decision.digests.table for split in found}) > 1:
        raise UserError("the splits are of different tables, so they are no repetitions: sweep with one")
    if len({split.decision.digests.test for split in found}) < len(found):
        raise UserError(
            "two splits have the same test rows, which would count twice: split.outer_fold=0 tests those of"
            " split.outer_fold=null, and a table of few rows leaves few ways to split it"
        )
    return found


def _judge(store: Store, tables: Tables, split: _Split, entry: LedgerEntry, before: Before) -> SplitResult:
    """Read the test rows, and see what the chosen model and the baselines make of them."""
    decision, bundle, val = split.decision, split.decision.bundle, split.decision.val
    training, config = decision.training(tables), decision.configs[0]
    test = open_test(tables, config.data, config.split, decision.digests, split.name)
    task = task_of(config.data)
    units = {part: units_of(rows.frame, rows.roles.group) for part, rows in (("val", val), ("test", test))}

    def worth(bundle: Bundle, rows: Rows, part: str) -> Scores:
        return scores(task, rows.y, bundle.scores(rows.frame), units[part], bundle.threshold)

    chosen, metric = decision.entry, decision.select.metric
    siblings = [worth(model, test, "test") for model in _models(store, chosen)]
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
        validation=worth(bundle, val, "val"),
        test=worth(bundle, test, "test"),
        baselines={
            name: scores(task, test.y, scored, units["test"])
            for name, scored in baselines(task, training, test.frame).items()
        },
        evaluated=str(entry),
        earlier_evaluations=tuple(map(str, before.seen)),
        interrupted_evaluations=tuple(map(str, before.interrupted)),
    )


def _models(store: Store, entry: Entry) -> list[Bundle]:
    """Those over which the entry's means are taken: each run's, or of an ensemble one a fold."""
    if not entry.ensemble:
        return [bundle_of(store, run) for run in entry.runs]
    by_fold: dict[str, list[Bundle]] = {}
    for run in entry.runs:
        by_fold.setdefault(fold_of(run), []).append(bundle_of(store, run))
    return [ensemble(members) for members in by_fold.values()]


def _whole(
    sweep: Logged, found: Sequence[_Split], judged: _ByRows, known: Sequence[LedgerEntry]
) -> Evaluation:
    first = found[0].decision
    of_splits = tuple(replace(judged[split.judged_as], split=split.name) for split in found)
    mine = {split.evaluated for split in of_splits}
    earlier = [entry for entry in known if entry.when <= min(mine) and str(entry) not in mine]
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


def _judged_before(store: Store, sweep: Logged, folder: Path) -> _ByRows:
    """What is known of splits of this sweep, by their test rows and the run that was chosen."""
    file = folder / "splits.json"
    if not file.exists() and EVALUATED in sweep.tags:
        store.download(sweep, file.name, folder)
    return {(split.digest, split.run_id): split for split in kept_in(file)}


def _refuse_seen(store: Store, sweep: Logged, todo: Sequence[_Split], n_splits: int, runs: Path) -> None:
    """Look at all before any is opened; say for which sweeps some were, and where it is what was found.

    Raises:
        UserError: test rows were opened before.
    """
    known = _known(store, todo[0].decision.digests.table, runs) if todo else []
    to_be = [ledger.entry_now(sweep.name, split.run_ids, split.decision.digests) for split in todo]
    if not (seen := [e for each in to_be if (e := ledger.before_of(known, each, kept=False).seen)]):
        return
    by_sweep: dict[str, list[LedgerEntry]] = {}
    for entry in sorted(sum(seen, ()), key=lambda entry: entry.when):
        by_sweep.setdefault(entry.sweep, []).append(entry)
    lines = []
    for name, some in by_sweep.items():
        times = "once" if len(some) == 1 else f"{len(some)} times, first"
        pages = (runs / "evaluations" / name / "evaluation.md", runs / "cards" / name / "card.md")
        said = "".join(f"\n    what was found: {page}" for page in pages if page.exists())
        lines.append(f"\n  {times} {some[0]}{said}")
    raise UserError(
        f"the test rows of {len(seen)} of {n_splits} splits were opened before:{''.join(lines)}\nTheir"
        " figures have been seen, so what was chosen or changed since is not judged honestly by them. Take"
        " other splits, such as split.seed=range(2000,2020), and train anew; or say --again to open them once"
        " more, which the page will tell"
    )


def _written(folder: Path) -> object:
    """What the page's data say, if there are any."""
    try:
        return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


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
        {EVALUATED: str(len(whole.splits)), ledger.JUDGED: latest},
        [folder / name for name in FILES],
    )
