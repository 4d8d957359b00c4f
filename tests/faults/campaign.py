"""Inject a fault at the n-th system call of a command, for every n; then repeat the command and check.

    python -m tests.faults.campaign [PHASE ...] [--every STEP] [--kinds KIND,...] [--json FILE]

A phase is one command on a small project: `train` (a sweep of two jobs), `sync` (two runs that were not
sent), `single` (one run with its model), `finalize`, `evaluate` (two splits). After each fault the command is
run again without one. Then every job must be in the store exactly once, with the bits of an undisturbed run,
and no process may have ended with a traceback.

Everything is imported once, in this process; each case is a fork of it, in memory if there is `/dev/shm`.
"""

import argparse
import collections
import contextlib
import gc
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlflow.store.db import utils as schema
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache
from tests.faults import system_calls
from tests.faults.allocations import Allocations
from tests.faults.checks import bits, evaluated_once, finalized_once, jobs_once, single_once
from tests.faults.points import allocated, by_operation, points
from tests.faults.system_calls import Fault, Kind, Observed
from tests.support import SMALL, Result, command

from sweepgrad.runs import record as records

TRAIN = ("train", "-m", *SMALL, "seed=1,2")
SPLITS = ("train", "-m", *SMALL, "split.seed=1,2")
KINDS: tuple[Kind, ...] = ("once", "onward", "short", "interrupted", "kill", "memory")
IN_MEMORY = Path("/dev/shm")
COUNTED = 10**9  # an allocation that is never made: all are counted


@dataclass(frozen=True)
class Outcome:
    """The result of one injection.

    Attributes:
        call: the call that failed, and its file.
        code: the exit code of the disturbed command.
        wrong: violations; none if all is well.
    """

    phase: str
    n: int
    kind: Kind
    call: str
    code: int | None
    wrong: tuple[str, ...]


class Project:
    """A small project in a folder whose path stays the same, since a store holds it."""

    def __init__(self, base: Path) -> None:
        self.folder, self._base = base / "project", base
        self._result = base / "result.json"

    def restore(self, state: str) -> None:
        """Put the folder into a saved state."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._base / state, self.folder)

    def save(self, state: str) -> None:
        with closing(sqlite3.connect(self.folder / "runs" / "mlflow.db")) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(self.folder, self._base / state)

    def run(self, words: Sequence[str], fault: Fault = Fault(0)) -> tuple[Observed, Result]:  # noqa: B008
        """Run a command in a fork of this process."""
        self._result.unlink(missing_ok=True)
        of_system = Fault(0) if fault.kind == "memory" else fault
        seen = system_calls.run(lambda: self._run(words, fault), self.folder, of_system)
        try:
            *result, places = json.loads(self._result.read_text())
        except FileNotFoundError:  # it was killed
            return seen, Result(-1, "", "")
        if fault.kind == "memory":
            seen.calls = [("allocation", place) for place in places]
            seen.faults = [fault.n] if len(places) >= fault.n else []
        return seen, Result(*result)

    def _run(self, words: Sequence[str], fault: Fault) -> int:
        os.chdir(self.folder)
        failing = Allocations(fault.n if fault.kind == "memory" else 0)
        if fault.kind == "memory":
            failing.install()
        try:
            result = command(*words)
        except BaseException:  # noqa: BLE001 - any escape is a violation
            result = Result(70, "", traceback.format_exc())
        sys.setprofile(None)
        self._result.write_text(json.dumps([result.code, result.out, result.err, failing.places]))
        return result.code


def campaign(
    base: Path,
    phases: Sequence[str],
    kinds: Sequence[Kind],
    every: int,
    tell: Callable[[Outcome], None],
) -> Iterator[Outcome]:
    """Yield the outcome of each fault.

    Arguments:
        base: an empty folder for the projects.
        every: inject at every so many calls of the same kind, see `points`.
    """
    project = Project(base)
    _prepare(project, base)
    for phase in phases:
        state, words, repeat, check = PHASES[phase]
        project.restore(state)
        undisturbed, result = project.run(words)
        assert result.code == 0, result.err
        expected = bits(project.folder)
        if wrong := list(check(project.folder, expected)):
            raise AssertionError(f"{phase}, undisturbed: {wrong}")
        for kind in kinds:
            for n in _points(project, phase, undisturbed, kind, every):
                project.restore(state)
                seen, first = project.run(words, Fault(n, kind))
                if not seen.faults:  # threads: this time another call was the n-th, or there were fewer
                    continue
                wrong = [*_ended(seen, first, kind), *_left(project.folder, kind)]
                if seen.status != 0 or list(check(project.folder, expected)):
                    again, second = project.run(repeat or words)
                    if second.code != 0:
                        wrong.append(f"repeated: {again.status}, {second.err[-2000:]}")
                    wrong += check(project.folder, expected)
                call = " ".join(seen.calls[n - 1])
                outcome = Outcome(phase, n, kind, call, seen.status, tuple(wrong))
                tell(outcome)
                yield outcome


def _points(project: Project, phase: str, undisturbed: Observed, kind: Kind, every: int) -> Sequence[int]:
    if kind != "memory":
        return points(undisturbed.calls, kind, every)
    state, words, *_ = PHASES[phase]
    project.restore(state)
    seen, _ = project.run(words, Fault(COUNTED, "memory"))
    return allocated([place for _, place in seen.calls], every)


def _prepare(project: Project, base: Path) -> None:
    """Save the states in which the phases begin: `new`, `unsent`, `trained`, `splits`."""
    # The newest schema that MLflow knows and the text of its statements stay the same. To find them takes
    # each process a third of the time of `sync`.
    schema._get_latest_schema_revision = cache(schema._get_latest_schema_revision)
    compiled = LRUCache[Any, Any](5000)

    @event.listens_for(Engine, "engine_connect")
    def _keep_statements(connection: Connection) -> None:
        connection.engine._compiled_cache = compiled

    # Import everything in this process, elsewhere: MLflow keeps stores open, and forks inherit that.
    with contextlib.chdir(base):
        for words in (TRAIN, ("finalize",), ("train", *SMALL), SPLITS, ("evaluate",)):
            result = command(*words)
            assert result.code == 0, result.err
    gc.collect()
    gc.freeze()  # so that collecting garbage in a fork copies none of this
    (project.folder / "runs").mkdir(parents=True)
    _empty_copy(base / "runs" / "mlflow.db", project.folder / "runs" / "mlflow.db")
    project.save("new")
    for state, words in (("trained", TRAIN), ("splits", SPLITS)):
        project.restore("new")
        _, result = project.run(words)
        assert result.code == 0, result.err
        project.save(state)
    unsent = base / "unsent"
    shutil.copytree(base / "trained", unsent)
    shutil.copy(base / "new" / "runs" / "mlflow.db", unsent / "runs" / "mlflow.db")
    shutil.rmtree(unsent / "runs" / "mlartifacts")
    for sent in unsent.rglob(records.SENT):
        sent.unlink()


def _empty_copy(store: Path, copy: Path) -> None:
    """Copy a store without what was logged to it; making a new one takes many seconds."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        tables = [name for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table not in ("alembic_version", "workspaces") and not table.startswith("sqlite_"):
                target.execute(f"DELETE FROM {table}")
        target.commit()
        target.execute("PRAGMA journal_mode=WAL")


