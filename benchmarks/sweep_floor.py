"""Compare a sweep of 1,000 jobs with a lower bound of its time: `python -m benchmarks.sweep_floor`, minutes.

The sweep is a whole command, from start to exit. The lower bound is the longer of two parts, each run alone
on the machine by a process whose start does not count:

- training: the same fits, one thread per core, nothing recorded; table and engine are loaded before.
- MLflow: the runs of the sweep, with the same parameters, metrics and tags, written to another store with
plain
  calls of MLflow's client: create_run, log_batch, set_terminated.

Memory: the peaks of a sweep of 100 jobs and of this one; their difference is the memory of additional jobs.
The main process and those that it starts are counted separately; shared memory counts for each of them.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.commands import ROOT, STORE, Failed, Grid, Took, check, environment, timed, warm_store

JOBS, ROUNDS, METRIC = 1000, 3, "val/accuracy"
SHAPES, RATES = ((8, 4), (16,), (8, 8, 4), (12, 6)), (0.001, 0.002, 0.003, 0.005, 0.01)
A_SEED = len(SHAPES) * len(RATES)  # jobs
TIME_AIM, MEMORY_AIM = 1.3, 50_000  # times the floor; bytes a job
LIBRARIES = ("numpy", "numba", "mlflow", "sqlalchemy", "hydra-core", "pandas")


def grid_of(jobs: int) -> Grid:
    return Grid(SHAPES, RATES, seeds=jobs // A_SEED)


def fewer(jobs: int) -> int:
    """Return a tenth of the jobs, rounded to whole seeds."""
    return max(jobs // 10 // A_SEED, 1) * A_SEED


def training_seconds(seeds: str) -> float:
    """Return the seconds of the fits of a sweep, with one thread per core."""
    from sweepgrad import engine
    from sweepgrad.compose.plan import plan
    from sweepgrad.config.schema import Config
    from sweepgrad.training.experiment import dtype_of, prepare

    grid = Grid(SHAPES, RATES, int(seeds))
    (job,) = plan(grid.fixed, multirun=False).jobs
    first = job.config
    known = first.model_dump()

    def train(job: tuple[tuple[int, ...], float, int]) -> None:
        hidden, lr, seed = job
        changed = {
            "model": {**known["model"], "hidden": hidden},
            "optimizer": {**known["optimizer"], "lr": lr},
            "seed": seed,
        }
        for _ in prepare(Config.model_validate({**known, **changed})).fits():
            pass

    prepare(first)
    engine.load(first.engine.name, dtype_of(first))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        start = time.perf_counter()
        list(pool.map(train, grid.jobs))
        return time.perf_counter() - start


def mlflow_seconds(sweep: str, fresh: str) -> float:
    """Return the seconds to write the runs of a sweep's store to a new one."""
    import mlflow
    from mlflow.entities import Metric, Param

    with closing(sqlite3.connect(sweep)) as connection:
        runs = connection.execute(
            "SELECT run_uuid, name, start_time, end_time FROM runs WHERE run_uuid IN"
            " (SELECT run_uuid FROM metrics WHERE key = ?)",
            (METRIC,),
        ).fetchall()

        def of(run: str, what: str) -> list[tuple[Any, ...]]:
            return connection.execute(f"SELECT {what} WHERE run_uuid = ?", (run,)).fetchall()

        todo = [
            (
                (start, dict(of(run, "key, value FROM tags")), name),
                [Metric(*row) for row in of(run, "key, value, timestamp, step FROM metrics")],
                [Param(*row) for row in of(run, "key, value FROM params")],
                end,
            )
            for run, name, start, end in runs
        ]
    client = mlflow.MlflowClient(f"sqlite:///{fresh}")
    experiment = client.create_experiment("floor")
    clock = time.perf_counter()
    for creation, metrics, params, end in todo:
        run_id = client.create_run(experiment, *creation).info.run_id
        client.log_batch(run_id, metrics, params)
        client.set_terminated(run_id, "FINISHED", end)
    return time.perf_counter() - clock


STEPS: dict[str, Callable[..., float]] = {"training": training_seconds, "mlflow": mlflow_seconds}


