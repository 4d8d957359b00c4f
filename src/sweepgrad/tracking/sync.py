"""Send runs to MLflow that could not be sent when they ended."""

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
    """Send every run below `runs` that MLflow does not have, each to the store of its configuration.

    Runs that were sent before are looked up in the store, which may have been lost since.

    Returns:
        Number of runs sent.

    Raises:
        UserError: a store does not answer, or some runs are damaged or were refused; all others are sent.
    """
    stores: dict[tuple[str, str], Store] = {}
    sweeps: dict[Path, Store] = {}
    sent, problems = 0, list[str]()
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
            problems.append(str(error))
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
            problems.append(str(error))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(f"{sent} runs sent, {len(problems)} failed:{lines}")
    return sent
