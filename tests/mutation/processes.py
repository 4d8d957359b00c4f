"""Run tests in a forked process, and note which of them failed, how long they took and what they reached."""

import contextlib
import faulthandler
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from tests.mutation import hook

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sweepgrad"
BUILD = ROOT / "build" / "mutation"
STORE = BUILD / "mlflow.db"
FAILED, RUNNING, LATE = "failed.txt", "running.txt", "late.txt"
OPTIONS = (
    *("-q", "-x", "-m not slow", "--tb=line", "--hypothesis-seed=0"),
    *("-pno:cacheprovider", "-pno:xdist", "-pno:faulthandler"),
    "-Wignore::pytest.PytestAssertRewriteWarning",  # of plugins that were imported before the fork
)


class Observer:
    """A plugin of pytest that notes times, the first failure and, in a baseline, the lines reached.

    Arguments:
        folder: for what the parent process reads, and for temporary files.
        limit: seconds after which a test ends its process.
    """

    late: IO[str]

    def __init__(self, folder: Path, *, limit: float = 600) -> None:
        self.folder, self.limit = folder, limit
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[int]]] = {}
        self._reached: dict[str, set[int]] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._reached = self.lines.setdefault(nodeid, {})
        (self.folder / RUNNING).write_text(nodeid)
        faulthandler.dump_traceback_later(self.limit, exit=True, file=self.late)

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Path | None:
        """Take the empty store of the baseline, since a new one takes seconds."""
        if fixturedef.argname != "empty_store" or not STORE.exists():
            return None
        fixturedef.cached_result = (STORE, fixturedef.cache_key(request), None)
        return STORE

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._note_failure(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note_failure(f"the import of {report.nodeid}")

    def _note_failure(self, name: str) -> None:
        with contextlib.suppress(FileExistsError), (self.folder / FAILED).open("x") as file:
            file.write(name)

    def observe(self, module: str) -> None:
        """Note which lines of a module below `src/sweepgrad` each test reaches."""

        def reached(first: int, last: int) -> None:
            self._reached.setdefault(module, set()).update(range(first, last + 1))

        hook.observe(hook.module_name(module), reached)


def python_path() -> str:
    """Return the PYTHONPATH by which processes that a test starts find the hook."""
    return f"{Path(__file__).parent / 'startup'}{os.pathsep}{ROOT}"


def forked(work: Callable[[], int], folder: Path) -> int:
    """Fork a process with a group and a folder of its own, and return its id."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        out = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.environ["PYTHONPATH"] = python_path()
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        code = work()
    except BaseException:  # noqa: BLE001 - it must not continue as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(tests: Sequence[str], observer: Observer) -> int:
    with (observer.folder / LATE).open("w") as observer.late:
        options = [*OPTIONS, f"--basetemp={observer.folder / 'temp'}"]
        return int(pytest.main([*options, *tests], plugins=[observer]))


def killer(folder: Path) -> str:
    """Return what killed the mutant that was tested in a folder."""
    failed, late, running = (folder / name for name in (FAILED, LATE, RUNNING))
    if failed.exists():
        return failed.read_text()
    if not running.exists():
        return "the import"
    return f"{'the time limit' if late.stat().st_size else 'the end'} of {running.read_text()}"
