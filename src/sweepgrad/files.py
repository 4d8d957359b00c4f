"""Files that are either whole or not there, their digests, and locks between processes."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError say what could not be written: one about a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, even if the machine stops.

    Raises:
        OSError: there is no room, or no right to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path), partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON, as `write_whole` does.

    Raises:
        OSError: as `write_whole`.
        ValueError: a number is not finite.
    """
    write_whole(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    return sha256(path.read_bytes()).hexdigest()


@contextmanager
def locked(path: Path, *, make: bool = False, wait: bool = True) -> Iterator[None]:
    """Keep out whoever locks the same file or folder, in this process or another.

    Arguments:
        make: the file if it is not there.
        wait: for the one who has it.

    Raises:
        BlockingIOError: somebody else has it, and this does not wait.
        OSError: it cannot be opened.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT if make else os.O_RDONLY, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)


def lock_for_this_process(file: IO[Any]) -> None:
    """Keep other processes off a file, without waiting, until it is closed or this process ends.

    Unlike `locked` it is not inherited by a process that is forked from here, which may outlive this one; and
    it keeps nobody out of the same process.

    Raises:
        OSError: another process has it (`errno` EAGAIN or EACCES), or it cannot be locked.
    """
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
