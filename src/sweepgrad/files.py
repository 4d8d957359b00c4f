"""Atomic writes of files, their digests, and locks between processes."""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file name to an OSError that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if not error.filename or isinstance(error.filename, int):  # the number of an open file
            error.filename = str(path)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it is complete or absent, even if the machine stops.

    Raises:
        OSError: the disk is full, or permission is missing.
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
    """Write values as JSON, atomically.

    Raises:
        OSError: as `write_whole`.
        ValueError: a number is not finite.
    """
    write_whole(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # reading a pipe or a device may never end
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, *, make: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock of a file or folder, against this process and others.

    Arguments:
        make: create a missing file.
        wait: wait while the lock is held elsewhere.

    Raises:
        BlockingIOError: the lock is held elsewhere, and `wait` is False.
        OSError: the file cannot be opened.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT if make else os.O_RDONLY, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)


def lock_for_this_process(file: IO[Any]) -> None:
    """Lock a file against other processes, without waiting, until it is closed or this process ends.

    Unlike that of `locked`, the lock is not inherited by forked processes, which may outlive this one, and it
    does not exclude other threads of this process.

    Raises:
        OSError: another process holds the lock (`errno` EAGAIN or EACCES), or the file cannot be locked.
    """
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
