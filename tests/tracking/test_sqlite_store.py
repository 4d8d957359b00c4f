"""The SQLite file of a store: a damaged one is refused, and an old schema is upgraded after a backup."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command as alembic
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from sqlalchemy import create_engine
from sqlalchemy import text as text_of
from tests.support import command

from sweepgrad.errors import UserError
from sweepgrad.tracking import sqlite_store
from sweepgrad.tracking.connection import Unreachable
from sweepgrad.tracking.store import Store

LATEST = utils._get_latest_schema_revision()


@pytest.fixture
def file(empty_store, tmp_path) -> Path:
    """Return a copy of an empty store."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as refused:
        Store(f"sqlite:///{file}", "sweepgrad")
    assert not isinstance(refused.value, Unreachable)  # trying again does not help
    return str(refused.value)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("this is no database" * 100)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def truncated_in_the_last_page(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def within_the_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


def zeros_in_the_schema(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100:4096] = bytes(3996)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (empty, "is empty"),
        (text, "is not an SQLite database"),
        (truncated, "is damaged"),
        (truncated_in_the_last_page, "is truncated"),
        (within_the_header, "is damaged"),
        (zeros_in_the_schema, "is damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_a_remedy_and_left_as_it_is(file, damage, words):
    damage(file)
    content = file.read_bytes()
    said = refusal(file)
    assert str(file) in said
    assert words in said
    assert "sweepgrad sync" in said
    assert file.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "songs.db")) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    assert "no MLflow store" in refusal(tmp_path / "songs.db")


def test_a_folder_is_refused(tmp_path):
    assert "is not a file" in refusal(tmp_path)


def test_nothing_is_trained_with_an_empty_store(folder):
    Path("runs", "mlflow.db").write_bytes(b"")
    trained = command("train", "data=simulated", "data.rows=200", "train.epochs=1")
    assert trained.code == 2
    assert "is empty" in trained.err
    assert not Path("runs", "single").exists()


def test_a_log_that_completes_the_file_is_not_taken_for_damage(file):
    """Imitate a process that was killed: what it wrote is in the log only."""
    with contextlib.closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE more (content)")
        writer.executemany("INSERT INTO more VALUES (?)", [("x" * 4000,)] * 50)
        writer.commit()
        sqlite_store.check(file)
        for suffix in ("", "-wal"):
            shutil.copy(f"{file}{suffix}", f"{file.parent / 'left.db'}{suffix}")
    sqlite_store.check(file.parent / "left.db")


def test_checking_keeps_the_locks_of_this_process(file):
    """Without them another process takes itself for the last one, and deletes the log that this one uses."""
    read = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM runs').fetchall()"
    with contextlib.closing(sqlite3.connect(file)) as user:
        user.execute("CREATE TABLE more (content)")
        user.commit()
        log = file.with_name(f"{file.name}-wal")
        assert log.exists()
        sqlite_store.check(file)
        subprocess.run([sys.executable, "-c", read, str(file)], check=True)
        assert log.exists()


# Schemas


