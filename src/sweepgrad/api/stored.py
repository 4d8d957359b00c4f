"""Results from an MLflow store: `load_sweep`."""

import os
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api.arguments import RUNS
from sweepgrad.api.location import Location, checked
from sweepgrad.api.results import Run, Sweep
from sweepgrad.bounded import reading
from sweepgrad.config.schema import store_uri
from sweepgrad.errors import UserError
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.runs.validation import LIMITS

if TYPE_CHECKING:
    from sweepgrad.tracking.mapping import Logged
    from sweepgrad.tracking.store import Store
    from sweepgrad.training.bundle import Bundle


EXPERIMENT = "sweepgrad"  # the default


def load_sweep(which: str | None = None, *, store: "Store | None" = None) -> Sweep:
    """Load a sweep, or a run that was trained on its own, from MLflow.

    Arguments:
        which: its name or its id, or the beginning of either; None for the latest.
        store: None for the store that the environment variable MLFLOW_TRACKING_URI names, or else the one in
            `runs/` below the current folder.

    Raises:
        UserError: there is no such sweep, or no such store.
    """
    from sweepgrad.tracking.tags import KIND, N_JOBS, RUN_KIND

    if not isinstance(which, str | None):
        raise UserError(f"load_sweep: pass the name or the id of a sweep, not {type(which).__name__}")
    store = checked(store) or default_store()
    found = store.sweep(which)
    children = store.children(found)
    local = RUNS.absolute() / ("single" if found.tags[KIND] == RUN_KIND else "sweeps") / found.name
    places = _places(local)
    location = Location(store.uri, store.experiment, store)
    return Sweep(
        found.name,
        local if local.is_dir() else None,
        [_stored_run(location, run, places.get(run.run_id)) for run in children],
        int(found.tags.get(N_JOBS, len(children))),
        store.uri,
        store.experiment,
        store,
        found.run_id,
    )


def default_store() -> "Store":
    """Open the store that commands read by default.

    Raises:
        UserError: there is none.
    """
    from sweepgrad.tracking.store import Store

    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{RUNS}/mlflow.db")
    try:
        file = Path(store_uri(uri).removeprefix("sqlite:///"))
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI: {error}") from None
    if uri.startswith("sqlite:") and not file.exists():
        raise UserError(f"there is no MLflow store at {file}: train something first, or pass store=")
    return Store(uri, EXPERIMENT)


def _places(folder: Path) -> dict[str, Path]:
    """Return the folders of runs, in or below a folder, by their ids in MLflow."""
    found = {}
    for file in folder.glob(f"**/{records.SENT}"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged one names no run
            found[str(reading.load(file, reading.SMALL)["run_id"])] = file.parent
    return found


def _stored_run(location: Location, run: "Logged", folder: Path | None) -> Run:
    return Run(
        run.name,
        run.run_id,
        run.status,
        folder,
        partial(_stored_record, location, run),
        partial(_stored_model, location, run),
        location,
    )


def _stored_model(location: Location, run: "Logged") -> "Bundle":
    from sweepgrad.data.access import Tables
    from sweepgrad.selection.evidence import Evidence
    from sweepgrad.selection.run_files import Damaged

    try:
        return Evidence(location.store, Tables()).bundle(run)
    except Damaged as damaged:
        raise UserError(f"run {run.run_id}: {damaged}") from None


def _stored_record(location: Location, run: "Logged") -> Record:
    from sweepgrad.tracking.mapping import RECORD_IN_MLFLOW, local

    store = location.store
    with tempfile.TemporaryDirectory() as copies:
        path = local(run, RECORD_IN_MLFLOW) or store.download(run, RECORD_IN_MLFLOW, Path(copies))
        try:
            return records.parse(reading.read(path, LIMITS.size))
        except ValueError as error:
            raise UserError(
                f"run {run.run_id}: its record is damaged or of another version ({error!r})"
            ) from None
