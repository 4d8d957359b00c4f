"""Compilation of the native engine, cached for the next process."""

import errno
import hashlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import njit

from sweepgrad.paths import cache_dir

log = logging.getLogger(__name__)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
UNUSED = 90 * 24 * 3600  # seconds after which code compiled for other versions is removed


def compiled(function: Callable[..., int], signature: Any, name: str) -> Callable[..., int]:
    """Return the function compiled for this signature, from the user's cache if it is there.

    Two processes may call it at once, since files are written atomically. Two threads may not, since Numba's
    cache folder is a setting of the process.

    Arguments:
        name: of the dtype that it is compiled for.
    """
    folder = cache_dir() / f"engine-{_version()}"
    mark = folder / f"{name}.compiled"
    if not mark.exists():
        log.info(f"compiling the engine for {name}, once on this machine: about half a minute …")
    with _delayed_interrupts():
        return _compiled_or_loaded(function, signature, folder, mark)


def _compiled_or_loaded(
    function: Callable[..., int], signature: Any, folder: Path, mark: Path
) -> Callable[..., int]:
    before = numba.config.CACHE_DIR
    try:
        _check_owner(folder)
        numba.config.CACHE_DIR = str(folder)
        result: Callable[..., int] = njit(signature, cache=True, **OPTIONS)(function)
        mark.touch()
        _remove_unused(folder)
    except OSError as error:
        log.warning(
            f"cannot write the compiled engine to {folder} ({error.strerror or error}), so every process"
            " compiles it"
        )
        result = njit(signature, **OPTIONS)(function)
    except Exception as error:  # noqa: BLE001 - unpickling a damaged file may raise anything
        log.warning(f"the compiled engine in {folder} is damaged ({error!r}): compiling it again …")
        shutil.rmtree(folder, ignore_errors=True)
        result = njit(signature, **OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before
    return result


@contextmanager
def _delayed_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the end, since the compiler's callbacks swallow exceptions."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    interrupts: list[int] = []

    def delay(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        log.info("interrupted: stopping when the compiler has finished …")

    signal.signal(signal.SIGINT, delay)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt


@cache
def _version() -> str:
    """Return a digest of all that the compiled code depends on: sources, versions and the processor."""
    parts = [sys.version, numba.__version__, llvmlite.__version__, np.__version__]
    parts.append(str(numba.config.CPU_NAME or get_host_cpu_name()))
    parts.append(str(numba.config.CPU_FEATURES or get_host_cpu_features().flatten()))
    here = Path(__file__).with_stem("native")
    parts += [str(here), str(here.stat().st_mtime_ns)]
    sources = ("native", "functions", "loops", "products", "tiles", "vector")
    parts += [here.with_stem(name).read_text() for name in sources]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _remove_unused(folder: Path) -> None:
    """Remove code that was compiled for other versions and not loaded for three months."""
    for other in folder.parent.glob("engine-*"):
        loaded = [mark.stat().st_mtime for mark in other.glob("*.compiled")]
        if other != folder and loaded and max(loaded) < time.time() - UNUSED:
            shutil.rmtree(other, ignore_errors=True)


def _check_owner(folder: Path) -> None:
    """Make the folder, and raise OSError unless this user, and no other, may write there."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    # Numba unpickles the files, so no other user may write them.
    for part, others in ((folder, 0o022), (folder.parent, 0o002)):
        found = part.stat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & others):
            raise PermissionError(errno.EPERM, f"others may write to {part}")
    with tempfile.TemporaryFile(dir=folder):
        pass
