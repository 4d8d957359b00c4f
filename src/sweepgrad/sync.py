"""Sending to MLflow what could not be sent when it was made."""

from collections.abc import Callable
from pathlib import Path

from sweepgrad import record as records
from sweepgrad.errors import UserError
from sweepgrad.tracking import Refused, Store


def sync(runs: Path, say: Callable[[str], None]) -> int:
    """Send every run below `runs` that MLflow does not have yet, each to the store it was meant for.

    Returns:
        How many were sent.

    Raises:
        UserError: a store does not answer, or some runs could not be sent: they are damaged, or the store
            refused them. What could be sent is.
    """
    stores: dict[tuple[str, str], Store] = {}
    sweeps: dict[Path, Store] = {}
    sent, faults = 0, list[str]()
    for folder in sorted(path.parent for path in runs.rglob(records.RECORD)):
        if (folder / records.SENT).exists():
            continue
        try:
            record = records.read(folder)
            tracking = record.config["tracking"]
            where = tracking["uri"], tracking["experiment"]
            if where not in stores:
                stores[where] = Store(*where, say)
            stores[where].send(folder)
        except (Refused, ValueError, OSError) as error:
            faults.append(str(error))
            continue
        sent += 1
        say(f"sent {folder}")
        if record.sweep is not None and (folder.parent / records.SWEEP).exists():
            sweeps[folder.parent] = stores[where]
    for folder, store in sweeps.items():
        store.end_sweep(folder)
    if faults:
        raise UserError(f"{sent} runs sent, {len(faults)} not:" + "".join(f"\n  {fault}" for fault in faults))
    return sent
