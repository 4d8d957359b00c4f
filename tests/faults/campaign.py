"""Inject a fault at the n-th system call of a command, for every n; then repeat the command and check.

    python -m tests.faults.campaign [PHASE ...] [--every STEP] [--kinds KIND,...] [--json FILE]

A phase is one command on a small project: `train` (a sweep of two jobs), `sync` (two runs that were not
sent), `single` (one run with its model) and `finalize`. After each fault the command is run again without
one. Then every job must be in the store exactly once, with the bits of an undisturbed run, and no process
may have ended with a traceback.

Everything is imported once, in this process; each case is a fork of it.
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
from hashlib import sha256
from pathlib import Path

from tests.faults import system_calls
from tests.faults.allocations import Allocations
from tests.faults.system_calls import Fault, Kind, Observed
from tests.support import SMALL, Result, command

from sweepgrad.runs import record as records

TRAIN = ("train", "-m", *SMALL, "seed=1,2")
KINDS: tuple[Kind, ...] = ("once", "onward", "kill", "memory")


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
        in_memory = fault.n if fault.kind == "memory" else 0
        of_system = Fault(0) if in_memory else fault
        seen = system_calls.run(lambda: self._run(words, in_memory), self.folder, of_system)
        try:
            *result, places = json.loads(self._result.read_text())
        except FileNotFoundError:  # it was killed
            return seen, Result(-1, "", "")
        if in_memory:
            seen.calls = [("allocation", place) for place in places]
            seen.faults = [in_memory] if len(places) >= in_memory else []
        return seen, Result(*result)

    def _run(self, words: Sequence[str], in_memory: int) -> int:
        os.chdir(self.folder)
        allocations = Allocations(in_memory)
        if in_memory:
            allocations.install()
        try:
            result = command(*words)
        except BaseException:  # noqa: BLE001 - any escape is a violation
            result = Result(70, "", traceback.format_exc())
        sys.setprofile(None)
        self._result.write_text(json.dumps([result.code, result.out, result.err, allocations.places]))
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
        every: inject at every so many calls; the first differs from kind to kind.
    """
    project = Project(base)
    _prepare(project, base)
    for phase in phases:
        state, words, repeat, check = PHASES[phase]
        project.restore(state)
        undisturbed, result = project.run(words)
        assert result.code == 0, result.err
        expected = _bits(project.folder)
        for place, kind in enumerate(kinds):
            n = 1 + place * every // len(kinds)
            while True:
                project.restore(state)
                seen, first = project.run(words, Fault(n, kind))
                if not seen.faults:  # it made fewer calls than n
                    break
                wrong = [*_ended(seen, first, kind), *_left(project.folder, kind)]
                again, second = project.run(repeat or words)
                if second.code != 0:
                    wrong.append(f"repeated: {again.status}, {second.err[-2000:]}")
                wrong += check(project.folder, expected)
                call = " ".join(seen.calls[n - 1])
                outcome = Outcome(phase, n, kind, call, seen.status, tuple(wrong))
                tell(outcome)
                yield outcome
                n += every
            if kind != "memory" and n < len(undisturbed.calls) * 0.8:
                raise AssertionError(f"{phase}: {n} calls, and {len(undisturbed.calls)} undisturbed")


def _prepare(project: Project, base: Path) -> None:
    """Save the states in which the phases begin: `new`, `unsent`, `trained`."""
    # Import everything in this process, elsewhere: MLflow keeps stores open, and forks inherit that.
    with contextlib.chdir(base):
        for words in (TRAIN, ("finalize",), ("train", *SMALL)):
            result = command(*words)
            assert result.code == 0, result.err
    gc.collect()
    (project.folder / "runs").mkdir(parents=True)
    _empty_copy(base / "runs" / "mlflow.db", project.folder / "runs" / "mlflow.db")
    project.save("new")
    _, result = project.run(TRAIN)
    assert result.code == 0, result.err
    project.save("trained")
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


def _bits(folder: Path) -> set[str]:
    """Return the digests of all trained weights and states."""
    found = [*folder.glob("runs/sweeps/*/*/model/weights.npz"), *folder.glob("runs/sweeps/*/*/state.npy")]
    return {f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in found}


