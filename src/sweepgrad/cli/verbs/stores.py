"""The arguments of verbs that read an MLflow store."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store

RUNS = Path("runs")
_DEFAULT_URI = "sqlite:///runs/mlflow.db"


def add_uri(verb: argparse.ArgumentParser) -> None:
    """Add the argument --uri."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", _DEFAULT_URI)
    verb.add_argument("--uri", default=uri, help=f"MLflow store, the same as tracking.uri (default: {uri})")


def add_store(verb: argparse.ArgumentParser) -> None:
    """Add the arguments --uri and --experiment."""
    add_uri(verb)
    verb.add_argument(
        "--experiment",
        default="sweepgrad",
        help="MLflow experiment, the same as tracking.experiment (default: sweepgrad)",
    )


def add_sweep(verb: argparse.ArgumentParser) -> None:
    """Add the argument SWEEP."""
    verb.add_argument(
        "sweep", nargs="?", help="name or id of a sweep, or its beginning (default: the latest sweep)"
    )


def store_of(options: argparse.Namespace) -> "Store":
    """Return the store to read from; a missing one is not created.

    Raises:
        UserError: the store does not exist.
    """
    from sweepgrad.config.schema import store_uri
    from sweepgrad.tracking.store import Store

    try:
        file = Path(store_uri(options.uri).removeprefix("sqlite:///"))
    except ValueError as error:
        raise UserError(f"--uri: {error}") from None
    if options.uri.startswith("sqlite:") and not file.exists():
        hint = ", or run sweepgrad sync to send the runs in runs/" if Path("runs", "sweeps").is_dir() else ""
        raise UserError(f"there is no MLflow store at {file}. Train a run first, give --uri{hint}")
    return Store(options.uri, options.experiment)