def schema_of(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as store:
        return str(store.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def set_schema(file: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        store.commit()


def test_a_newer_schema_is_refused(file):
    set_schema(file, "ffffffffffff")
    said = refusal(file)
    assert "a newer MLflow made this store (schema ffffffffffff)" in said
    assert LATEST in said


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(file):
    """Claim an older schema for tables of today: MLflow's step makes a table that is there."""
    older = _older_schema()
    set_schema(file, older)
    before = tables(file)
    said = refusal(file)
    assert "the store is as it was" in said
    assert (schema_of(file), tables(file)) == (older, before)
    left = {path.name for path in file.parent.iterdir()} - {file.name, f"{file.name}-wal", f"{file.name}-shm"}
    assert left == {".mlflow.db.lock", f"mlflow.db.schema-{older}.backup"}


@pytest.mark.slow  # MLflow makes a store from its first schema on
def test_an_older_schema_is_upgraded_after_a_backup(tmp_path, caplog):
    file, older = tmp_path / "mlflow.db", _older_schema()
    _made_with(file, older)
    with contextlib.closing(sqlite3.connect(file)) as store:
        store.execute("UPDATE experiments SET name = 'of old' WHERE experiment_id = 0")
        store.commit()
    backup = tmp_path / f"mlflow.db.schema-{older}.backup"
    backup.write_text("an earlier backup")
    with caplog.at_level("INFO", "sweepgrad"):
        Store(f"sqlite:///{file}", "sweepgrad")
    second = tmp_path / f"{backup.name}-2"
    assert caplog.messages == [f"upgrading {file} to the schema of this MLflow; a backup is kept as {second}"]
    assert backup.read_text() == "an earlier backup"
    assert (schema_of(file), schema_of(second)) == (LATEST, older)
    for each in (file, second):
        with contextlib.closing(sqlite3.connect(each)) as store:
            assert ("of old",) in store.execute("SELECT name FROM experiments").fetchall()
    caplog.clear()
    Store(f"sqlite:///{file}", "sweepgrad")
    assert not caplog.messages


def tables(file: Path) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(file)) as store:
        return store.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def _older_schema() -> str:
    config = utils._get_alembic_config("")
    older = ScriptDirectory.from_config(config).get_revision(LATEST).down_revision
    assert isinstance(older, str)
    return older


def _made_with(file: Path, revision: str) -> None:
    """Make a store as the MLflow of that schema did."""
    engine = create_engine(f"sqlite:///{file}")
    InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, revision)
        connection.execute(
            text_of(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
                " VALUES (0, 'Default', '', 'active')"
            )
        )
    engine.dispose()


def test_what_another_process_writes_during_an_upgrade_is_not_lost(file, monkeypatch):
    """It cannot write between the copy and the replacement."""
    set_schema(file, _older_schema())
    tried = []

    def write(_: object = None) -> None:
        other = sqlite3.connect(file, timeout=0)
        with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
            other.execute("INSERT INTO experiments (experiment_id, name) VALUES (?, 'late')", (77,))
            other.commit()
            tried.append("written")
            return
        tried.append("locked")

    class Connecting:
        """Write when the upgraded copy is opened to replace the store."""

        copies = 0

        def __getattr__(self, name: str) -> object:
            return getattr(sqlite3, name)

        def connect(self, path: object, *arguments: object, **options: object) -> sqlite3.Connection:
            self.copies += str(path).endswith(".upgrade")
            if self.copies == 3:
                write()
            return sqlite3.connect(path, *arguments, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(utils, "_upgrade_db", lambda engine: None)
    monkeypatch.setattr(sqlite_store, "sqlite3", Connecting())
    sqlite_store._upgrade(file, _older_schema())
    with contextlib.closing(sqlite3.connect(file)) as store:
        late = store.execute("SELECT 1 FROM experiments WHERE name = 'late'").fetchall()
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.execute("CREATE TABLE writable (content)")  # the lock is released
    assert (tried, late) in ((["locked"], []), (["written"], [(1,)]))


def test_a_store_that_another_process_writes_to_is_not_upgraded(file, monkeypatch):
    set_schema(file, _older_schema())
    monkeypatch.setattr(sqlite_store, "_WAIT_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another process uses this store" in refusal(file)


def test_an_upgrade_that_fails_without_words_is_reported(file, monkeypatch):
    def fail(engine: object) -> None:
        raise RuntimeError

    set_schema(file, _older_schema())
    monkeypatch.setattr(utils, "_upgrade_db", fail)
    assert "the store is as it was (RuntimeError)" in refusal(file)


def test_an_upgraded_copy_that_is_damaged_is_not_called_damage_of_the_store(file, monkeypatch):
    def destroy(engine: object) -> None:
        file.with_name(f".{file.name}.upgrade").write_bytes(b"no database" * 1000)

    older = _older_schema()
    set_schema(file, older)
    monkeypatch.setattr(utils, "_upgrade_db", destroy)
    said = refusal(file)
    assert "the store is as it was" in said
    assert "is damaged" not in said
    assert schema_of(file) == older


# Files beside a store


def test_a_log_that_a_moved_store_left_is_not_replayed_into_a_new_one(file):
    """Imitate a user who moves a damaged store away, but not the files beside it."""
    with contextlib.closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE more (content)")
        writer.commit()
        shutil.copy(f"{file}-wal", file.parent / "left")
    for old in file.parent.glob("mlflow.db*"):
        old.unlink()
    (file.parent / "left").rename(f"{file}-wal")
    said = refusal(file)
    assert f"{file} is gone, but {file.name}-wal beside it" in said
    assert "move it to where" in said
    assert not file.exists()


def test_the_remedy_for_a_damaged_store_names_the_files_beside_it(file):
    empty(file)
    assert "-wal" in refusal(file)
