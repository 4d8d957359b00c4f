"""Decide, on validation rows, which model of a sweep to evaluate, and its temperature and threshold."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.schema import Config, Select
from sweepgrad.config.thresholds import CostThreshold, HalfThreshold
from sweepgrad.data.access import Rows, Tables, Training
from sweepgrad.data.digests import Digests
from sweepgrad.data.split import units_of
from sweepgrad.errors import UserError
from sweepgrad.selection.candidates import compare
from sweepgrad.selection.evidence import Evidence, digests_of
from sweepgrad.selection.ranking import Entry, comparable, finished, folds, none_finished, rank, splits
from sweepgrad.selection.run_files import Damaged
from sweepgrad.stats import thresholds
from sweepgrad.stats.selection import Choice
from sweepgrad.stats.thresholds import Threshold
from sweepgrad.tasks.registry import task_of
from sweepgrad.tasks.task import Task
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import KIND, N_JOBS, RUN_KIND
from sweepgrad.training.bundle import Bundle, ensemble
from sweepgrad.training.experiment import dtype_of

log = logging.getLogger(__name__)

_MOST = 5  # damaged runs that are listed


@dataclass(frozen=True, eq=False)
class Decision:
    """Everything that is decided before the test set is evaluated.

    Attributes:
        entries: all candidates, ranked; `choice` refers to them by number.
        runs: of the model, all of one fold; several make an ensemble.
        configs: of these runs.
        trained: the model as it was trained, with a threshold of 0.5.
        bundle: the model to evaluate.
        scale: the factor of its log-odds; 1 without calibration.
        cut: how the threshold was found on validation rows; None for 0.5, and if it follows from costs.
        val: the validation rows of the model's fold.
        notices: remarks on the scale and the threshold.
        evidence: the runs that it was decided by.
    """

    entries: list[Entry]
    choice: Choice
    select: Select
    runs: tuple[Logged, ...]
    configs: tuple[Config, ...]
    trained: Bundle
    bundle: Bundle
    scale: float
    cut: Threshold | None
    val: Rows
    notices: tuple[str, ...]
    evidence: Evidence

    @property
    def entry(self) -> Entry:
        """The candidate that was chosen."""
        return self.entries[self.choice.chosen]

    @property
    def temperature(self) -> float:
        """The divisor of the log-odds."""
        return 1 / self.scale

    @property
    def digests(self) -> Digests:
        """The digests of the rows that the model was trained and compared on."""
        return digests_of(self.runs[0])

    def training(self, tables: Tables) -> Training:
        """Return the rows that the model was trained and compared on."""
        config = self.configs[0]
        return tables.training(config.data, config.split, dtype_of(config))

    @property
    def as_trained(self) -> bool:
        """True if the model is that of its one run, unchanged."""
        return self.scale == 1 and self.bundle.threshold == self.trained.threshold and len(self.runs) == 1


def decide(store: Store, tables: Tables, jobs: Sequence[Logged], *, incomplete: bool = False) -> Decision:
    """Choose a model by validation, by the rule in the runs' own configuration (`select`).

    A configuration or an ensemble is chosen by its mean over seeds and folds. The model is of its first fold,
    and of a configuration the best seed there: folds have different validation rows, so the best run of all
    folds would be the one with the easiest rows.

    Arguments:
        jobs: the runs of a sweep.
        incomplete: choose among the runs that are intact, although others are damaged.

    Raises:
        UserError: no run finished, a run is not as it was written, the runs cannot be compared, or the table
            or the split has changed.
    """
    if not jobs:
        raise UserError("the sweep has no runs that ended: train it first")
    evidence = Evidence(store, tables)
    while True:
        runs = evidence.checked(jobs)
        if evidence.problems and not incomplete:
            raise UserError(_refusal(evidence, jobs))
        first = next((run for run in runs if finished(run)), None)
        if first is None:
            raise UserError(
                f"{none_intact(evidence, jobs)}, so there is no model to choose{listed(evidence, jobs)}"
            )
        if evidence.unread:
            raise UserError(evidence.unread)
        select = evidence.config(first).select
        try:
            decision = choose_among(evidence, rank(runs, select.metric), select)
        except Damaged as damaged:
            evidence.reject(damaged)
            continue
        if evidence.problems:
            log.warning(f"not chosen from:{listed(evidence, jobs)}")
        return decision


def _refusal(evidence: Evidence, jobs: Sequence[Logged]) -> str:
    n, single = len(evidence.problems), len(jobs) == 1
    what = "the run is" if single else f"{n} of {len(jobs)} runs {'is' if n == 1 else 'are'}"
    if jobs[0].tags.get(KIND) == RUN_KIND:
        remedy = "repeat its command, which trains a new run"
    else:  # the result of a job in its folder would be reused
        remedy = "delete the folder of such a run and repeat the command of the sweep, to train it again"
    if not single:
        remedy += "; or choose among the others with --incomplete (in Python: incomplete=True)"
    return (
        f"nothing was chosen, since {what} not as written:{listed(evidence, jobs)}\nRestore what was changed;"
        f" or {remedy}"
    )


def none_intact(evidence: Evidence, jobs: Sequence[Logged]) -> str:
    """Say why none of the runs can be ranked: none finished, or those that did are damaged."""
    if not evidence.problems:
        return none_finished(len(jobs))
    return "the run is not as it was written" if len(jobs) == 1 else f"none of the {len(jobs)} runs is intact"


def listed(evidence: Evidence, jobs: Sequence[Logged]) -> str:
    """List damaged runs, a line for each."""
    lines = [f"\n  run {run.name} ({run.run_id}): {problem}" for run, problem in damaged_runs(evidence, jobs)]
    more = f"\n  and {len(lines) - _MOST} more" if len(lines) > _MOST else ""
    return "".join(lines[:_MOST]) + more


def damaged_runs(evidence: Evidence, jobs: Sequence[Logged]) -> list[tuple[Logged, str]]:
    """Return the damaged runs, each with what is wrong."""
    return [(run, evidence.problems[run.run_id]) for run in jobs if run.run_id in evidence.problems]


def choose_among(evidence: Evidence, entries: Sequence[Entry], select: Select) -> Decision:
    """Return the choice among entries; raise as `decide`, or `Damaged` for a damaged run."""
    candidates = [run for entry in entries for run in entry.runs]
    if not comparable(candidates):
        several = len(splits(candidates))
        instead = f"; or evaluate its {several} splits with sweepgrad evaluate" if several > 1 else ""
        raise UserError(
            "the runs of this sweep are on different tables or splits, so their metrics cannot be compared:"
            f" sweep with one table, one split.seed and one split.folds{instead}"
        )
    if folds(entries[0].runs) != folds(candidates):
        raise UserError(
            "no configuration finished on every fold, so their means cannot be compared: train the runs that"
            " are missing"
        )
    return settle(evidence, *compare(evidence, entries, select), select)


def settle(evidence: Evidence, entries: list[Entry], choice: Choice, select: Select) -> Decision:
    """Return the model of the entry that was chosen, with its scale and its threshold.

    The weights of all runs of the entry are checked against their validation scores.

    Raises:
        Damaged: the weights of a run do not predict its validation scores.
        UserError: the table, the split or the columns have changed since the runs were trained.
    """
    runs = entries[choice.chosen].members
    configs = tuple(evidence.config(run) for run in runs)
    val, trained = evidence.rows(runs[0]), ensemble([evidence.bundle(run) for run in runs])
    if unlike := set(trained.columns) ^ set(val.roles.features):  # else baselines would learn from others
        raise UserError(
            f"run {runs[0].name} was trained on other columns than a run would be now"
            f" ({', '.join(sorted(unlike))}): a column check of an extension was added or removed. Restore"
            " it, or train again"
        )
    for run in entries[choice.chosen].runs:
        evidence.check_weights(run)
    scale, of_scale = _scale(task_of(configs[0].data), select, val.y, trained.scores(val.frame))
    scaled = trained if scale == 1 else trained.scaled(scale)
    p, units = scaled.probabilities(val.frame), units_of(val.frame, val.roles.group)
    threshold, cut = _threshold(select, val.y, p, units, evidence.tables, configs[0])
    bundle = replace(scaled, threshold=threshold)
    notices = tuple(filter(None, (of_scale, _of_threshold(bundle, p), _of_ensembles(select, entries))))
    return Decision(
        entries, choice, select, runs, configs, trained, bundle, scale, cut, val, notices, evidence
    )


def refuse_unfinished(sweep: Logged, runs: Sequence[Logged], *, incomplete: bool) -> None:
    """Check that a sweep has ended.

    Arguments:
        incomplete: accept one that ended before all its runs had finished.

    Raises:
        UserError: it is running, or not all of its runs finished.
    """
    if sweep.status == "RUNNING":
        raise UserError(f"{sweep.name} is still running: wait until it ends")
    if sweep.status != "FINISHED" and not incomplete:
        done = sum(run.status == "FINISHED" for run in runs)
        total = sweep.tags.get(N_JOBS, str(len(runs)))
        raise UserError(
            f"{sweep.name} is {sweep.status}: {done} of {total} runs finished. Run the same command again, or"
            " choose among these with --incomplete (in Python: incomplete=True)"
        )


def _scale(task: Task, select: Select, y: Array, scores: Array) -> tuple[float, str]:
    """Return the factor of the log-odds, and a notice if none could be found."""
    if select.calibration == "none":
        return 1.0, ""
    found = task.best_scale(y, scores)
    if found is None:
        return 1.0, (
            "select.calibration: no temperature was found, so the probabilities are as trained; the model"
            " separates the two classes on the validation rows perfectly, or no better than by chance"
        )
    return found, ""


def _threshold(
    select: Select, y: Array, p: Array, units: NDArray[np.int64], tables: Tables, config: Config
) -> tuple[float, Threshold | None]:
    if isinstance(select.threshold, HalfThreshold):
        return 0.5, None
    if isinstance(select.threshold, CostThreshold):
        costs = select.threshold
        return thresholds.of_costs(costs.false_positive, costs.false_negative), None
    rule, prevalence = select.threshold.rule, 0.0
    if rule == "prevalence":
        prevalence = float(tables.training(config.data, config.split, dtype_of(config)).y_train.mean())
    cut = thresholds.best_threshold(rule, y, p, units, prevalence, rng.key(0, "threshold"))
    return cut.threshold, cut


def _of_threshold(bundle: Bundle, p: Array) -> str:
    share = float(np.mean(p >= bundle.threshold))
    if 0 < share < 1:
        return ""
    answer = bundle.positive if share else bundle.negative
    at = f"at the threshold {bundle.threshold:.3g} every validation row is predicted"
    return f"{at} {bundle.target} = {answer}"


def _of_ensembles(select: Select, entries: Sequence[Entry]) -> str:
    if select.ensemble.kind == "none" or any(entry.ensemble for entry in entries):
        return ""
    if select.ensemble.kind == "seeds":
        return "select.ensemble: no average was made, since no configuration has two seeds"
    return f"select.ensemble: no average was made of fewer than {select.ensemble.size} configurations"
