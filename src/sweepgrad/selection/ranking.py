"""Rank the configurations of a sweep by the validation metrics of their runs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev

from sweepgrad.config.identity import FOLD, REPLICATES, SEED, SPLIT
from sweepgrad.errors import UserError
from sweepgrad.selection.card import AVERAGE_OF
from sweepgrad.stats.metrics import BEST, METRICS, Metric
from sweepgrad.stats.selection import Choice, Standing
from sweepgrad.stats.standard_errors import settled
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.registry import TASKS
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.tags import DIGEST

_NOT_SETTINGS = (*REPLICATES, "n_parameters", "n_features")


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its standard error, as if the runs were independent; None for a single run.

    Runs on folds share most of their training rows, and seeds share a fold, so the true error is larger.
    """

    mean: float
    standard_error: float | None

    def __str__(self) -> str:
        error = f" ± {self.standard_error:.4f}" if self.standard_error is not None else ""
        return f"{self.mean:.4f}{error}"


@dataclass(frozen=True)
class Entry:
    """A configuration with its runs, one for each pair of a seed and a fold; or an ensemble of such runs.

    Attributes:
        settings: the values of the keys that differ within the sweep; empty values for an ensemble of
            several configurations.
        runs: the finished runs, ordered by fold, and within a fold by the validation metric, best first.
            Folds have different validation rows, so metrics do not order runs of different folds.
        unfinished: the number of missing pairs: started by this entry, or finished by another one.
        metrics: validation metrics at the best epochs by name, as far as all runs report them.
        pairs: the number of pairs that both this entry and the leader finished; 0 for the leader.
        behind: the mean difference of the metric to the leader over these pairs; None for the leader, or
            without such pairs.
        standing: the comparison row by row; None without one.
        tied: whether it is not significantly different from the leader; for the leader, whether another
            entry is tied with it.
        chosen: whether `finalize` would choose it.
        ensemble: a short description of an ensemble; empty for a configuration.
    """

    settings: dict[str, str]
    runs: tuple[Logged, ...]
    unfinished: int
    n_parameters: int
    metrics: Mapping[str, Estimate]
    pairs: int = 0
    behind: Estimate | None = None
    standing: Standing | None = None
    tied: bool = False
    chosen: bool = False
    ensemble: str = ""

    @property
    def distinction(self) -> dict[str, str]:
        """The settings in which it differs from other entries."""
        if not self.ensemble:
            return self.settings
        return {**{k: v for k, v in self.settings.items() if v}, AVERAGE_OF: self.ensemble}

    @property
    def members(self) -> tuple[Logged, ...]:
        """The runs of the model to evaluate: the best seed of a configuration, or all runs of an ensemble.

        All are on the first fold, since folds have different validation rows.
        """
        first = tuple(run for run in self.runs if fold_of(run) == fold_of(self.runs[0]))
        return first if self.ensemble else first[:1]


def rank(runs: Sequence[Logged], by: str = BINARY.default) -> list[Entry]:
    """Rank the finished runs: by the best mean, then the fewest parameters, then the lowest loss.

    Runs that differ only in seed and fold form one entry. An entry that lacks a pair of a seed and a fold
    ranks behind complete ones, since the mean of the remaining pairs is optimistically biased. An entry that
    lacks a whole fold ranks last, since its mean is over other rows.

    Arguments:
        by: the name of the metric.

    Raises:
        UserError: no run finished, or a run does not report the metric.
    """
    metric, done = METRICS[by], [run for run in runs if finished(run)]
    if not done:
        raise UserError(f"{none_finished(len(runs))}, so there is nothing to rank")
    if other := next((run for run in done if metric.key not in run.metrics), None):
        raise UserError(
            f"run {other.run_id} does not report {metric.key}: train again with the extension that adds this"
            " metric, or choose another select.metric"
        )
    groups: dict[tuple[tuple[str, str], ...], list[Logged]] = defaultdict(list)
    for run in runs:
        groups[tuple(sorted(_settings(run).items()))].append(run)
    shown = differing([_settings(run) for run in done])
    pairs = {_pair(run) for run in done}
    entries = []
    for group, members in groups.items():
        ended = {_pair(run): run for run in members if finished(run)}
        if ended:
            missing = (pairs | {_pair(run) for run in members}) - ended.keys()
            settings = {key: dict(group).get(key, "") for key in shown}
            entries.append(_entry(settings, list(ended.values()), len(missing), metric))

    all_folds = folds(done)

    def order(entry: Entry) -> tuple[bool, bool, float, int, float]:
        lacks_a_fold = folds(entry.runs) != all_folds
        best, loss = (
            each.sign * settled(entry.metrics[each.name].mean) for each in (metric, loss_of(metric))
        )
        return lacks_a_fold, entry.unfinished > 0, -best, entry.n_parameters, -loss

    leader, *others = sorted(entries, key=order)
    return [leader, *(_compared(entry, leader, metric) for entry in others)]


