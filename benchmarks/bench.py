"""Compare our training step with those of other libraries: `make bench`.

Every measurement has its own process, bound to one core, or two if it says so. Libraries alternate, and all
measurements are made twice, so that a machine that slows down for a while slows all of them; the fastest
counts.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import charts, machine, report, workloads
from benchmarks.peers import task
from benchmarks.workloads import Measurement

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, SECONDS, QUICK_SECONDS, TIMEOUT = 2, 1.0, 0.1, 900
LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "jaxlib")
# No threads in the libraries. If a measurement has two cores, the benchmark of the library uses them itself.
ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--only", metavar="REGEX", help="measure only names that match")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few measurements, short, once")
    parser.add_argument("--seconds", type=float, help="duration of each measurement (default 1, quick 0.1)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="number of rounds")
    parser.add_argument("--list", action="store_true", help="list the measurements and exit")
    parser.add_argument(
        "--redraw", action="store_true", help="write tables and charts again without measuring"
    )
    parser.add_argument("--output", type=Path, help="default: docs; with --only or --quick build/bench")
    return parser.parse_args(arguments)


def chosen(quick: bool, only: str | None, repeats: int) -> list[Measurement]:
    """Return the measurements of all rounds, in order."""
    if quick:
        rounds = [workloads.quick()]
    else:
        first = [*workloads.of_many(), *workloads.in_table(), *workloads.in_charts()]
        rounds = [first, *[[m for m in first if not m.once]] * (repeats - 1)]
    return [m for measurements in rounds for m in measurements if re.search(only or "", m.name)]


def measure(measurement: Measurement, cores: list[int], seconds: float) -> dict[str, Any]:
    """Run a measurement in its own process and return its answer; see `measure.py`."""
    if len(cores) < measurement.cores:
        return {"why_not": f"needs {measurement.cores} cores"}
    threads = "" if measurement.cores > 1 else "--xla_cpu_multi_thread_eigen=false"
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": "1" for name in ONE_THREAD},
        "XLA_FLAGS": f"{threads} {measurement.flags}".strip(),
        "SWEEPGRAD_BENCH_SECONDS": str(seconds),
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # total times include compiling
    }
    request = {
        "function": measurement.function,
        "arguments": measurement.arguments,
        "cores": cores[-measurement.cores :],  # the last: the first also serves the machine's interrupts
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return {"why_not": f"took longer than {TIMEOUT // 60} minutes"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["printed nothing"]
        return {"why_not": f"ended with {done.returncode}: {lines[-1]}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(measurements: list[Measurement], seconds: float) -> list[dict[str, Any]]:
    """Return a record for each measurement, with the values of all rounds and the best one."""
    cores = (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
    )
    missing = {peer: name for peer, name in workloads.NEEDS.items() if find_spec(name) is None}
    records: dict[str, dict[str, Any]] = {}
    for number, m in enumerate(measurements, start=1):
        record = records.setdefault(
            m.name,
            {
                "peer": m.peer,
                "work": m.work,
                "hidden": m.hidden,
                "batch": m.batch,
                "dtype": m.dtype,
                "cores": m.cores,
                "parameters": task.parameters(m.hidden) if m.work == workloads.STEP else None,
                "value": None,
                "unit": "operations per second" if m.work == workloads.RATE else "seconds",
                "rounds": [],
                "why_not": f"{missing[m.peer]} is not installed" if m.peer in missing else None,
            },
        )
        if record["why_not"] is None:
            answer = measure(m, cores, seconds)
            record["why_not"] = answer.get("why_not")
            if "value" in answer:
                record["rounds"].append(answer["value"] / m.divide)
                record["value"] = (max if m.work == workloads.RATE else min)(record["rounds"])
        printed = record["why_not"] or report.formatted(record["rounds"][-1], m.work)
        print(f"{number:3} of {len(measurements)}  {m.name}: {printed}", flush=True)
    return [*records.values()]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    part = options.quick or options.only is not None
    output = options.output or ROOT / ("build/bench" if part else "docs")
    if options.redraw:
        results = json.loads((output / "benchmarks.json").read_text())
    else:
        measurements = chosen(options.quick, options.only, options.rounds)
        if options.list or not measurements:
            print("\n".join(dict.fromkeys(m.name for m in measurements)) or "no measurement matches")
            return 0 if measurements else 2
        seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
        results = {
            **machine.described(LIBRARIES),
            "seconds_a_measurement": seconds,
            "measurements": run(measurements, seconds),
        }
    results["aims"] = report.aims(results["measurements"])
    pictures = charts.draw(results, output / "pictures")
    (output / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "benchmarks.md").write_text(report.page(results, [p.relative_to(output) for p in pictures]))
    print(f"written: {output / 'benchmarks.md'}, benchmarks.json and {len(pictures)} pictures beside it")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; nothing was written")
        sys.exit(130)
