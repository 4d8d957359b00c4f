"""Measure memory and time for a big table: `python benchmarks/big_table.py`, about three minutes.

Each number is from a separate process that prepares a job's rows and trains on them for two epochs: its peak
resident memory (getrusage), the time to prepare the rows, and the time of an epoch with evaluation, per
training row. The memory of Python and the libraries is measured in the same way on a small table, and
subtracted. The table has 10 million rows of 14 float32 features: once in a Parquet file, which is written
first, and once simulated, as with `data=simulated`. The model is 14-8-4-1, Adam, batches of 32.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

FEATURES, SMALL, MIDDLE = 14, 2000, 100_000
MEMORY_AIM, TIME_AIM = 1.3, 1.15
RESULT = Path(__file__).parents[1] / "docs" / "big_table.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)  # run one step in this process
    arguments = parser.parse_args()
    if arguments.step:
        name, *words = arguments.step
        print(json.dumps(STEPS[name](*words)))
        return
    results = {
        "command": "python benchmarks/big_table.py",
        "features": FEATURES,
        "dtype": "float32",
        "preparing": preparing(arguments.rows),
    }
    if arguments.rows == parser.get_default("rows"):
        RESULT.write_text(json.dumps(results, indent=1) + "\n")


def preparing(rows: int) -> list[dict[str, Any]]:
    """Print a row for each source of the table."""
    print("| from | rows | preparing, s | peak ÷ array | aim | ns a row | at 100,000 | ratio | aim |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for source in ("parquet", "linear", "moons"):
            small, middle, big = (measured(source, n, folder) for n in (SMALL, MIDDLE, rows))
            array = 4 * rows * FEATURES
            result = {
                "from": source,
                "rows": rows,
                "seconds": round(big["seconds"], 1),
                "peak_bytes": big["peak"],
                "constant_bytes": small["peak"],
                # The size of all rows; test rows are not loaded, so the arrays in memory are smaller.
                "array_bytes": array,
                "held_bytes": big["held"],
                "memory_ratio": round((big["peak"] - small["peak"]) / array, 3),
                "memory_ratio_to_held": round((big["peak"] - small["peak"]) / big["held"], 3),
                "memory_aim": MEMORY_AIM,
                "nanoseconds_a_row": round(big["row"] * 1e9, 1),
                "nanoseconds_a_row_of_100_000": round(middle["row"] * 1e9, 1),
                "time_ratio": round(big["row"] / middle["row"], 3),
                "time_aim": TIME_AIM,
            }
            results.append(result)
            keys = ("memory_ratio", "memory_aim", "nanoseconds_a_row", "nanoseconds_a_row_of_100_000")
            figures = " | ".join(str(result[key]) for key in (*keys, "time_ratio", "time_aim"))
            print(f"| {source} | {rows:,} | {result['seconds']} | {figures} |", flush=True)
    return results


def measured(source: str, rows: int, folder: str) -> dict[str, Any]:
    """Measure memory and time for preparing a table of that many rows and training on it."""
    if source != "parquet":
        return process(
            "train", f"data=simulated data.kind={source} data.features={FEATURES} data.rows={rows}"
        )
    file = Path(folder, f"{rows}.parquet")
    process("write", str(file), str(rows))
    return process("train", f"data=csv data.path={file} data.target=label")


def process(*step: str) -> Any:
    """Run a step in a new process and return its result. A child inherits this process's peak memory."""
    command = [sys.executable, __file__, "--step", *step]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def write(file: str, rows: str) -> None:
    """Write a Parquet file with row groups of a million rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sweepgrad import rng

    names = [f"x{i + 1}" for i in range(FEATURES)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("label", pa.int8())])
    with pq.ParquetWriter(file, schema, use_dictionary=False) as writer:
        for start in range(0, int(rows), 1 << 20):
            n = min(1 << 20, int(rows) - start)
            X = rng.normal(rng.key(0, "rows", start), (FEATURES, n)).astype(np.float32)
            y = (X[0] + X[1] + rng.normal(rng.key(0, "noise", start), (n,)) > 0).astype(np.int8)
            writer.write_table(pa.Table.from_arrays([pa.array(column) for column in (*X, y)], schema=schema))


def train(overrides: str) -> dict[str, Any]:
    """Return peak memory in bytes, seconds to prepare, seconds of an epoch per row, and feature bytes."""
    from sweepgrad.compose.plan import plan
    from sweepgrad.training.experiment import prepare

    settings = "engine.dtype=float32 model=middle train.epochs=2 train.batch_size=32"
    (job,) = plan([*overrides.split(), *settings.split()], multirun=False).jobs
    config = job.config
    start = time.perf_counter()
    experiment = prepare(config)
    seconds = time.perf_counter() - start
    epochs = []
    fits = experiment.fits()
    for _ in range(config.train.epochs):
        start = time.perf_counter()
        next(fits)
        epochs.append(time.perf_counter() - start)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "seconds": seconds,
        "row": min(epochs) / experiment.training.n_train,
        "held": experiment.training.X.nbytes,
    }


STEPS: dict[str, Any] = {"write": write, "train": train}


if __name__ == "__main__":
    main()
