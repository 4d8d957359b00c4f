"""Follow a store that was moved or copied together with its artifacts.

MLflow keeps the absolute path of each run's artifacts. Ours are beside the store, in `mlartifacts`. After
the folder was moved they are still there, and the paths lead to nothing; after it was copied, the paths
lead to the artifacts of the original. In both cases the paths of what is beside the store are rewritten.
That is safe: nothing is deleted, the original is not touched, and a path without a file beside the store
stays as it is.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sweepgrad.tracking.sqlite_store import connected

log = logging.getLogger(__name__)

ARTIFACTS = "mlartifacts"  # the folder beside a store
MOVED_FROM = "sweepgrad.moved_from"  # tag of an experiment: the folders that its store was in before
_SEPARATOR = "\n"

# Where MLflow keeps paths of artifacts: table, column, key, and the condition on an experiment's id.
_OF_RUNS = ("runs", "artifact_uri", "run_uuid", "experiment_id = ?")
_OF_MODELS = ("logged_models", "artifact_location", "model_id", "experiment_id = ?")
_VERSIONS = "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = ?)"
_OF_VERSIONS = tuple(
    ("model_versions", column, "rowid", _VERSIONS) for column in ("storage_location", "source")
)
_PLACES = (_OF_RUNS, _OF_MODELS, *_OF_VERSIONS)


@dataclass(frozen=True)
class _Change:
    """A path to rewrite, in one row of a table."""

    table: str
    column: str
    key: str
    row: str | int
    path: str


def follow(path: Path) -> None:
    """Rewrite the paths of artifacts that stand beside a store that was moved or copied, in one transaction.

    Raises:
        UserError: the store is damaged.
        sqlite3.Error: it cannot be written.
    """
    beside = path.absolute().parent / ARTIFACTS
    with connected(path) as store:
        experiments = store.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        if not any(_elsewhere(location, beside) for _, location in experiments):
            return
        store.isolation_level = None
        store.execute("BEGIN IMMEDIATE")
        try:
            said = dict[Path, bool]()
            n = 0
            for experiment, location in store.execute(
                "SELECT experiment_id, artifact_location FROM experiments"
            ).fetchall():
                if not (before := _elsewhere(location, beside)):
                    continue
                paths = [
                    _Change(table, column, key, row, uri)
                    for table, column, key, condition in _PLACES
                    for row, uri in store.execute(
                        f"SELECT {key}, {column} FROM {table} WHERE {condition}",
                        (experiment,),
                    )
                ]
                changes = list(_changes(paths, location, before, beside))
                if not changes and (before.exists() or paths):
                    continue  # its artifacts were never beside this store, or are lost
                for change in changes:
                    store.execute(
                        f"UPDATE {change.table} SET {change.column} = ? WHERE {change.key} = ?",
                        (change.path, change.row),
                    )
                store.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                    (beside.as_uri(), experiment),
                )
                _remember(store, experiment, before.parent)
                if runs := {change.row for change in changes if change.table == "runs"}:
                    said[before.parent] = before.exists()
                    n += len(runs)
            store.execute("COMMIT")
        except BaseException:
            if store.in_transaction:
                store.execute("ROLLBACK")
            raise
    for folder, exists in said.items():
        if exists:
            log.info(
                f"{path} is a copy of the store in {folder}, which is not changed: the copy now uses its own"
                f" artifacts ({n} runs)"
            )
        else:
            log.info(f"{path} was moved here from {folder}: the paths of {n} runs' artifacts were corrected")


def known_as(path: Path, earlier: Path) -> bool:
    """Return whether the store at `path` is the one that was at `earlier`, or a copy of it.

    Raises:
        UserError: the store is damaged.
    """
    if path.name != earlier.name:
        return False
    with connected(path) as store:
        locations = store.execute("SELECT artifact_location FROM experiments").fetchall()
        tags = store.execute("SELECT value FROM experiment_tags WHERE key = ?", (MOVED_FROM,)).fetchall()
    of_tags = {folder for (value,) in tags for folder in value.split(_SEPARATOR)}
    if str(earlier.parent) in of_tags:
        return True
    return any(local(location) == earlier.parent / ARTIFACTS for (location,) in locations)


def local(uri: str | None) -> Path | None:
    """Return the path that a URI of a file leads to; None for other URIs."""
    if not uri or not uri.startswith("file://"):
        return None
    return Path(url2pathname(urlsplit(uri).path))


def _elsewhere(location: str | None, beside: Path) -> Path | None:
    """Return the folder of an experiment's artifacts if it is beside a store in another folder."""
    found = local(location)
    if found is None or found.name != ARTIFACTS or found == beside or _same_file(found, beside):
        return None
    return found


def _same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same existing file or folder."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _changes(paths: list[_Change], location: str, before: Path, beside: Path) -> Iterator[_Change]:
    """Yield the paths to rewrite, if some artifacts are beside the store.

    They are the paths of what is there, and of what is at neither place: a run may get its first file later.
    """
    prefix = location.rstrip("/") + "/"
    inside = [change for change in paths if change.path and change.path.startswith(prefix)]
    here = {change for change in inside if (beside / _rest(change.path, prefix)).exists()}
    for change in inside if here else ():
        rest = _rest(change.path, prefix)
        if change in here or not (before / rest).exists():
            uri = f"{beside.as_uri()}/{change.path.removeprefix(prefix)}"
            yield _Change(change.table, change.column, change.key, change.row, uri)


def _rest(uri: str, prefix: str) -> str:
    return url2pathname(uri.removeprefix(prefix))


def _remember(store: sqlite3.Connection, experiment: int, folder: Path) -> None:
    """Note where an experiment's store was, so that `sync` recognises it by the configuration of its runs."""
    known = store.execute(
        "SELECT value FROM experiment_tags WHERE key = ? AND experiment_id = ?", (MOVED_FROM, experiment)
    ).fetchone()
    folders = known[0].split(_SEPARATOR) if known else []
    value = _SEPARATOR.join(dict.fromkeys([*folders, str(folder)]))[-5000:]
    store.execute("DELETE FROM experiment_tags WHERE key = ? AND experiment_id = ?", (MOVED_FROM, experiment))
    store.execute(
        "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
        (MOVED_FROM, value, experiment),
    )
