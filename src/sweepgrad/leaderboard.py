"""Ranking the runs of a sweep by what they did on validation rows."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from rich.table import Table
from rich.text import Text

from sweepgrad.entities import Logged
from sweepgrad.errors import UserError
from sweepgrad.tracking import DIGEST

SEED = "seed"
_NOT_SETTINGS = (SEED, "n_parameters", "n_features")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its standard error, which one seed alone does not have."""

    mean: float
    standard_error: float | None

    def __str__(self) -> str:
        error = f" ± {self.standard_error:.4f}" if self.standard_error is not None else ""
        return f"{self.mean:.4f}{error}"


@dataclass(frozen=True)
class Entry:
    """A configuration with its runs, one for each seed.

    Attributes:
        settings: the values of the keys that differ within the sweep.
        runs: those that finished, best on validation first.
        unfinished: how many more there were, which failed or were killed.
        accuracy, nll, roc_auc: on validation rows, at each run's best epoch.
    """

    settings: dict[str, str]
    runs: tuple[Logged, ...]
    unfinished: int
    n_parameters: int
    accuracy: Estimate
    nll: Estimate
    roc_auc: Estimate


def rank(runs: Sequence[Logged]) -> list[Entry]:
    """Finished runs as entries: the highest mean validation accuracy first, on equality the lowest loss.

    Runs that differ in nothing but their seed make one entry. A configuration that some seeds did not finish
    stands behind those that all did: the mean of the seeds that survived flatters it.

    Raises:
        UserError: no run finished.
    """
    finished = [run for run in runs if run.status == "FINISHED" and "best/val/accuracy" in run.metrics]
    if not finished:
        raise UserError(f"none of the {len(runs)} runs finished, so there is nothing to rank")
    groups: dict[tuple[tuple[str, str], ...], list[Logged]] = defaultdict(list)
    for run in finished:
        groups[tuple(sorted(_settings(run).items()))].append(run)
    shown = differing([_settings(run) for run in finished])
    unfinished = Counter(tuple(sorted(_settings(run).items())) for run in runs if run not in finished)
    entries = [
        _entry({key: dict(group).get(key, "") for key in shown}, members, unfinished[group])
        for group, members in groups.items()
    ]
    return sorted(entries, key=lambda entry: (entry.unfinished > 0, -entry.accuracy.mean, entry.nll.mean))


def comparable(runs: Sequence[Logged]) -> bool:
    """Whether all runs learned from the same rows and were compared on the same validation rows."""
    parts = [f"{DIGEST}{part}" for part in ("table", "train", "val", "test")]
    return len({tuple(run.tags.get(part) for part in parts) for run in runs}) <= 1


def differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """The keys that do not have the same value everywhere."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def _settings(run: Logged) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key not in _NOT_SETTINGS}


def _entry(settings: dict[str, str], runs: list[Logged], unfinished: int) -> Entry:
    best_first = sorted(
        runs, key=lambda run: (-run.metrics["best/val/accuracy"], run.metrics["best/val/nll"])
    )
    return Entry(
        settings,
        tuple(best_first),
        unfinished,
        int(runs[0].params["n_parameters"]),
        *(
            _estimate([run.metrics[f"best/val/{name}"] for run in runs])
            for name in ("accuracy", "nll", "roc_auc")
        ),
    )


def _estimate(values: Sequence[float]) -> Estimate:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Estimate(fmean(values), error)


def as_table(title: str, entries: Sequence[Entry]) -> Table:
    """For a terminal."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("#", justify="right")
    for key in entries[0].settings:
        table.add_column(Text(key), justify="right")
    for name in ("parameters", "runs", "val accuracy", "val nll", "val ROC AUC"):
        table.add_column(name, justify="right")
    for place, entry in enumerate(entries, 1):
        table.add_row(
            str(place),
            *(Text(value) for value in entry.settings.values()),
            str(entry.n_parameters),
            str(len(entry.runs)) + (f" of {len(entry.runs) + entry.unfinished}" if entry.unfinished else ""),
            str(entry.accuracy),
            str(entry.nll),
            str(entry.roc_auc),
            style="bold" if place == 1 else None,
        )
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
