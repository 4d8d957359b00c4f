"""Sending to MLflow what could not be sent when it was made."""

import logging
from pathlib import Path

from sweepgrad.errors import UserError
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.sweep_record import SWEEP
from sweepgrad.tracking.connection import Refused
from sweepgrad.tracking.store import Store

log = logging.getLogger(__name__)


def sync(runs: Path) -> int:
    """Send every run below `runs` that MLflow does not have, each to the store it was meant for.

    That a run was sent once is not taken for granted: its store may have been lost since.

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
        try:
            record = records.read(folder)
            tracking = record.config["tracking"]
            where = tracking["uri"], tracking["experiment"]
            if where not in stores:
                stores[where] = Store(*where)
            known = folders.sent_as(folder, record)
            sent_before = known is not None and stores[where].has(known)
            if not sent_before:
                stores[where].send(folder)
        except (Refused, ValueError, OSError) as error:
            faults.append(str(error))
            continue
        if record.sweep is not None and (folder.parent / SWEEP).exists():
            sweeps[folder.parent] = stores[where]
        if not sent_before:
            sent += 1
            log.info(f"sent {folder}")
    for folder, store in sweeps.items():
        try:
            store.end_sweep(folder)
        except (Refused, ValueError, OSError) as error:
            faults.append(str(error))
    if faults:
        raise UserError(
            f"{sent} runs sent, {len(faults)} not sent or closed:"
            + "".join(f"\n  {fault}" for fault in faults)
        )
    return sent