def process(*step: str) -> float:
    """Run a step in a new process and return its result.

    Raises:
        Failed: its exit code is not 0.
    """
    command = [sys.executable, "-m", "benchmarks.sweep_floor", "--step", *step]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{step[0]} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def measured(jobs: int, store: Path, folder: Path) -> dict[str, Any]:
    """Measure a round: both sweeps and the two parts of the lower bound."""
    takes: dict[int, Took] = {}
    for n in dict.fromkeys((fewer(jobs), jobs)):
        place, grid = folder / str(n), grid_of(n)
        takes[n] = timed(grid.ours, place, store)
        check(place / STORE, METRIC, grid)
    fresh = Path(shutil.copy(store, folder / STORE))
    found = {
        "sweep": takes[jobs].seconds,
        "training": process("training", str(jobs // A_SEED)),
        "mlflow": process("mlflow", str(folder / str(jobs) / STORE), str(fresh)),
        "main": [take.main for take in takes.values()],
        "others": [take.others for take in takes.values()],
    }
    check(fresh, METRIC, grid_of(jobs))
    print(", ".join(f"{name} {found[name]:.2f} s" for name in ("sweep", "training", "mlflow")), flush=True)
    return found


def summary(jobs: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of the rounds and the goals."""
    seconds = {name: median(r[name] for r in rounds) for name in ("sweep", "training", "mlflow")}
    ratio = seconds["sweep"] / max(seconds["training"], seconds["mlflow"])
    few = fewer(jobs)
    result: dict[str, Any] = {
        "jobs": jobs,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "rounds": rounds,
        "ratio": round(ratio, 3),
        "ratio_aim": TIME_AIM,
        "memory_jobs": sorted({few, jobs}),
        "bytes_a_job_aim": MEMORY_AIM,
    }
    for name in ("main", "others"):
        peaks = [int(median(r[name][place] for r in rounds)) for place in range(len(rounds[0][name]))]
        result[f"{name}_peak_bytes"] = peaks
        # The memory per job needs two sizes.
        result[f"{name}_bytes_a_job"] = round((peaks[-1] - peaks[0]) / (jobs - few)) if jobs > few else None
    return result


def table(result: dict[str, Any]) -> str:
    seconds = result["seconds"]
    lines = [
        "| jobs | sweep, s | training alone, s | MLflow alone, s | sweep ÷ the longer | aim |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {result['jobs']:,} | {seconds['sweep']} | {seconds['training']} | {seconds['mlflow']}"
        f" | {result['ratio']} | {result['ratio_aim']} |",
        "",
        f"| process | {' | '.join(f'peak, {n:,} jobs, MB' for n in result['memory_jobs'])}"
        " | a job more, kB | aim |",
        "| --- |" + " ---: |" * (len(result["memory_jobs"]) + 2),
    ]
    for name, said in (("main", "its own"), ("others", "those it starts")):
        peaks = " | ".join(f"{peak / 1e6:.0f}" for peak in result[f"{name}_peak_bytes"])
        growth = result[f"{name}_bytes_a_job"]
        shown = "" if growth is None else f"{growth / 1e3:.1f}"
        lines.append(f"| {said} | {peaks} | {shown} | {result['bytes_a_job_aim'] / 1e3:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep_floor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"a multiple of {A_SEED} (default {JOBS})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default {ROUNDS})")
    parser.add_argument("--output", type=Path, help=f"default: docs; with other than {JOBS} jobs build/bench")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)  # run one step in this process
    options = parser.parse_args(arguments)
    if options.step:
        name, *words = options.step
        print(STEPS[name](*words))
        return 0
    if options.jobs < A_SEED or options.jobs % A_SEED or options.rounds < 1:
        parser.error(f"--jobs is a multiple of {A_SEED}, and --rounds at least 1")
    described = machine.described(LIBRARIES)
    rounds = []
    try:
        with tempfile.TemporaryDirectory() as name:
            store = warm_store(Path(name))
            for _ in range(options.rounds):
                with tempfile.TemporaryDirectory() as fresh:
                    rounds.append(measured(options.jobs, store, Path(fresh)))
    except Failed as error:
        print(error)
        return 1
    result = summary(options.jobs, rounds)
    print(table(result))
    output = options.output or ROOT / ("docs" if options.jobs == JOBS else "build/bench")
    output.mkdir(parents=True, exist_ok=True)
    results = {"command": "python -m benchmarks.sweep_floor", **described, **result}
    (output / "sweep_floor.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; nothing was written")
        sys.exit(130)
