"""Ranking the runs of a sweep by what they did on validation rows."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev

from rich.table import Table
from rich.text import Text

from sweepgrad.entities import Logged
from sweepgrad.errors import UserError
from sweepgrad.tracking import DIGEST

_SEED, _FOLD = "seed", "split.fold"
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
    """A configuration with its runs, one for each pair of a seed and a fold.

    Attributes:
        settings: the values of the keys that differ within the sweep.
        runs: those that finished, by fold, and within a fold best on validation first: no fold goes before
            another for its accuracy, which is of other rows.
        unfinished: how many pairs more there are that were begun, or that another entry finished.
        accuracy, nll, roc_auc: on validation rows, at each run's best epoch.
        pairs: how many pairs both this entry and the leader finished; 0 for the leader.
        behind: the leader's accuracy minus this one's, over these pairs; None for the leader and without any.
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


def rank(runs: Sequence[Logged]) -> list[Entry]:
    """Finished runs as entries: the highest mean validation accuracy first, on equality the lowest loss.

    Runs that differ in nothing but seed and fold make one entry. An entry that lacks pairs of a seed and a
    fold stands behind those that have them all: the mean of the pairs that survived flatters it. One that
    lacks a whole fold, so that its mean is of other rows, stands behind all that do not.

    Raises:
        UserError: no run finished.
    """
    finished = [run for run in runs if _finished(run)]
    if not finished:
        raise UserError(f"none of the {len(runs)} runs finished, so there is nothing to rank")
    groups: dict[tuple[tuple[str, str], ...], list[Logged]] = defaultdict(list)
    for run in runs:
        groups[tuple(sorted(_settings(run).items()))].append(run)
    shown = differing([_settings(run) for run in finished])
    pairs = {_pair(run) for run in finished}
    entries = []
    for group, members in groups.items():
        ended = {_pair(run): run for run in members if _finished(run)}
        if ended:
            lacking = (pairs | {_pair(run) for run in members}) - ended.keys()
            settings = {key: dict(group).get(key, "") for key in shown}
            entries.append(_entry(settings, list(ended.values()), len(lacking)))

    all_folds = folds(finished)

    def place(entry: Entry) -> tuple[bool, bool, float, float]:
        lacks_a_fold = folds(entry.runs) != all_folds
        return lacks_a_fold, entry.unfinished > 0, -entry.accuracy.mean, entry.nll.mean

    leader, *others = sorted(entries, key=place)
    return [leader, *(_compared(entry, leader) for entry in others)]


def comparable(runs: Sequence[Logged]) -> bool:
    """Whether the runs are of one table, with the same test rows, and the same rows in the same fold."""
    whole = {(run.tags.get(f"{DIGEST}table"), run.tags.get(f"{DIGEST}test"), _folded(run)) for run in runs}
    parts = {(_fold(run), run.tags.get(f"{DIGEST}train"), run.tags.get(f"{DIGEST}val")) for run in runs}
    return len(whole) <= 1 and len(parts) == len(folds(runs))


def folds(runs: Sequence[Logged]) -> set[str]:
    """The folds that runs were validated on; {"null"} without folds."""
    return {_fold(run) for run in runs}


def differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """The keys that do not have the same value everywhere."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def _finished(run: Logged) -> bool:
    return run.status == "FINISHED" and "best/val/accuracy" in run.metrics


def _fold(run: Logged) -> str:
    return run.params.get(_FOLD, "null")


def _folded(run: Logged) -> str | None:
    """How many folds there are."""
    return None if _fold(run) == "null" else run.params.get("split.folds")


def _pair(run: Logged) -> tuple[str, str]:
    return run.params.get(_SEED, ""), _fold(run)


def _settings(run: Logged) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key not in _NOT_SETTINGS}


def _entry(settings: dict[str, str], runs: list[Logged], unfinished: int) -> Entry:
    def order(run: Logged) -> tuple[int, float, float]:
        fold = -1 if _fold(run) == "null" else int(_fold(run))
        return fold, -run.metrics["best/val/accuracy"], run.metrics["best/val/nll"]

    return Entry(
        settings,
        tuple(sorted(runs, key=order)),
        unfinished,
        int(runs[0].params["n_parameters"]),
        accuracy=_estimate([run.metrics["best/val/accuracy"] for run in runs]),
        nll=_estimate([run.metrics["best/val/nll"] for run in runs]),
        roc_auc=_estimate([run.metrics["best/val/roc_auc"] for run in runs]),
    )


def _compared(entry: Entry, leader: Entry) -> Entry:
    """The entry with how far it is behind the leader, on the same rows and from the same seeds."""
    theirs = {_pair(run): run.metrics["best/val/accuracy"] for run in leader.runs}
    differences = [
        theirs[_pair(run)] - run.metrics["best/val/accuracy"] for run in entry.runs if _pair(run) in theirs
    ]
    behind = _estimate(differences) if differences else None
    return replace(entry, pairs=len(differences), behind=behind)


def _estimate(values: Sequence[float]) -> Estimate:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Estimate(fmean(values), error)


def as_table(title: str, entries: Sequence[Entry]) -> Table:
    """For a terminal."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("#", justify="right")
    for key in entries[0].settings:
        table.add_column(Text(key), justify="right")
    against = ("leader minus it",) if len(entries) > 1 else ()
    for name in ("parameters", "runs", "val accuracy", *against, "val nll", "val ROC AUC"):
        table.add_column(name, justify="right")
    for place, entry in enumerate(entries, 1):
        table.add_row(
            str(place),
            *(Text(value) for value in entry.settings.values()),
            str(entry.n_parameters),
            str(len(entry.runs)) + (f" of {len(entry.runs) + entry.unfinished}" if entry.unfinished else ""),
            str(entry.accuracy),
            *(str(entry.behind or ("" if place == 1 else "no pair")) for _ in against),
            str(entry.nll),
            str(entry.roc_auc),
            style="bold" if place == 1 else None,
        )
    if len({frozenset(folds(entry.runs)) for entry in entries}) > 1:
        table.caption = "means over different folds are of different rows: go by the leader minus it"
        table.caption_justify = "left"
    return table


def as_rows(entries: Sequence[Entry]) -> list[dict[str, object]]:
    """For programs: one flat record for each entry."""
    return [
        {
            "rank": place,
            **entry.settings,
            "n_parameters": entry.n_parameters,
            "runs": len(entry.runs),
            "unfinished": entry.unfinished,
            "val/accuracy": entry.accuracy.mean,
            "val/accuracy_se": entry.accuracy.standard_error,
            "val/nll": entry.nll.mean,
            "val/nll_se": entry.nll.standard_error,
            "val/roc_auc": entry.roc_auc.mean,
            "val/roc_auc_se": entry.roc_auc.standard_error,
            "pairs_with_leader": entry.pairs,
            "val/accuracy_leader_minus_it": entry.behind and entry.behind.mean,
            "val/accuracy_leader_minus_it_se": entry.behind and entry.behind.standard_error,
            "run_ids": " ".join(run.run_id for run in entry.runs),
        }
        for place, entry in enumerate(entries, 1)
    ]


def as_json(sweep: Logged, entries: Sequence[Entry]) -> str:
    rows = [{**row, "run_ids": str(row["run_ids"]).split()} for row in as_rows(entries)]
    return json.dumps(
        {
            "sweep": sweep.name,
            "sweep_id": sweep.run_id,
            "comparable": comparable([run for entry in entries for run in entry.runs]),
            "entries": rows,
        },
        indent=1,
    )


def as_csv(entries: Sequence[Entry]) -> str:
    rows = as_rows(entries)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
