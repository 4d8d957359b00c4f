"""Ranking the configurations of a sweep by what their runs did on validation rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev

from sweepgrad.config.schema import Metric
from sweepgrad.errors import UserError
from sweepgrad.selection.card import AVERAGE_OF
from sweepgrad.stats.metrics import BETTER
from sweepgrad.stats.selection import Choice, Standing
from sweepgrad.stats.standard_errors import settled
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import DIGEST

_SEED, _FOLD = "seed", "split.fold"
_SPLIT = ("split.seed", "split.turn")
_NOT_SETTINGS = (_SEED, _FOLD, "n_parameters", "n_features")


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
        accuracy, nll, roc_auc: on validation rows, at each run's best epoch.
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
    accuracy: Estimate
    nll: Estimate
    roc_auc: Estimate
    pairs: int = 0
    behind: Estimate | None = None
    standing: Standing | None = None
    tied: bool = False
    chosen: bool = False
    ensemble: str = ""

    @property
    def said(self) -> dict[str, str]:
        """What tells it from others."""
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

    def of(self, metric: Metric) -> Estimate:
        """Its mean over the runs."""
        return {"accuracy": self.accuracy, "nll": self.nll, "roc_auc": self.roc_auc}[metric]


def rank(runs: Sequence[Logged], metric: Metric = "accuracy") -> list[Entry]:
    """Finished runs as entries: the best mean first, on equality the smallest, and of these the lowest loss.

    Runs that differ in nothing but seed and fold make one entry. An entry that lacks pairs of a seed and a
    fold stands behind those that have them all: the mean of the pairs that survived flatters it. One that
    lacks a whole fold, so that its mean is of other rows, stands behind all that do not.

    Raises:
        UserError: no run finished.
    """
    done = [run for run in runs if finished(run)]
    if not done:
        raise UserError(f"none of the {len(runs)} runs finished, so there is nothing to rank")
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
        best = -BETTER[metric] * settled(entry.of(metric).mean)
        return lacks_a_fold, entry.unfinished > 0, best, entry.n_parameters, settled(entry.nll.mean)

    leader, *others = sorted(entries, key=place)
    return [leader, *(_compared(entry, leader, metric) for entry in others)]


def judged(entries: Sequence[Entry], choice: Choice) -> list[Entry]:
    """Entries with what was found by looking at the validation rows of the first ones of them."""
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
    """Runs by what they have of split.seed and split.turn, named by what differs, in numerical order."""

    def numbers(run: Logged) -> tuple[int, ...]:
        said = (run.params.get(key, "null") for key in _SPLIT)
        return tuple(-1 if value == "null" else int(value) for value in said)

    shown = differing([{key: run.params.get(key, "null") for key in _SPLIT} for run in runs])
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
    return run.status == "FINISHED" and "best/val/accuracy" in run.metrics


def fold_of(run: Logged) -> str:
    """The fold that a run was validated on; null without folds."""
    return run.params.get(_FOLD, "null")


def _folded(run: Logged) -> str | None:
    """How many folds there are."""
    return None if fold_of(run) == "null" else run.params.get("split.folds")


def seed_of(run: Logged) -> str:
    return run.params.get(_SEED, "")


def _pair(run: Logged) -> tuple[str, str]:
    return seed_of(run), fold_of(run)


def _settings(run: Logged) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key not in _NOT_SETTINGS}


def _entry(settings: dict[str, str], runs: list[Logged], unfinished: int, metric: Metric) -> Entry:
    def order(run: Logged) -> tuple[int, float, float]:
        fold = -1 if fold_of(run) == "null" else int(fold_of(run))
        return fold, -BETTER[metric] * run.metrics[f"best/val/{metric}"], run.metrics["best/val/nll"]

    return Entry(
        settings,
        tuple(sorted(runs, key=order)),
        unfinished,
        int(runs[0].params["n_parameters"]),
        accuracy=_estimate([run.metrics["best/val/accuracy"] for run in runs]),
        nll=_estimate([run.metrics["best/val/nll"] for run in runs]),
        roc_auc=_estimate([run.metrics["best/val/roc_auc"] for run in runs]),
    )


def _compared(entry: Entry, leader: Entry, metric: Metric) -> Entry:
    """The entry with how far it is behind the leader, on the same rows and from the same seeds."""
    name = f"best/val/{metric}"
    theirs = {_pair(run): run.metrics[name] for run in leader.runs}
    differences = [
        BETTER[metric] * (theirs[_pair(run)] - run.metrics[name])
        for run in entry.runs
        if _pair(run) in theirs
    ]
    behind = _estimate(differences) if differences else None
    return replace(entry, pairs=len(differences), behind=behind)


def _estimate(values: Sequence[float]) -> Estimate:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Estimate(fmean(values), error)
