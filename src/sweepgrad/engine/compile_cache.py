"""Compiling the machine, and keeping what was compiled for the next process."""

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
UNUSED = 90 * 24 * 3600  # seconds after which what was compiled for other versions is removed


def compiled(function: Callable[..., int], signature: Any, name: str) -> Callable[..., int]:
    """The function, compiled for this signature: from the user's cache, or compiled now and put there.

    Two processes may do so at once: files are put in their places whole. Not two threads, since Numba's cache
    folder is a setting of the process.

    Arguments:
        name: of the numbers it is compiled for.
    """
    folder = cache_dir() / f"engine-{_version()}"
    mark = folder / f"{name}.compiled"
    if not mark.exists():
        log.info(f"compiling the engine for {name}, once on this machine: about half a minute …")
    with _interrupted_afterwards():
        return _compiled_or_loaded(function, signature, folder, mark)


def _compiled_or_loaded(
    function: Callable[..., int], signature: Any, folder: Path, mark: Path
) -> Callable[..., int]:
    before = numba.config.CACHE_DIR
    try:
        _check_that_it_is_ours(folder)
        numba.config.CACHE_DIR = str(folder)
        result: Callable[..., int] = njit(signature, cache=True, **OPTIONS)(function)
        mark.touch()
        _forget_the_unused(folder)
    except OSError as error:
        log.warning(
            f"the engine cannot be kept in {folder} ({error.strerror or error}), so it is compiled each time"
        )
        result = njit(signature, **OPTIONS)(function)
    except Exception as error:  # noqa: BLE001 - what a damaged file makes of unpickling may be anything
        log.warning(f"what was compiled in {folder} is damaged ({error!r}): compiling the engine anew …")
        shutil.rmtree(folder, ignore_errors=True)
        result = njit(signature, **OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before
    return result


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Let Ctrl-C wait for the end: raised within the compiler's callbacks, it would be lost."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        log.info("interrupted: this ends when the compiler is done …")

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


@cache
def _version() -> str:
    """What decides the compiled code: our sources, the compiler's versions, Python's, and the processor."""
    words = [sys.version, numba.__version__, llvmlite.__version__, np.__version__]
    words.append(str(numba.config.CPU_NAME or get_host_cpu_name()))
    words.append(str(numba.config.CPU_FEATURES or get_host_cpu_features().flatten()))
    here = Path(__file__).with_stem("native")
    words += [str(here), str(here.stat().st_mtime_ns)]
    sources = ("native", "functions", "loops", "products", "tiles", "vector")
    words += [here.with_stem(name).read_text() for name in sources]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def _forget_the_unused(folder: Path) -> None:
    """Remove what was compiled for other versions, and not loaded for three months."""
    for other in folder.parent.glob("engine-*"):
        loaded = [mark.stat().st_mtime for mark in other.glob("*.compiled")]
        if other != folder and loaded and max(loaded) < time.time() - UNUSED:
            shutil.rmtree(other, ignore_errors=True)


def _check_that_it_is_ours(folder: Path) -> None:
    """Make the folder, and raise OSError unless we, and only we, may write there."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    # Numba unpickles what it finds there, so it must be from nobody else.
    for part, others in ((folder, 0o022), (folder.parent, 0o002)):
        found = part.stat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & others):
            raise PermissionError(errno.EPERM, f"others may write to {part}")
    with tempfile.TemporaryFile(dir=folder):
        pass
