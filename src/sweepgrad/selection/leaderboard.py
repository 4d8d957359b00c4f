"""A leaderboard as a table, a DataFrame, CSV and JSON."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from sweepgrad.messages import escape
from sweepgrad.messages.terminal import lines, text
from sweepgrad.selection import diagnosis_text
from sweepgrad.selection.decide import Decision
from sweepgrad.selection.ranking import Entry, Estimate, comparable, folds
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tracking.mapping import Logged

if TYPE_CHECKING:
    import pandas as pd


def as_table(
    title: str, entries: Sequence[Entry], metric: str = BINARY.default, decision: Decision | None = None
) -> Table:
    """Return a table for a terminal, with the metric of the ranking first."""
    table = Table(title=text(title), title_justify="left", caption_justify="left")
    table.add_column("#", justify="right")
    averages = any(entry.ensemble for entry in entries)
    if averages:
        table.add_column("average of")
    keys = [key for key in entries[0].settings if not _implied(key, entries)]
    for key in keys:
        table.add_column(text(key), justify="right", overflow="fold")
    several, compared = len(entries) > 1, entries[0].standing is not None
    against = (("behind the leader",) if several else ()) + (("tied",) if several and compared else ())
    others = [other for other in entries[0].metrics if other != metric]
    for name in (
        "parameters",
        "runs",
        f"val {METRICS[metric].heading}",
        *against,
        *(f"val {METRICS[o].heading}" for o in others),
    ):
        table.add_column(name, justify="right", overflow="fold")
    for place, entry in enumerate(entries, 1):
        table.add_row(
            f"→ {place}" if entry.chosen and several else str(place),
            *([text(entry.ensemble)] if averages else []),
            *(text(entry.settings.get(key, "")) for key in keys),
            str(entry.n_parameters),
            str(len(entry.runs)) + (f" of {len(entry.runs) + entry.unfinished}" if entry.unfinished else ""),
            _mean(entry, metric),
            *([_behind(entry, first=place == 1)] if several else []),
            *(["yes" if entry.tied else ""] if several and compared else []),
            *(str(entry.metrics.get(other, "")) for other in others),
            style="bold" if place == 1 else None,
        )
    notes = []
    if len({frozenset(folds(entry.runs)) for entry in entries}) > 1:
        notes.append(
            "means over different folds are of different rows: compare by the column behind the leader"
        )
    elif several and compared:
        notes += [
            f"→ finalize takes this one{_decided(decision)}. ±: standard error, of {METRICS[metric].heading}"
            " over rows and seeds, of other metrics over runs.",
            "tied: not significantly different from the leader (95 %, for all comparisons together)",
        ]
    diagnoses = {place: diagnosis_text.of_runs(entry.runs) for place, entry in enumerate(entries, 1)}
    notes += [f"diagnosis of {place}: {found}" for place, found in diagnoses.items() if found]
    table.caption = lines(notes) if notes else None
    return table


def _implied(key: str, entries: Sequence[Entry]) -> bool:
    """Return whether a setting follows from the option of its group, as beta1 from optimizer.name."""
    name = f"{key.partition('.')[0]}.name"
    if key == name or name not in entries[0].settings:
        return False
    pairs = {(entry.settings.get(name), entry.settings.get(key)) for entry in entries}
    return len(pairs) == len({option for option, _ in pairs})


def _decided(decision: Decision | None) -> str:
    """Describe the temperature and the threshold of the model that finalize takes, if it has them."""
    if decision is None or decision.as_trained:
        return ""
    return f", with temperature {decision.temperature:.3f} and threshold {decision.bundle.threshold:.3f}"


def _mean(entry: Entry, metric: str) -> str:
    found = entry.metrics[metric]
    return str(Estimate(found.mean, entry.standing.standard_error) if entry.standing else found)


def _behind(entry: Entry, *, first: bool) -> str:
    if first:
        return ""
    if entry.standing is not None:
        return str(Estimate(entry.standing.behind, entry.standing.behind_error))
    return str(entry.behind or "no pair")


def as_rows(entries: Sequence[Entry], metric: str = BINARY.default) -> list[dict[str, object]]:
    """Return a flat record for each entry; None is what was not computed."""
    return [
        {
            "rank": place,
            **entry.settings,
            "n_parameters": entry.n_parameters,
            "runs": len(entry.runs),
            "unfinished": entry.unfinished,
            **{
                f"val/{name}{end}": value
                for name, found in entry.metrics.items()
                for end, value in (("", found.mean), ("_se", found.standard_error))
            },
            "pairs_with_leader": entry.pairs,
            "behind_leader": entry.behind and entry.behind.mean,
            "behind_leader_se": entry.behind and entry.behind.standard_error,
            **_by_rows(entry, metric),
            "ensemble": entry.ensemble or None,
            "diagnosis": diagnosis_text.of_runs(entry.runs),
            "run_ids": " ".join(run.run_id for run in entry.runs),
        }
        for place, entry in enumerate(entries, 1)
    ]


def as_frame(entries: Sequence[Entry], metric: str = BINARY.default) -> "pd.DataFrame":
    """Return the records of `as_rows` as a DataFrame, indexed by rank."""
    import pandas as pd

    frame = pd.DataFrame(as_rows(entries, metric)).set_index("rank")
    for key in entries[0].settings:  # settings are text in MLflow
        values = [None if value in ("", "null") else value for value in frame[key]]
        try:
            frame[key] = pd.to_numeric(pd.Series(values, index=frame.index))
        except ValueError:
            frame[key] = pd.Series(values, index=frame.index, dtype=object)
    return frame


def _by_rows(entry: Entry, metric: str) -> dict[str, object]:
    found, (lowest, highest) = entry.standing, METRICS[metric].bounds
    low, high = sorted(METRICS[metric].sign * end for end in found.interval) if found else (None, None)
    return {
        "by_rows/se": found and found.standard_error,
        "by_rows/low": low if low is None else max(low, lowest),
        "by_rows/high": high if high is None else min(high, highest),
        "by_rows/behind_leader": found and found.behind,
        "by_rows/behind_leader_se": found and found.behind_error,
        "tied": entry.tied if found else None,
        "chosen": entry.chosen if found else None,
    }


def as_json(
    sweep: str,
    sweep_id: str,
    entries: Sequence[Entry],
    metric: str = BINARY.default,
    decision: Decision | None = None,
    unranked: Sequence[tuple[Logged, str]] = (),
) -> str:
    rows = [{**row, "run_ids": str(row["run_ids"]).split()} for row in as_rows(entries, metric)]
    return json.dumps(
        {
            "sweep": sweep,
            "sweep_id": sweep_id,
            "metric": metric,
            "comparable": comparable([run for entry in entries for run in entry.runs]),
            "entries": rows,
            "unranked": [{"run_id": run.run_id, "name": run.name, "problem": said} for run, said in unranked],
            "decision": decision
            and {
                "run_ids": [run.run_id for run in decision.runs],
                "temperature": decision.temperature,
                "threshold": decision.bundle.threshold,
            },
        },
        indent=1,
    )


def as_csv(entries: Sequence[Entry], metric: str = BINARY.default) -> str:
    return escape.csv_text(as_rows(entries, metric))