def _ended(seen: Observed, result: Result, kind: Kind) -> Iterator[str]:
    """Yield what is wrong with how a disturbed command ended."""
    if seen.status is None:
        yield "it hangs"
    elif kind == "kill":
        if seen.status != -9:
            yield f"exit code {seen.status} although it was killed"
    elif seen.status not in (0, 1, 2) or "Traceback" in result.err:
        yield f"exit code {seen.status}: {result.err[-3000:]}"


def _left(folder: Path, kind: Kind) -> Iterator[str]:
    """Yield the partial files that were left behind."""
    if kind != "kill":
        for path in folder.rglob(".*.[0-9]*"):
            yield f"left behind: {path.relative_to(folder)}"


PHASES: dict[str, tuple[str, Sequence[str], Sequence[str], Callable[[Path, set[str]], Iterator[str]]]] = {
    "train": ("new", TRAIN, (), jobs_once),
    "sync": ("unsent", ("sync",), (), jobs_once),
    "single": ("new", ("train", *SMALL), ("sync",), single_once),
    "finalize": ("trained", ("finalize",), (), finalized_once),
    "evaluate": ("splits", ("evaluate",), (), evaluated_once),
}
"""The state of the project, the command, the command that is run afterwards if it is another, the check."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("phases", nargs="*", default=list(PHASES), help="default: all")
    parser.add_argument(
        "--every", type=int, default=1, help="inject at every so many calls that do the same (default: 1)"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    parser.add_argument("--store", type=Path, help="an empty store to begin with; making one takes seconds")
    parser.add_argument("--json", type=Path, help="add the outcomes to this file, one a line")
    options = parser.parse_args()
    kinds: list[Kind] = [kind for kind in KINDS if kind in options.kinds.split(",")]

    def tell(outcome: Outcome) -> None:
        for wrong in outcome.wrong:
            print(f"{outcome.phase} {outcome.kind} {outcome.n} ({outcome.call}): {wrong}", flush=True)

    outcomes = list[Outcome]()
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as base:
        if options.store:
            Path(base, "runs").mkdir()
            shutil.copy(options.store, Path(base, "runs", "mlflow.db"))
        for outcome in campaign(Path(base), options.phases, kinds, options.every, tell):
            outcomes.append(outcome)
            if options.json:  # a campaign takes hours, and may be ended early
                with options.json.open("a") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
    for line in summary(outcomes):
        print(line)
    sys.exit(any(outcome.wrong for outcome in outcomes))


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield what came of the faults of each phase and kind, and of each operation."""
    by_kind = collections.defaultdict[tuple[str, str], list[Outcome]](list)
    for outcome in outcomes:
        by_kind[outcome.phase, outcome.kind].append(outcome)
    for (phase, kind), of in by_kind.items():
        codes = dict(collections.Counter(outcome.code for outcome in of))
        bad = sum(bool(outcome.wrong) for outcome in of)
        yield f"{phase}, {kind}: {len(of)} faults, {bad} violations, exit codes {codes}"
    of_system = [outcome for outcome in outcomes if outcome.kind != "memory"]
    bad_ones = by_operation([outcome.call for outcome in of_system if outcome.wrong])
    for operation, n in by_operation([outcome.call for outcome in of_system]).most_common():
        yield f"{operation}: {n} faults, {bad_ones[operation]} violations"


if __name__ == "__main__":
    main()
