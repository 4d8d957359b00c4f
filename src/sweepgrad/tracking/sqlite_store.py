"""The SQLite file of a store: refuse a damaged one, upgrade an old one, follow one that was moved."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sweepgrad.errors import UserError, first_line
from sweepgrad.files import naming

log = logging.getLogger(__name__)

_REPLACE = (
    "restore it from a backup, or move it away, in both cases with its files -wal, -shm and -journal: then a"
    " new store is made, and sweepgrad sync sends it all runs that are on disk"
)
_BESIDE = ("-wal", "-shm", "-journal")  # in which SQLite keeps what is not in the file itself yet
_NOT_NOW = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
_WAIT_SECONDS = 20.0  # for another process that writes


class DamagedStore(UserError):
    """The file cannot be used as a store."""


def check(path: Path) -> None:
    """Check that an existing file is a store that this MLflow can read; upgrade an older one, after a backup.

    Raises:
        UserError: it is damaged, is something else, or a newer MLflow made it.
        OSError: it cannot be read, or the backup cannot be written.
    """
    from mlflow.store.db import utils  # late: `refuse_other` is used where MLflow is not imported

    refuse_other(path)
    revision = _revision(path)
    latest = utils._get_latest_schema_revision()  # type: ignore[no-untyped-call]
    if revision == latest:
        return
    if revision not in _known_revisions():
        from mlflow.version import VERSION

        raise UserError(
            f"{path}: a newer MLflow made this store (schema {revision}), and MLflow {VERSION} knows schemas"
            f" up to {latest}: install the newer MLflow, or choose another tracking.uri"
        )
    _upgrade(path, revision)


def check_alone(path: Path) -> None:
    """Check that nothing is left of a store that was here: SQLite would write it into a new one.

    Raises:
        UserError: something is left.
    """
    if left := [beside.name for suffix in _BESIDE if (beside := _beside(path, suffix)).exists()]:
        raise UserError(
            f"{path} is gone, but {', '.join(left)} beside it belongs to it and may have its last runs: move"
            f" it to where {path.name} is now, or move it away; then try again"
        )


def delete(partial: Path) -> None:
    """Delete a store of ours that was not completed."""
    for leftover in (partial, *(_beside(partial, suffix) for suffix in _BESIDE)):
        leftover.unlink(missing_ok=True)


def refuse_other(path: Path) -> None:
    """Check that an existing file is a store: SQLite itself takes an empty file for a new one.

    So is a store that another process is upgrading, or that a full disk keeps from being read: what comes
    next waits, or says so.

    The file is opened by SQLite only. Closing it otherwise would release the locks of all connections that
    this process has to it (https://sqlite.org/howtocorrupt.html, 2.2); another process would then delete the
    log that these still read and write.

    Raises:
        UserError: it is damaged, or another program's.
        sqlite3.Error: it cannot be read now.
    """
    if not path.is_file():
        raise DamagedStore(f"{path} is not a file: choose another tracking.uri")
    if path.stat().st_size == 0:
        raise DamagedStore(f"{path} is empty, so the store in it was lost: {_REPLACE}")
    try:
        with connected(path) as store:
            _refuse_other_tables(path, store)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NOT_NOW:
            raise


def _check_size(path: Path, store: sqlite3.Connection) -> None:
    """Check that the last page is whole; SQLite itself finds that a page is missing."""
    ((pages,), (page,)) = (store.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    log_file = _beside(path, "-wal")
    if log_file.exists() and log_file.stat().st_size:
        return  # SQLite completes the file from its log
    if (size := path.stat().st_size) < pages * page:
        raise DamagedStore(f"{path} is truncated: it has {size} of {pages * page} bytes: {_REPLACE}")


def _refuse_other_tables(path: Path, store: sqlite3.Connection) -> None:
    tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"alembic_version", "experiments", "runs"} <= tables:
        raise DamagedStore(f"{path} is an SQLite database, but no MLflow store: choose another tracking.uri")


def _revision(path: Path) -> str:
    """Return the revision of a store's schema.

    Raises:
        UserError: it is damaged, or no store of MLflow.
    """
    with connected(path) as store:
        _check_size(path, store)
        _refuse_other_tables(path, store)
        found = store.execute("SELECT version_num FROM alembic_version").fetchall()
    if len(found) != 1:
        raise DamagedStore(
            f"{path}: {len(found)} schemas in table alembic_version, where one belongs: {_REPLACE}"
        )
    return str(found[0][0])


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing database.

    Raises:
        UserError: it is damaged.
        sqlite3.Error: it cannot be read or written now, for instance because the disk is full.
    """
    with _finding_damage(path), closing(_open(path)) as store:
        yield store


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_SECONDS)