def jobs_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: each job is in the store exactly once, whole, with the expected bits."""
    if _bits(folder) != expected:
        yield f"other bits: {_bits(folder) ^ expected}"
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        (health,) = store.execute("PRAGMA integrity_check").fetchone()
        if health != "ok":
            yield f"damaged store: {health}"
        runs = store.execute(
            "SELECT kind.value, job.value, runs.run_uuid, status, artifact_uri FROM runs"
            " JOIN tags kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'sweepgrad.kind'"
            " LEFT JOIN tags job ON job.run_uuid = runs.run_uuid AND job.key = 'sweepgrad.job'"
            " WHERE lifecycle_stage = 'active'"
        ).fetchall()
        for kind, _, run, status, _ in runs:
            interrupted = kind == "test_evaluation" and status == "KILLED"
            if status != "FINISHED" and not interrupted:
                yield f"{kind} {run} is {status}"
        if (sweeps := [run for kind, _, run, *_ in runs if kind == "sweep"]) and len(sweeps) != 1:
            yield f"{len(sweeps)} sweeps"
        jobs = collections.Counter(job for kind, job, *_ in runs if kind == "job")
        if len(jobs) != 2 or set(jobs.values()) != {1}:
            yield f"jobs: {dict(jobs)}"
        by_run = {run: Path(artifacts.removeprefix("file://")) for _, _, run, _, artifacts in runs}
        for path in folder.glob("runs/sweeps/*/*/record.json"):
            record, where = json.loads(path.read_text()), path.parent.relative_to(folder)
            try:
                run = json.loads(path.with_name("mlflow.json").read_text())["run_id"]
            except (OSError, ValueError) as error:
                yield f"{where}: {error}"
                continue
            if run not in by_run:
                yield f"{where}: sent as {run}, which is not in the store"
                continue
            if (by_run[run] / "run.json").read_bytes() != path.read_bytes():
                yield f"{where}: the store has another record"
            if (by_run[run] / "bundle" / "weights.npz").read_bytes() != (
                path.parent / "model" / "weights.npz"
            ).read_bytes():
                yield f"{where}: the store has other weights"
            points = store.execute(
                "SELECT key, step, COUNT(*) FROM metrics WHERE run_uuid = ? GROUP BY key, step", (run,)
            ).fetchall()
            if twice := [(key, step) for key, step, count in points if count > 1]:
                yield f"{where}: metrics twice: {twice[:3]}"
            latest = dict(store.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run,)))
            if differing := {key for key, value in record["summary"].items() if latest.get(key) != value}:
                yield f"{where}: other metrics: {differing}"


def judged_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: one model was evaluated, all evaluations are recorded, the card says so."""
    yield from jobs_once(folder, expected)
    cards = list(folder.glob("runs/cards/*/card.json"))
    if len(cards) != 1:
        yield f"{len(cards)} cards"
        return
    (card_file,) = cards
    card = json.loads(card_file.read_text())
    lines = (folder / "runs" / "test_evaluations.jsonl").read_text().splitlines()
    listed = {json.loads(line)["id"]: json.loads(line) for line in lines}
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        kept = {
            value
            for (value,) in store.execute("SELECT value FROM tags WHERE key = 'sweepgrad.test_evaluation'")
        }
        versions = store.execute("SELECT run_id FROM model_versions").fetchall()
        judged = store.execute("SELECT value FROM tags WHERE key = 'sweepgrad.judged'").fetchall()
    if not set(listed) <= kept:
        yield f"in the ledger, not in the store: {set(listed) - kept}"
    if [(card["evaluated"],)] != judged:
        yield f"the store says {judged}, the card {card['evaluated']}"
    if not any(card["evaluated"].startswith(entry["when"]) for entry in listed.values()):
        yield f"the card's evaluation {card['evaluated']} is not in the ledger"
    if len(kept) != 1 + len(card["interrupted_evaluations"]):
        yield f"{len(kept)} evaluations, and a card that names {len(card['interrupted_evaluations'])}"
    if len(versions) != 1:
        yield f"{len(versions)} registered versions"


def single_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: each run on disk is in the store once, with one complete model."""
    del expected  # a command that is repeated trains another run
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        for path in folder.glob("runs/single/*/record.json"):
            job = json.loads(path.read_text())["job"]
            runs = store.execute(
                "SELECT runs.run_uuid, status FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid"
                " WHERE tags.key = 'sweepgrad.job' AND tags.value = ? AND lifecycle_stage = 'active'",
                (job,),
            ).fetchall()
            if [status for _, status in runs] != ["FINISHED"]:
                yield f"{path.parent.name}: in the store: {runs}"
                continue
            models = store.execute(
                "SELECT status, artifact_location FROM logged_models"
                " WHERE source_run_id = ? AND lifecycle_stage = 'active'",
                (runs[0][0],),
            ).fetchall()
            if [status for status, _ in models] != [2]:  # READY
                yield f"{path.parent.name}: models: {models}"
                continue
            weights = list(Path(models[0][1].removeprefix("file://"), "artifacts").glob("*/weights.npz"))
            expected_weights = (path.parent / "model" / "weights.npz").read_bytes()
            if [file.read_bytes() for file in weights] != [expected_weights]:
                yield f"{path.parent.name}: another model"


PHASES: dict[str, tuple[str, Sequence[str], Sequence[str], Callable[[Path, set[str]], Iterator[str]]]] = {
    "train": ("new", TRAIN, (), jobs_once),
    "sync": ("unsent", ("sync",), (), jobs_once),
    "single": ("new", ("train", *SMALL), ("sync",), single_once),
    "finalize": ("trained", ("finalize",), (), judged_once),
}
"""The state of the project, the command, the command that is run afterwards if it is another, the check."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("phases", nargs="*", default=list(PHASES), help="default: all")
    parser.add_argument("--every", type=int, default=1, help="inject at every so many calls (default: 1)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: once,onward,kill,memory")
    parser.add_argument("--store", type=Path, help="an empty store to begin with; making one takes seconds")
    parser.add_argument("--json", type=Path, help="write the outcomes to this file")
    options = parser.parse_args()
    kinds: list[Kind] = [kind for kind in KINDS if kind in options.kinds.split(",")]

    def tell(outcome: Outcome) -> None:
        for wrong in outcome.wrong:
            print(f"{outcome.phase} {outcome.kind} {outcome.n} ({outcome.call}): {wrong}", flush=True)

    with tempfile.TemporaryDirectory() as base:
        if options.store:
            Path(base, "runs").mkdir()
            shutil.copy(options.store, Path(base, "runs", "mlflow.db"))
        outcomes = list(campaign(Path(base), options.phases, kinds, options.every, tell))
    for phase in options.phases:
        for kind in kinds:
            of = [outcome for outcome in outcomes if (outcome.phase, outcome.kind) == (phase, kind)]
            codes = collections.Counter(outcome.code for outcome in of)
            bad = sum(bool(outcome.wrong) for outcome in of)
            print(f"{phase}, {kind}: {len(of)} faults, {bad} violations, exit codes {dict(codes)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    sys.exit(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    main()
