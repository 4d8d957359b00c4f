"""Sending to MLflow what could not be sent when it was made."""

from collections.abc import Callable
from pathlib import Path

from sweepgrad import record as records
from sweepgrad.tracking import Store


def sync(runs: Path, say: Callable[[str], None]) -> int:
    """Send every run below `runs` that MLflow does not have yet, each to the store it was meant for.

    Returns:
        How many were sent.

    Raises:
        UserError: a store does not answer; what was sent before that stays sent.
    """
    waiting = [
        path.parent
        for path in sorted(runs.rglob(records.RECORD))
        if not (path.parent / records.SENT).exists()
    ]
    stores: dict[tuple[str, str], Store] = {}
    sweeps: dict[str, tuple[Store, list[str]]] = {}
    for folder in waiting:
        record = records.read(folder)
        tracking = record.config["tracking"]
        where = tracking["uri"], tracking["experiment"]
        if where not in stores:
            stores[where] = Store(*where, say)
        stores[where].send(folder)
        say(f"sent {folder}")
        if record.sweep is not None:
            sweeps.setdefault(record.sweep, (stores[where], []))[1].append(record.status)
    for sweep, (store, statuses) in sweeps.items():
        store.end_sweep(sweep, "FAILED" if "FAILED" in statuses else "FINISHED", {})
    return len(waiting)
