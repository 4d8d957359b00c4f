"""Send runs to MLflow that could not be sent when they ended."""

import logging
from contextlib import ExitStack
from pathlib import Path

from sweepgrad.bounded import reading
from sweepgrad.errors import UserError
from sweepgrad.files import locked
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.runs.sweep_record import SWEEP
from sweepgrad.tracking import relocate
from sweepgrad.tracking.connection import Refused
from sweepgrad.tracking.store import Store

log = logging.getLogger(__name__)

_SQLITE = "sqlite:///"


def sync(runs: Path) -> int:
    """Send every run below `runs` that MLflow does not have, each to the store of its configuration.

    Runs that were sent before are looked up in the store, which may have been lost since. A store that was
    moved with its runs is found where it is now. A sweep that another process trains or sends is left to it.

    Returns:
        Number of runs sent.

    Raises:
        UserError: a store does not answer, or some runs are damaged or were refused; all others are sent.
    """
    stores: dict[tuple[str, str], Store] = {}
    sent, problems = 0, list[str]()
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(runs.rglob(records.RECORD)):
        by_folder.setdefault(path.parent.parent, []).append(path.parent)
    for parent, members in by_folder.items():
        sweep = parent if (parent / SWEEP).exists() else None
        with ExitStack() as held:
            try:
                if sweep is not None:
                    held.enter_context(
                        locked(sweep, wait=False)
                    )  # its writer holds it: see `tracking.writer`
            except BlockingIOError:
                log.info(f"{sweep}: another process is sending this sweep")
                continue
            except OSError as error:
                problems.append(f"{sweep}: {error.strerror}")
                continue
            of_sweep: Store | None = None
            for folder in members:
                try:
                    record = records.read(folder)
                    where = _place(record, folder, runs)
                    if where not in stores:
                        _refuse_if_gone(where[0], record, runs)
                        stores[where] = Store(*where)
                    known = folders.sent_as(folder, record)
                    sent_before = known is not None and stores[where].has(known)
                    if not sent_before:
                        stores[where].send(folder)
                        sent += 1
                        log.info(f"sent {folder}")
                    elif record.sweep is None:
                        stores[where].keep_one(record)
                except (Refused, ValueError, OSError) as error:
                    if not isinstance(error, Gone) or str(error) not in problems:  # once for all its runs
                        problems.append(str(error))
                    continue
                if record.sweep is not None:
                    of_sweep = stores[where]
            if sweep is not None and of_sweep is not None:
                try:
                    of_sweep.end_sweep(sweep)
                except (Refused, ValueError, OSError) as error:
                    problems.append(str(error))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(f"{sent} runs sent, {len(problems)} failed:{lines}")
    return sent


def _place(record: Record, folder: Path, runs: Path) -> tuple[str, str]:
    """Return the URI and the experiment that a run belongs to now.

    Its configuration has the path that the store had when it was trained. A store that was moved or copied
    together with the run stands in the same place relative to it.
    """
    uri, experiment = record.config["tracking"]["uri"], record.config["tracking"]["experiment"]
    earlier = Path(str(uri).removeprefix(_SQLITE))
    if not str(uri).startswith(_SQLITE) or earlier.parent in folder.absolute().parents:
        return uri, experiment
    beside = _nearest(earlier, folder)
    if beside is not None and (not earlier.exists() or relocate.known_as(beside, earlier)):
        return f"{_SQLITE}{beside}", experiment
    if (copied := _store_of_copy(earlier, folder)) is not None:
        return f"{_SQLITE}{copied}", experiment
    if earlier.exists() or earlier.parent.is_dir():
        return uri, experiment
    # The store was not moved with the runs. A new one at the old path would not be found.
    return f"{_SQLITE}{runs.absolute() / earlier.name}", experiment


class Gone(Refused):
    """A store that runs were sent to is not there."""


def _refuse_if_gone(uri: str, record: Record, runs: Path) -> None:
    """Refuse to make a store again that was moved away with its artifacts; a lost one leaves them here.

    Raises:
        Gone: runs were sent to it.
    """
    store, configured = Path(uri.removeprefix(_SQLITE)), record.config["tracking"]["uri"]
    if not uri.startswith(_SQLITE) or store.exists() or (store.parent / relocate.ARTIFACTS).exists():
        return
    uris = {uri, configured}
    if sent := next((file for file in runs.rglob(records.SENT) if _sent_to(file) in uris), None):
        raise Gone(
            f"{store} is gone, and {sent} says that a run was sent to it: if it was moved, move it back"
            f" with its folder {relocate.ARTIFACTS}, or move both to {runs.absolute()}; if it is lost, make"
            f" an empty folder {store.parent / relocate.ARTIFACTS}: then a new store is made, and all runs"
            " are sent"
        )


def _sent_to(file: Path) -> object:
    try:
        return reading.load(file, reading.SMALL)["uri"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store_of_copy(earlier: Path, folder: Path) -> Path | None:
    """Return where the store of a copied run belongs: beside the copy, as it was beside the original.

    A run is a copy if the artifacts of a store were copied with it, and the configured store has folders of
    runs beside it, too. The original's store is not the copy's, even if the copy has none (any more).
    """
    folder = folder.absolute()
    root = next((above for above in folder.parents if (above / relocate.ARTIFACTS).is_dir()), None)
    if root is None or not (earlier.parent / folder.relative_to(root).parts[0]).is_dir():
        return None
    return None if root.samefile(earlier.parent) else root / earlier.name


def _nearest(earlier: Path, folder: Path) -> Path | None:
    """Return the store beside a run: in the nearest folder above it that has one of that name."""
    places = (above / earlier.name for above in folder.absolute().parents)
    return next((place for place in places if place.is_file()), None)
