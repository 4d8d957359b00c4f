"""Results from an MLflow store: `load_sweep`."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api.arguments import RUNS
from sweepgrad.api.results import Run, Sweep
from sweepgrad.config.schema import store_uri
from sweepgrad.errors import UserError
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record

if TYPE_CHECKING:
    from sweepgrad.tracking.mapping import Logged
    from sweepgrad.tracking.store import Store


def load_sweep(which: str | None = None, *, store: "Store | None" = None) -> Sweep:
    """Load a sweep, or a run that was trained on its own, from MLflow.

    Arguments:
        which: its name or its id, or the beginning of either; None for the latest.
        store: None for the store that the environment variable MLFLOW_TRACKING_URI names, or else the one in
            `runs/` below the current folder.

    Raises:
        UserError: there is no such sweep, or no such store.
    """
    from sweepgrad.tracking.tags import N_JOBS

    store = store or default_store()
    found = store.sweep(which)
    children = store.children(found)
    local = RUNS.absolute() / "sweeps" / found.name
    return Sweep(
        found.name,
        local if local.is_dir() else None,
        [_stored_run(store, run) for run in children],
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
    return Store(uri, "sweepgrad")


def _stored_run(store: "Store", run: "Logged") -> Run:
    from sweepgrad.selection.candidates import bundle_of

    return Run(
        run.name,
        run.run_id,
        run.status,
        None,
        lambda: _stored_record(store, run),
        lambda: bundle_of(store, run),
    )


def _stored_record(store: "Store", run: "Logged") -> Record:
    from sweepgrad.tracking.mapping import RECORD_IN_MLFLOW, local

    with tempfile.TemporaryDirectory() as copies:
        path = local(run, RECORD_IN_MLFLOW) or store.download(run, RECORD_IN_MLFLOW, Path(copies))
        try:
            return records.parse(path.read_bytes())
        except ValueError as error:
            raise UserError(
                f"run {run.run_id}: its record is damaged or of another version ({error!r})"
            ) from None
