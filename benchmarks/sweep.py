"""Time a sweep of 24 jobs from the command to the next prompt: `python -m benchmarks.sweep`, ten minutes.

It compares our sweep with the same sweep written with Hydra, PyTorch and MLflow, and with scikit-learn,
joblib and MLflow: the Spotify songs, four networks, two learning rates, three seeds, 25 epochs in batches of
32, Adam, dropout 0.2. Each command runs in a new folder with an empty MLflow store whose tables exist. The
commands alternate, so that a machine that slows down slows all of them; the median of the rounds counts. A
first round with one job and one epoch does not count: it fills caches, such as that of compiled code.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.commands import ROOT, STORE, Failed, Grid, check, timed, warm_store

PEERS = ROOT / "benchmarks" / "peers"
ROUNDS = 5
LIBRARIES = (
    "numpy",
    "numba",
    "mlflow",
    "sqlalchemy",
    "hydra-core",
    "pandas",
    "scikit-learn",
    "joblib",
    "torch",
)


@dataclass(frozen=True)
class Contestant:
    """A command that runs a grid.

    Attributes:
        metric: its name for the validation accuracy.
        needs: a module that may be missing.
    """

    name: str
    metric: str
    needs: str
    command: Callable[[Grid], list[str]]


def _pytorch(grid: Grid) -> list[str]:
    script = str(PEERS / "hydra_torch" / "train.py")
    return [sys.executable, script, "--multirun", f"epochs={grid.epochs}", *grid.overrides]


def _sklearn(grid: Grid) -> list[str]:
    shapes = [",".join(map(str, widths)) for widths in grid.hidden]
    words = ["--hidden", *shapes, "--lr", *map(str, grid.lr), "--seed", *map(str, range(grid.seeds))]
    return [sys.executable, str(PEERS / "sklearn_joblib.py"), "--epochs", str(grid.epochs), *words]


OURS = "sweepgrad"
CONTESTANTS = (
    Contestant(OURS, "val/accuracy", "sweepgrad", lambda grid: grid.ours),
    Contestant("Hydra, PyTorch, MLflow", "val_accuracy", "torch", _pytorch),
    Contestant("scikit-learn, joblib, MLflow", "val_accuracy", "joblib", _sklearn),
)


def measured(contestants: Sequence[Contestant], grid: Grid, rounds: int, warm: bool) -> list[dict[str, Any]]:
    """Return a record for each contestant: seconds of all rounds and their median, or why there are none."""
    records: dict[str, dict[str, Any]] = {
        c.name: {
            "name": c.name,
            "seconds": None,
            "cpu_seconds": None,
            "rounds": [],
            "cpu_rounds": [],
            "best_val_accuracy": None,
            "why_not": None,
        }
        for c in contestants
    }
    for contestant in contestants:
        if find_spec(contestant.needs) is None:
            records[contestant.name]["why_not"] = f"{contestant.needs} is not installed"
            print(f"{contestant.name}: {contestant.needs} is not installed, so it is left out", flush=True)
    with tempfile.TemporaryDirectory() as name:
        store = warm_store(Path(name))
        one = replace(grid, hidden=grid.hidden[:1], lr=grid.lr[:1], seeds=1, epochs=1)
        turns = [*([("warming", one)] if warm else []), *[(f"round {n + 1}", grid) for n in range(rounds)]]
        for turn, jobs in turns:
            for contestant in contestants:
                record = records[contestant.name]
                if record["why_not"]:
                    continue
                try:
                    with tempfile.TemporaryDirectory() as fresh:
                        folder = Path(fresh, "sweep")
                        took = timed(contestant.command(jobs), folder, store)
                        runs = check(folder / STORE, contestant.metric, jobs)
                except Failed as error:
                    record["why_not"] = str(error)
                    print(f"{contestant.name}: {error}", flush=True)
                    continue
                print(
                    f"{turn}, {contestant.name}: {took.seconds:.2f} s, of processors {took.cpu:.2f} s",
                    flush=True,
                )
                if jobs is grid:
                    record["rounds"].append(round(took.seconds, 3))
                    record["cpu_rounds"].append(round(took.cpu, 3))
                    record["seconds"] = median(record["rounds"])
                    record["cpu_seconds"] = median(record["cpu_rounds"])
                    # Recorded too, since a network that learns nothing would not be comparable.
                    record["best_val_accuracy"] = round(median(run.best for run in runs), 3)
    return [*records.values()]


def with_ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records with the ratio of each median to ours; None if either is unknown."""
    ours = next((r["seconds"] for r in records if r["name"] == OURS), None)
    return [{**r, "ratio": round(r["seconds"] / ours, 2) if r["seconds"] and ours else None} for r in records]


def table(records: list[dict[str, Any]]) -> str:
    lines = [
        "| sweep | median, s | rounds, s | times ours | of processors, s | best val. accuracy, median job |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for r in records:
        if r["seconds"] is None:
            lines.append(f"| {r['name']} | {r['why_not']} | | | | |")
            continue
        rounds = " ".join(f"{seconds:.2f}" for seconds in r["rounds"])
        ratio = f"{r['ratio']:.2f}" if r["ratio"] else ""
        lines.append(
            f"| {r['name']} | {r['seconds']:.2f} | {rounds} | {ratio} | {r['cpu_seconds']:.2f}"
            f" | {r['best_val_accuracy']:.1%} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default {ROUNDS})")
    parser.add_argument("--only", metavar="REGEX", default="", help="run only names that match")
    parser.add_argument("--quick", action="store_true", help="a smoke run: two jobs of two epochs, once")
    parser.add_argument("--output", type=Path, help="default: docs; with --only or --quick build/bench")
    options = parser.parse_args(arguments)
    contestants = [c for c in CONTESTANTS if re.search(options.only, c.name)]
    if not contestants or options.rounds < 1:
        parser.error(f"there are {', '.join(c.name for c in CONTESTANTS)}, and rounds from 1")
    grid = Grid(hidden=((8, 4),), lr=(0.003,), seeds=2, epochs=2) if options.quick else Grid()
    rounds = 1 if options.quick else options.rounds
    results = {
        "command": "python -m benchmarks.sweep",
        **machine.described(LIBRARIES),
        "jobs": len(grid.jobs),
        "epochs": grid.epochs,
        "sweeps": with_ratios(measured(contestants, grid, rounds, warm=not options.quick)),
    }
    print(table(results["sweeps"]))
    part = options.quick or options.only
    output = options.output or ROOT / ("build/bench" if part else "docs")
    output.mkdir(parents=True, exist_ok=True)
    (output / "sweep.json").write_text(json.dumps(results, indent=1) + "\n")
    failed = [r for r in results["sweeps"] if r["why_not"] and not r["why_not"].endswith("not installed")]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; nothing was written")
        sys.exit(130)
