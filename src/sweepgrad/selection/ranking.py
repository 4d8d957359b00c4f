"""Ranking the configurations of a sweep by what their runs did on validation rows."""

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
    """A mean over runs and its standard error as if they were independent; one run alone does not have one.

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
        settings: the values of the keys that differ within the sweep; of the best ones averaged, empty.
        runs: those that finished, by fold, and within a fold best on validation first: no fold goes before
            another for its accuracy, which is of other rows.
        unfinished: how many pairs more there are that were begun, or that another entry finished.
        metrics: on validation rows, at each run's best epoch, by name: those that all its runs report.
        pairs: how many pairs both this entry and the leading configuration finished; 0 for that one.
        behind: how far this one's metric is behind that one's, over these pairs; None for that one and
            without any.
        standing: what the validation rows, one by one, say of it; None where they were not looked at.
        tied: whether it is not told apart from the leader, or is the leader and has such others.
        chosen: whether `finalize` would take it.
        ensemble: what is averaged, in words; empty for a configuration.
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
        """Return what tells it from others."""
        if not self.ensemble:
            return self.settings
        return {**{k: v for k, v in self.settings.items() if v}, AVERAGE_OF: self.ensemble}

    @property
    def members(self) -> tuple[Logged, ...]:
        """The runs that make the model to be judged: of a configuration its best seed, of an ensemble all.

        They are of one fold, the first, since folds have different validation rows.
        """
        first = tuple(run for run in self.runs if fold_of(run) == fold_of(self.runs[0]))
        return first if self.ensemble else first[:1]


def rank(runs: Sequence[Logged], by: str = BINARY.default) -> list[Entry]:
    """Finished runs as entries: the best mean first, on equality the smallest, and of these the lowest loss.

    Runs that differ in nothing but seed and fold make one entry. An entry that lacks pairs of a seed and a
    fold stands behind those that have them all: the mean of the pairs that survived is optimistic. One that
    lacks a whole fold, so that its mean is of other rows, stands behind all that do not.

    Arguments:
        by: the name of the metric.

    Raises:
        UserError: no run finished, or one does not report the metric.
    """
    metric, done = METRICS[by], [run for run in runs if finished(run)]
    if not done:
        raise UserError(f"none of the {len(runs)} runs finished, so there is nothing to rank")
    if other := next((run for run in done if metric.key not in run.metrics), None):
        raise UserError(
            f"run {other.run_id} does not report {metric.key}: train anew with what adds that metric, or"
            " choose by another select.metric"
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
            lacking = (pairs | {_pair(run) for run in members}) - ended.keys()
            settings = {key: dict(group).get(key, "") for key in shown}
            entries.append(_entry(settings, list(ended.values()), len(lacking), metric))

    all_folds = folds(done)

    def place(entry: Entry) -> tuple[bool, bool, float, int, float]:
        lacks_a_fold = folds(entry.runs) != all_folds
        best, loss = (
            each.sign * settled(entry.metrics[each.name].mean) for each in (metric, loss_of(metric))
        )
        return lacks_a_fold, entry.unfinished > 0, -best, entry.n_parameters, -loss

    leader, *others = sorted(entries, key=place)
    return [leader, *(_compared(entry, leader, metric) for entry in others)]


def with_standings(entries: Sequence[Entry], choice: Choice) -> list[Entry]:
    """Return entries with what was found by looking at the validation rows of the first ones of them."""
    seen = [
        replace(
            entry,
            standing=standing,
            tied=len(choice.tied) > 1 and number in choice.tied,
            chosen=number == choice.chosen,
        )
        for number, (entry, standing) in enumerate(zip(entries, choice.standings, strict=False))
    ]
    return [*seen, *entries[len(seen) :]]


def comparable(runs: Sequence[Logged]) -> bool:
    """Whether the runs are of one table, with the same test rows, and the same rows in the same fold."""
    whole = {(run.tags.get(f"{DIGEST}table"), run.tags.get(f"{DIGEST}test"), _folded(run)) for run in runs}
    parts = {(fold_of(run), run.tags.get(f"{DIGEST}train"), run.tags.get(f"{DIGEST}val")) for run in runs}
    return len(whole) <= 1 and len(parts) == len(folds(runs))


def folds(runs: Sequence[Logged]) -> set[str]:
    """The folds that runs were validated on; {"null"} without folds."""
    return {fold_of(run) for run in runs}


def splits(runs: Sequence[Logged]) -> dict[str, list[Logged]]:
    """Return runs by their split.seed and split.outer_fold, named by what differs, in numerical order."""

    def numbers(run: Logged) -> tuple[int, ...]:
        said = (run.params.get(key, "null") for key in SPLIT)
        return tuple(-1 if value == "null" else int(value) for value in said)

    shown = differing([{key: run.params.get(key, "null") for key in SPLIT} for run in runs])
    found: dict[str, list[Logged]] = {}
    for run in sorted(runs, key=numbers):
        name = " ".join(f"{key}={run.params.get(key, 'null')}" for key in shown)
        found.setdefault(name, []).append(run)
    return found


def differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """The keys that do not have the same value everywhere."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def finished(run: Logged) -> bool:
    """Whether a run can be ranked."""
    return run.status == "FINISHED" and any(name.startswith(BEST) for name in run.metrics)


def fold_of(run: Logged) -> str:
    """The fold that a run was validated on; null without folds."""
    return run.params.get(FOLD, "null")


def _folded(run: Logged) -> str | None:
    """How many folds there are."""
    return None if fold_of(run) == "null" else run.params.get("split.folds")


def seed_of(run: Logged) -> str:
    return run.params.get(SEED, "")


def _pair(run: Logged) -> tuple[str, str]:
    return seed_of(run), fold_of(run)


def _settings(run: Logged) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key not in _NOT_SETTINGS}


def loss_of(metric: Metric) -> Metric:
    """Return the metric that runs which report this one are trained by."""
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
    """The entry with how far it is behind the leader, on the same rows and from the same seeds."""
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