@contextmanager
def _finding_damage(path: Path) -> Iterator[None]:
    """Raise `DamagedStore` if SQLite finds that a file is damaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # a full disk, a lock: the file itself is sound
            raise
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise DamagedStore(
                f"{path} is not an SQLite database, so it is no MLflow store: if it is another file, choose"
                f" another tracking.uri; if it was a store, {_REPLACE}"
            ) from None
        raise DamagedStore(f"{path} is damaged ({error}): {_REPLACE}") from None


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    script = ScriptDirectory.from_config(utils._get_alembic_config(""))  # type: ignore[no-untyped-call]
    return {revision.revision for revision in script.walk_revisions()}


def _upgrade(path: Path, revision: str) -> None:
    """Upgrade a store to the schema of this MLflow.

    A copy is upgraded, and then takes the place of the store's content in one transaction: MLflow's own steps
    are several, and one that fails would leave a store that no version reads.

    Raises:
        UserError: the upgrade failed, and the store is as it was; or another process uses it.
        OSError: the backup cannot be written.
    """
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    backup = _free(path.with_name(f"{path.name}.schema-{revision}"))
    partial = path.with_name(f".{path.name}.upgrade")
    log.info(f"upgrading {path} to the schema of this MLflow; a backup is kept as {backup}")
    try:
        delete(partial)
        with closing(_open(path)) as store:
            _lock(store, path)
            with _finding_damage(path), closing(sqlite3.connect(partial)) as copy:
                store.backup(copy)
            _keep(partial, backup)
            engine = create_engine(f"sqlite:///{partial}")
            try:
                utils._upgrade_db(engine)  # type: ignore[no-untyped-call]
            finally:
                engine.dispose()
            with closing(sqlite3.connect(partial)) as upgraded:
                upgraded.backup(store)
            with suppress(sqlite3.Error):  # the store is upgraded, and only slower without
                store.execute("PRAGMA journal_mode=WAL")
    except UserError:
        raise
    except Exception as error:  # a migration may raise anything
        raise UserError(
            f"{path}: the upgrade to the schema of this MLflow failed, and the store is as it was"
            f" ({first_line(error)}): install the MLflow that made it, or choose another tracking.uri"
        ) from error
    finally:
        delete(partial)


def _lock(store: sqlite3.Connection, path: Path) -> None:
    """Lock a store until the connection is closed: what others write after it is copied would be lost.

    A transaction would not do, since SQLite replaces no content within one.

    Raises:
        UserError: another process uses it.
    """
    try:
        store.execute("PRAGMA locking_mode=EXCLUSIVE")
        store.execute("BEGIN EXCLUSIVE")
        store.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NOT_NOW:
            raise
        raise UserError(f"{path}: another process uses this store: stop it, and try again") from None


def _keep(copy: Path, backup: Path) -> None:
    """Copy a database file to which no process writes; the copy is complete or absent."""
    partial = backup.with_name(f".{backup.name}.partial")
    try:
        with (
            naming(partial),
            closing(sqlite3.connect(copy)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
        partial.replace(backup)
    finally:
        partial.unlink(missing_ok=True)


def _free(path: Path) -> Path:
    """Return a path that no file has: an earlier backup is never overwritten."""
    number, free = 1, path.with_name(f"{path.name}.backup")
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.backup-{number}")
    return free


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