def with_standings(entries: Sequence[Entry], choice: Choice) -> list[Entry]:
    """Return entries, the first ones with their standings in a comparison row by row."""
    compared = [
        replace(
            entry,
            standing=standing,
            tied=len(choice.tied) > 1 and number in choice.tied,
            chosen=number == choice.chosen,
        )
        for number, (entry, standing) in enumerate(zip(entries, choice.standings, strict=False))
    ]
    return [*compared, *entries[len(compared) :]]


def comparable(runs: Sequence[Logged]) -> bool:
    """Return whether the runs share a table, its test rows, and the rows of each fold."""
    whole = {(run.tags.get(f"{DIGEST}table"), run.tags.get(f"{DIGEST}test"), _folded(run)) for run in runs}
    parts = {(fold_of(run), run.tags.get(f"{DIGEST}train"), run.tags.get(f"{DIGEST}val")) for run in runs}
    return len(whole) <= 1 and len(parts) == len(folds(runs))


def folds(runs: Sequence[Logged]) -> set[str]:
    """Return the folds that runs were validated on; {"null"} without folds."""
    return {fold_of(run) for run in runs}


def splits(runs: Sequence[Logged]) -> dict[str, list[Logged]]:
    """Return runs by split.seed and split.outer_fold, in numerical order, named by the keys that differ."""

    def numbers(run: Logged) -> tuple[int, ...]:
        values = (run.params.get(key, "null") for key in SPLIT)
        return tuple(-1 if value == "null" else int(value) for value in values)

    shown = differing([{key: run.params.get(key, "null") for key in SPLIT} for run in runs])
    found: dict[str, list[Logged]] = {}
    for run in sorted(runs, key=numbers):
        name = " ".join(f"{key}={run.params.get(key, 'null')}" for key in shown)
        found.setdefault(name, []).append(run)
    return found


def differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """Return the keys whose values are not all equal."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def none_finished(n: int) -> str:
    """Say that none of n runs finished."""
    if n == 0:
        return "there are no runs"
    return "the run did not finish" if n == 1 else f"none of the {n} runs finished"


def finished(run: Logged) -> bool:
    """Return whether a run finished and can be ranked."""
    return run.status == "FINISHED" and any(name.startswith(BEST) for name in run.metrics)


def fold_of(run: Logged) -> str:
    """Return the fold that a run was validated on; "null" without folds."""
    return run.params.get(FOLD, "null")


def _folded(run: Logged) -> str | None:
    """Return the number of folds; None without folds."""
    return None if fold_of(run) == "null" else run.params.get("split.folds")


def seed_of(run: Logged) -> str:
    return run.params.get(SEED, "")


def _pair(run: Logged) -> tuple[str, str]:
    return seed_of(run), fold_of(run)


def _settings(run: Logged) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key not in _NOT_SETTINGS}


def loss_of(metric: Metric) -> Metric:
    """Return the training loss of the task that has this metric."""
    return METRICS[TASKS[metric.tasks[0]].loss]


def _entry(settings: dict[str, str], runs: list[Logged], unfinished: int, metric: Metric) -> Entry:
    def order(run: Logged) -> tuple[int, float, float]:
        fold = -1 if fold_of(run) == "null" else int(fold_of(run))
        best, loss = (each.sign * run.metrics[each.key] for each in (metric, loss_of(metric)))
        return fold, -best, -loss

    return Entry(
        settings,
        tuple(sorted(runs, key=order)),
        unfinished,
        int(runs[0].params["n_parameters"]),
        {
            name: _estimate([run.metrics[each.key] for run in runs])
            for name, each in METRICS.items()
            if all(each.key in run.metrics for run in runs)
        },
    )


def _compared(entry: Entry, leader: Entry, metric: Metric) -> Entry:
    """Return the entry with its mean difference to the leader, over pairs of the same seed and fold."""
    theirs = {_pair(run): run.metrics[metric.key] for run in leader.runs}
    differences = [
        metric.sign * (theirs[_pair(run)] - run.metrics[metric.key])
        for run in entry.runs
        if _pair(run) in theirs
    ]
    behind = _estimate(differences) if differences else None
    return replace(entry, pairs=len(differences), behind=behind)


def _estimate(values: Sequence[float]) -> Estimate:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Estimate(fmean(values), error)
