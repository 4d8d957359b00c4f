"""Run commands in two processes that pause and are killed at random, and check what they did against a model.

    python -m tests.histories.checker [--histories N] [--seed FIRST] [--kinds KIND,...]

Two processes each run some of `finalize`, `evaluate`, `sync` and `train` on one small project. Each system
call that changes a file may pause first, and each command may be killed before any of them, see
`tests.faults.system_calls`. There are three kinds of projects: `folder`, one folder with one store;
`stores`, one folder with two stores; `folders`, two folders with one store, as of two machines.

The model knows test-set evaluations only: which were recorded, in store and ledger, and which results there
are. After each history, and after every command was repeated undisturbed, it must hold that

1. each result has its record: an evaluation is recorded before its figures can be seen;
2. of all results on the same test rows at most one is not flagged as a repetition, and repetitions of an
   interrupted evaluation are of the same model;
3. each job is in its store once, and no command ended with a traceback or hung.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.faults import system_calls
from tests.faults.system_calls import Fault
from tests.support import SMALL, command

KINDS = ("folder", "stores", "folders")
SEED = 1  # of the split of the sweeps `one` and `two`; one of the splits of `splits`
SWEEPS = {
    "one": ("train", "-m", *SMALL, f"split.seed={SEED}", "seed=1,2"),
    "two": ("train", "-m", *SMALL, f"split.seed={SEED}", "model=linear", "seed=3,4"),
    "splits": ("train", "-m", *SMALL, f"split.seed={SEED},2", "seed=5,6"),
}
NEW = ("train", "-m", *SMALL, "seed=7,8")  # that both processes may start at once
KILLED = 0.5  # the share of commands that are killed
LAST_CALL = 450  # a command that makes fewer calls is not killed


@dataclass(frozen=True)
class Result:
    """A result on a test set, as a card or a page shows it."""

    where: str
    evaluated: str
    test: str
    model: str
    flagged: bool
    interrupted: tuple[str, ...]


@dataclass
class History:
    """The steps that were made on one project, and what is wrong with it."""

    seed: int
    kind: str
    steps: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Template:
    """A trained project, which every history begins with, always at the same path."""

    def __init__(self, base: Path) -> None:
        self.base, self.project, self.names = base, base / "project", dict[str, str]()
        with contextlib.chdir(
            base
        ):  # import everything in this process, elsewhere: forks inherit open stores
            for words in (SWEEPS["splits"], ("evaluate",), SWEEPS["one"], ("finalize", "--again")):
                done = command(*words)
                assert done.code == 0, done.err
        gc.collect()
        first = self.project / "first"
        (first / "runs").mkdir(parents=True)
        shutil.copytree(base / "runs", first / "runs", dirs_exist_ok=True)
        for leftover in ("cards", "evaluations", "sweeps", "mlartifacts"):
            shutil.rmtree(first / "runs" / leftover, ignore_errors=True)
        (first / "runs" / "test_evaluations.jsonl").unlink()
        with contextlib.closing(sqlite3.connect(first / "runs" / "mlflow.db")) as store:
            tables = [
                name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for table in tables:
                if table not in ("alembic_version", "workspaces") and not table.startswith("sqlite_"):
                    store.execute(f"DELETE FROM {table}")
            store.commit()
        for name, words in SWEEPS.items():
            before = set((first / "runs").glob("sweeps/*"))
            code, err = self.run(first, words)
            assert code == 0, err
            (made,) = set((first / "runs").glob("sweeps/*")) - before
            self.names[name] = made.name
        with contextlib.closing(sqlite3.connect(first / "runs" / "mlflow.db")) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(first, base / "template")

    def restore(self, kind: str) -> list[tuple[Path, str]]:
        """Put the project into its first state; return the folder and the store of each process."""
        shutil.rmtree(self.project)
        first = Path(shutil.copytree(self.base / "template", self.project / "first"))
        store = f"sqlite:///{first / 'runs' / 'mlflow.db'}"
        if kind == "folder":
            return [(first, store), (first, store)]
        if kind == "stores":
            other = shutil.copy(first / "runs" / "mlflow.db", first / "runs" / "other.db")
            return [(first, store), (first, f"sqlite:///{other}")]
        second = self.project / "second"
        (second / "runs").mkdir(parents=True)
        return [(first, store), (second, store)]

    def run(
        self, folder: Path, words: Sequence[str], kill: int = 0, random: np.random.Generator | None = None
    ) -> tuple[int | None, str]:
        """Run a command in a fork; return its exit code and what it wrote to standard error."""
        said = self.base / f"said-{os.getpid()}"
        said.unlink(missing_ok=True)

        def work() -> int:
            os.chdir(folder)
            try:
                done = command(*words)
            except BaseException:  # noqa: BLE001 - any escape is a violation
                said.write_text(traceback.format_exc())
                return 70
            said.write_text(done.err)
            return done.code

        def pause() -> float:
            if random is None or random.random() > 0.02:
                return 0.0
            return float(random.exponential(0.05))

        seen = system_calls.run(work, self.project, Fault(kill, "kill"), pause=pause)
        return seen.status, said.read_text() if said.exists() else ""


def histories(base: Path, seeds: Sequence[int], kinds: Sequence[str] = KINDS) -> Iterator[History]:
    """Yield one history for each seed."""
    template = Template(base)
    for seed in seeds:
        random = np.random.default_rng(seed)
        history = History(seed, kinds[seed % len(kinds)])
        places = template.restore(history.kind)
        todo = [_commands(template, random, history.kind, store) for _, store in places]
        logs = [base / f"log-{number}.jsonl" for number in range(2)]
        children = []
        for number, ((folder, _), commands) in enumerate(zip(places, todo, strict=True)):
            logs[number].unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                _process(template, folder, commands, np.random.default_rng([seed, number]), logs[number])
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        for number, log in enumerate(logs):
            for line in log.read_text().splitlines():
                words, kill, code, err = json.loads(line)
                history.steps.append(f"{number}: {' '.join(words)}: killed at {kill}, {code}")
                history.wrong += _ended(words, code, err)
        history.wrong += check(places)
        for (folder, _), commands in zip(places, todo, strict=True):
            for words in commands:
                code, err = template.run(folder, words)
                history.steps.append(f"afterwards: {' '.join(words)}: {code} {err.strip()[-200:]}")
                history.wrong += _ended(words, code, err)
        history.wrong += check(places)
        history.wrong += jobs_once(places)
        yield history


def _commands(
    template: Template, random: np.random.Generator, kind: str, store: str
) -> list[tuple[str, ...]]:
    names, uri = template.names, ("--uri", store)
    choices: list[tuple[str, ...]] = [
        ("finalize", names["one"], *uri),
        ("finalize", names["two"], *uri),
        ("evaluate", names["splits"], *uri),
        ("finalize", names["one"], "--again", *uri),
    ]
    likely = [0.35, 0.25, 0.2, 0.05]
    if kind == "folder":
        choices += [("sync",), NEW]
        likely += [0.05, 0.1]
    picked = random.choice(len(choices), size=2, p=np.array(likely) / sum(likely))
    return [choices[place] for place in picked]


def _process(
    template: Template,
    folder: Path,
    commands: Sequence[tuple[str, ...]],
    random: np.random.Generator,
    log: Path,
) -> None:
    """Run commands, killing some; then end this process."""
    try:
        with log.open("a") as file:
            for words in commands:
                kill = int(random.integers(1, LAST_CALL)) if random.random() < KILLED else 0
                code, err = template.run(folder, words, kill, random)
                file.write(json.dumps([words, kill, code, err[-3000:]]) + "\n")
                file.flush()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _ended(words: Sequence[str], code: int | None, err: str) -> Iterator[str]:
    if code not in (0, 2, -9) or "Traceback" in err:
        yield f"{' '.join(words)}: {code}: {err[-1500:]}"


def check(places: Sequence[tuple[Path, str]]) -> Iterator[str]:
    """Yield every way in which results and records contradict the model."""
    recorded: dict[str, dict[str, str]] = {}
    for store in dict.fromkeys(store for _, store in places):
        recorded |= _in_store(Path(store.removeprefix("sqlite:///")))
    for folder in dict.fromkeys(folder for folder, _ in places):
        with contextlib.suppress(FileNotFoundError):
            for line in (folder / "runs" / "test_evaluations.jsonl").read_text().splitlines():
                entry = json.loads(line)
                if entry["id"] not in recorded:
                    yield f"{folder.name}: in the ledger, and in no store: {line}"
                recorded[entry["id"]] = entry
    texts = {
        "{when} by {user} on {host}, for run {run_id} of {sweep}".format(**entry): entry
        for entry in recorded.values()
    }
    results = [
        result for folder in dict.fromkeys(folder for folder, _ in places) for result in _results(folder)
    ]
    by_rows: dict[str, dict[str, Result]] = collections.defaultdict(dict)
    for result in results:
        if result.evaluated not in texts:
            yield f"{result.where}: its evaluation is recorded nowhere: {result.evaluated}"
            continue
        entry = texts[result.evaluated]
        by_rows[entry["test"]][result.evaluated] = result
        for other in result.interrupted:
            if other in texts and (texts[other]["sweep"], texts[other]["run_id"]) != (
                entry["sweep"],
                entry["run_id"],
            ):
                yield f"{result.where}: repeats the evaluation of another model: {other}"
    for rows, found in by_rows.items():
        unflagged = [result.where for result in found.values() if not (result.flagged or result.interrupted)]
        if len(unflagged) > 1:
            yield f"test rows {rows[:8]}: {len(unflagged)} results that are not flagged: {unflagged}"


def _in_store(path: Path) -> dict[str, dict[str, str]]:
    """Return the evaluations that a store knows, by id."""
    named = {
        "sweepgrad.test_evaluation": "id",
        "sweepgrad.test_evaluated_at": "when",
        "sweepgrad.test_evaluated_for": "sweep",
        "sweepgrad.chosen_run": "run_id",
        "sweepgrad.digest.test": "test",
        "sweepgrad.host": "host",
        "mlflow.user": "user",
    }
    with contextlib.closing(sqlite3.connect(path)) as store:
        rows = store.execute(
            "SELECT tags.run_uuid, key, value FROM tags WHERE run_uuid IN"
            " (SELECT run_uuid FROM tags WHERE key = 'sweepgrad.kind' AND value = 'test_evaluation')"
        ).fetchall()
    by_run: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for run, key, value in rows:
        if key in named:
            by_run[run][named[key]] = value
    return {entry["id"]: entry for entry in by_run.values()}


def _results(folder: Path) -> Iterator[Result]:
    for file in folder.glob("runs/cards/*/card.json"):
        card = json.loads(file.read_text())
        yield Result(
            f"{folder.name}/{file.parent.name}",
            card["evaluated"],
            "",
            card["run_id"],
            bool(card["earlier_evaluations"]),
            tuple(card["interrupted_evaluations"]),
        )
    for file in folder.glob("runs/evaluations/*/splits.json"):
        for split in json.loads(file.read_text()):
            yield Result(
                f"{folder.name}/{file.parent.name}/{split['split']}",
                split["evaluated"],
                split["digest"],
                split["run_id"],
                bool(split["earlier_evaluations"]),
                tuple(split["interrupted_evaluations"]),
            )


def jobs_once(places: Sequence[tuple[Path, str]]) -> Iterator[str]:
    """Yield the jobs that a store does not have exactly once."""
    for path in dict.fromkeys(Path(store.removeprefix("sqlite:///")) for _, store in places):
        with contextlib.closing(sqlite3.connect(path)) as store:
            jobs = store.execute(
                "SELECT value, COUNT(*), MIN(status), MAX(status) FROM tags JOIN runs USING (run_uuid)"
                " WHERE key = 'sweepgrad.job' AND lifecycle_stage = 'active' GROUP BY value"
            ).fetchall()
        for job, count, *statuses in jobs:
            if count != 1 or statuses != ["FINISHED"] * 2:
                yield f"{path.name}: {job} is there {count} times, {statuses}"
        sweeps = {sweep for sweep in path.parent.glob("sweeps/*") if path.name == "mlflow.db"}
        if len(jobs) != sum(len(list(sweep.glob("*/record.json"))) for sweep in sweeps) and sweeps:
            yield f"{path.name}: {len(jobs)} jobs"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, default=0, help="of the first history (default: 0)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    options = parser.parse_args()
    bad = n_commands = n_killed = 0
    with tempfile.TemporaryDirectory() as base:
        seeds = range(options.seed, options.seed + options.histories)
        for history in histories(Path(base), seeds, options.kinds.split(",")):
            bad += bool(history.wrong)
            n_commands += len(history.steps)
            n_killed += sum(step.endswith("-9") for step in history.steps)
            if history.wrong:
                print(
                    f"history {history.seed} ({history.kind}):",
                    *history.steps,
                    *history.wrong,
                    sep="\n  ",
                    flush=True,
                )
    print(f"{options.histories} histories, {n_commands} commands, {n_killed} killed, {bad} with violations")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
