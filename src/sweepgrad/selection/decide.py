"""From the runs of a sweep to the model to be judged, by validation rows: which one, and how it decides."""

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
from sweepgrad.selection.candidates import bundle_of, compare, configuration, digests_of, validation_of
from sweepgrad.selection.ranking import Entry, comparable, finished, folds, rank, splits
from sweepgrad.stats import thresholds
from sweepgrad.stats.selection import Choice
from sweepgrad.stats.thresholds import Threshold
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.registry import task_of
from sweepgrad.tasks.task import Task
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import N_JOBS
from sweepgrad.training.bundle import Bundle, ensemble
from sweepgrad.training.experiment import dtype_of


@dataclass(frozen=True, eq=False)
class Decision:
    """All that is decided before test rows are opened.

    Attributes:
        entries: all candidates, ranked; `choice` numbers them.
        runs: those of the model, of one fold; several make an ensemble.
        configs: theirs.
        trained: the model as it was trained, deciding at one half.
        bundle: the model as it is to be judged.
        scale: what its log-odds were multiplied by; 1 where they were left alone.
        cut: how the threshold was found on validation rows; None for one half and where it follows from costs
            alone.
        val: the validation rows that all this went by; of the model's fold.
        notices: what is to be told of scale and threshold.
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

    @property
    def entry(self) -> Entry:
        return self.entries[self.choice.chosen]

    @property
    def temperature(self) -> float:
        return 1 / self.scale

    @property
    def digests(self) -> Digests:
        """Of the rows that the model was trained on and compared on; they are still what they were."""
        return digests_of(self.runs[0])

    def training(self, tables: Tables) -> Training:
        """Return the rows that the model was trained on and compared on."""
        config = self.configs[0]
        return tables.training(config.data, config.split, dtype_of(config))

    @property
    def as_trained(self) -> bool:
        """Whether the model is that of its one run, unchanged."""
        return self.scale == 1 and self.bundle.threshold == self.trained.threshold and len(self.runs) == 1


def decide(store: Store, tables: Tables, jobs: Sequence[Logged]) -> Decision:
    """Choose by validation, as the runs themselves declare (`select`).

    A configuration or an ensemble is chosen by its mean over seeds and folds. Of it the first fold is taken,
    and of a configuration the best seed on that: folds have different validation rows, so the best run of
    all would be the one with the easiest rows.

    Arguments:
        jobs: the runs of a sweep.

    Raises:
        UserError: nothing to choose from, runs that cannot be compared, or a table or split that has changed
            since.
    """
    first = next((run for run in jobs if finished(run)), None)
    if first is None:
        raise UserError(f"none of the {len(jobs)} runs finished, so there is nothing to choose from")
    select = configuration(store, first).select
    return _decided(store, tables, rank(jobs, select.metric), select)


def _decided(store: Store, tables: Tables, entries: Sequence[Entry], select: Select) -> Decision:
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
    return settle(store, tables, *compare(store, tables, entries, select), select)


def settle(store: Store, tables: Tables, entries: list[Entry], choice: Choice, select: Select) -> Decision:
    """The model of the entry that was chosen, with its scale and its threshold.

    Raises:
        UserError: the table, the split or the columns are not what the runs were made on.
    """
    runs = entries[choice.chosen].members
    configs = tuple(configuration(store, run) for run in runs)
    val = validation_of(tables, runs[0], configs[0])
    trained = ensemble([bundle_of(store, run) for run in runs])
    if unlike := set(trained.columns) ^ set(val.roles.features):  # baselines would learn from others
        raise UserError(
            f"run {runs[0].name} was trained on other columns than would be trained on now"
            f" ({', '.join(sorted(unlike))}): a leak check of an extension came or went; put it back, or"
            " train anew"
        )
    scale, of_scale = _scale(task_of(configs[0].data), select, val.y, trained.scores(val.frame))
    scaled = trained if scale == 1 else trained.scaled(scale)
    p, units = scaled.probabilities(val.frame), units_of(val.frame, val.roles.group)
    threshold, cut = _threshold(select, val.y, p, units, tables, configs[0])
    bundle = replace(scaled, threshold=threshold)
    of_threshold = _of_threshold(bundle, p)
    notices = (of_scale, of_threshold, _of_ensembles(select, entries))
    return Decision(
        entries, choice, select, runs, configs, trained, bundle, scale, cut, val, tuple(filter(None, notices))
    )


def standings(
    store: Store, tables: Tables, runs: Sequence[Logged]
) -> tuple[list[Entry], str, Decision | None, str]:
    """The runs of a sweep ranked, with what the validation rows say of them where these can be had.

    Returns:
        The entries, the metric that they are ranked by, what `finalize` would judge, None where it would
        refuse, and what the user should be told; empty for nothing.

    Raises:
        UserError: no run finished.
    """
    first = next((run for run in runs if finished(run)), None)
    if first is None:
        return rank(runs, BINARY.default), BINARY.default, None, ""  # which says so
    try:
        select = configuration(store, first).select
    except UserError as error:
        told = f"ranked by {BINARY.default}, for its configuration cannot be read: {error}"
        return rank(runs, BINARY.default), BINARY.default, None, told
    entries = rank(runs, select.metric)
    try:
        decision = _decided(store, tables, entries, select)
    except UserError as error:
        return entries, select.metric, None, f"without intervals over the validation rows: {error}"
    return decision.entries, select.metric, decision, "\n".join(decision.notices)


def refuse_unfinished(sweep: Logged, runs: Sequence[Logged], *, incomplete: bool) -> None:
    """See whether there is a whole sweep to choose from.

    Raises:
        UserError: it is running, or did not finish and this is not asked for.
    """
    if sweep.status == "RUNNING":
        raise UserError(f"{sweep.name} is still running: wait for it, or look with sweepgrad leaderboard")
    if sweep.status != "FINISHED" and not incomplete:
        done = sum(run.status == "FINISHED" for run in runs)
        of = sweep.tags.get(N_JOBS, str(len(runs)))
        raise UserError(
            f"{sweep.name} is {sweep.status}: {done} of {of} runs finished. Run it again, or choose among"
            " these with --incomplete"
        )


def _scale(task: Task, select: Select, y: Array, scores: Array) -> tuple[float, str]:
    """What log-odds are multiplied by, and why they are not where they were to be."""
    if select.calibration == "none":
        return 1.0, ""
    found = task.best_scale(y, scores)
    if found is None:
        return 1.0, (
            "the probabilities are left as they were trained: on the validation rows no temperature is best,"
            " since the model tells all of them apart, or none better than by chance"
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
    at = f"at the threshold {bundle.threshold:.3g} every validation row is taken for"
    return f"{at} {bundle.target} = {answer}"


def _of_ensembles(select: Select, entries: Sequence[Entry]) -> str:
    if select.ensemble.kind == "none" or any(entry.ensemble for entry in entries):
        return ""
    if select.ensemble.kind == "seeds":
        return "select.ensemble: there is nothing to average, for no configuration has two seeds"
    return f"select.ensemble: there are no {select.ensemble.size} configurations to average"
