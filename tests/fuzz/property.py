"""The property that every fuzz target has: input ends in success or in a UserError, soon, and leaves nothing.

A target is a module of this folder with `examples()`, a Hypothesis strategy of bytes, and `attack(data)`,
which hands the bytes to the program as a user would. `corpus/TARGET/` has the inputs that failed once.
"""

import contextlib
import hashlib
import io
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import psutil

from sweepgrad.errors import UserError

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 5.0  # of processor time
WAIT = 15.0  # seconds of waiting for a network
BYTES = 10**9  # of a process that did nothing before
GROWTH = 6 * 10**8  # of a process that other tests made large
MOST_SAID = 100_000  # characters of a message
INTERNALS = (
    *(
        "Traceback",
        "full_key:",
        "object_type",
        "reference_type",
        "DictConfig",
        "ListConfig",
        "is not a subclass",
    ),
    *("in struct", "raised while resolving", "NoneType", "<class ", " object at 0x"),
)
"""Words of Python, OmegaConf and Hydra about themselves, which no message has."""


class Failed(AssertionError):
    """An input for which the property does not hold."""


class _TooLong(BaseException):
    """The processor time is used up. No handler of the program catches it."""


@dataclass(frozen=True)
class Result:
    """Describe what an input came to.

    Attributes:
        refused: whether it ended in a UserError.
        message: of the error.
        seconds: of processor time.
        n_bytes: the peak memory of the process meanwhile, with what it had before; so far, if not on Linux.
    """

    refused: bool
    message: str
    seconds: float
    n_bytes: int


def targets() -> list[str]:
    """Return the names of all targets: the modules of this folder that have an `attack`."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    return [name for name in names if "\ndef attack(" in (Path(__file__).with_name(f"{name}.py")).read_text()]


def target(name: str) -> ModuleType:
    """Return the module of a target."""
    return import_module(f"tests.fuzz.{name}")


def check(attack: Callable[[bytes], None], data: bytes) -> Result:
    """Hand an input to a target, in an empty folder, and check the property.

    Raises:
        Failed: another exception escapes, it takes too long or too much memory, or something is left behind.
    """
    before = _peak_from_now()
    threads, children = set(threading.enumerate()), _children()
    began, begun = time.process_time(), time.monotonic() - _kept_waiting()
    message, refused = "", False
    with _empty_folder() as folder, _limited_time(), contextlib.redirect_stdout(io.StringIO()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                attack(data)
        except UserError as error:
            message, refused = str(error), True
        except _TooLong:
            raise Failed(f"more than {SECONDS:g} s of processor time") from None
        except Failed:
            raise
        except Exception as error:
            raise Failed(f"{type(error).__name__}: {error}\n{traceback.format_exc()}") from error
        seconds, waited = time.process_time() - began, time.monotonic() - _kept_waiting() - begun
        left = [path.name for path in folder.iterdir()]
    n_bytes = _peak()
    for wrong, problem in (
        (seconds > SECONDS, f"{seconds:.1f} s of processor time"),
        (waited > WAIT + seconds, f"{waited:.1f} s"),
        (
            n_bytes > max(BYTES, before + GROWTH),
            f"{n_bytes / 1e6:.0f} MB of memory, {before / 1e6:.0f} MB before",
        ),
        (refused and left, f"files left: {left}"),
        (bool(_still(set(threading.enumerate()) - threads)), "threads left"),
        (bool(_children() - children), "processes left"),
        (refused and not message.strip(), "a message without words"),
        (len(message) > MOST_SAID, f"a message of {len(message)} characters"),
        ("Traceback (most recent call last)" in message, "a traceback in the message"),
    ):
        if wrong:
            raise Failed(problem)
    return Result(refused, message, seconds, n_bytes)


def check_message(message: str, most: int, given: Iterable[str] = ()) -> None:
    """Check that a message has words, few enough, and none of the libraries about themselves.

    Arguments:
        given: texts of the user, which may be quoted in it and have any words.

    Raises:
        Failed: it is otherwise.
    """
    if not message.strip():
        raise Failed("a message without words")
    if len(message) > most:
        raise Failed(f"a message of {len(message)} characters")
    written = "\0".join(given)
    if found := next((name for name in INTERNALS if name in message and name not in written), None):
        raise Failed(f"{found!r} in a message\n{message[:500]!r}")


def kept(name: str) -> list[Path]:
    """Return the files of a target's corpus."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())


def keep(name: str, data: bytes) -> Path:
    """Add an input to a target's corpus; return its file."""
    path = CORPUS / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@contextlib.contextmanager
def _empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, contextlib.chdir(name):
        yield Path(name)


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    """Raise _TooLong in the main thread after twice the processor time that is allowed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _kept_waiting() -> float:
    """Return the seconds for which other processes had the processor; on Linux, elsewhere 0."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _peak_from_now() -> int:
    """Return the memory that this process has, and let `_peak` forget that it ever had more (on Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Return the largest amount of memory that this process has had, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        kilobyte = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _still(threads: set[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that do not end within a moment."""
    for thread in threads:
        thread.join(2)
    return {thread for thread in threads if thread.is_alive()}


def _children() -> set[int]:
    """Return the process ids of the children of this process."""
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
