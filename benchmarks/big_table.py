"""Memory and time that a big table takes: `python benchmarks/big_table.py`, some two minutes.

Each figure is that of a process of its own, which prepares a job's rows and ends: its peak resident memory
(getrusage) and the seconds that preparing took. What Python and the libraries take is measured on a small
table by the same path, and taken off. The table has 10 million rows of 14 float32 features: in a Parquet
file, which is written first, and drawn, as `data=simulated` does.
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

FEATURES, SMALL, AIM = 14, 2000, 1.3
RESULT = Path(__file__).parents[1] / "docs" / "big_table.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)  # what a process of its own is to do
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
    """A row for each source of the table."""
    print("| from | rows | seconds | peak MB | of it constant | array MB | (peak - constant) / array | aim |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for source in ("parquet", "linear", "moons"):
            small, big = (measured(source, n, folder) for n in (SMALL, rows))
            array = 4 * rows * FEATURES
            result = {
                "from": source,
                "rows": rows,
                "seconds": round(big["seconds"], 1),
                "peak_bytes": big["peak"],
                "constant_bytes": small["peak"],
                # All rows; the test rows are not held, so what is held is smaller.
                "array_bytes": array,
                "held_bytes": big["held"],
                "ratio": round((big["peak"] - small["peak"]) / array, 3),
                "ratio_to_held": round((big["peak"] - small["peak"]) / big["held"], 3),
                "aim": AIM,
            }
            results.append(result)
            sizes = " | ".join(f"{result[f'{key}_bytes'] / 1e6:.0f}" for key in ("peak", "constant", "array"))
            print(
                f"| {source} | {rows:,} | {result['seconds']} | {sizes} | {result['ratio']} | {AIM} |",
                flush=True,
            )
    return results


def measured(source: str, rows: int, folder: str) -> dict[str, Any]:
    """What it takes to prepare a table of that many rows."""
    if source != "parquet":
        return process(
            "prepare", f"data=simulated data.kind={source} data.features={FEATURES} data.rows={rows}"
        )
    file = Path(folder, f"{rows}.parquet")
    process("write", str(file), str(rows))
    return process("prepare", f"data=csv data.path={file} data.target=label")


def process(*step: str) -> Any:
    """What a step gives, done in a process of its own. This one stays small: a child starts with its peak."""
    command = [sys.executable, __file__, "--step", *step]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def write(file: str, rows: str) -> None:
    """A Parquet file in row groups of a million."""
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


def prepare(overrides: str) -> dict[str, Any]:
    """Peak memory in bytes, seconds, and the bytes of the features that are then held."""
    import numpy as np

    from sweepgrad.experiment import prepare
    from sweepgrad.preflight import plan

    (config,) = plan(overrides.split(), multirun=False).jobs
    start = time.perf_counter()
    experiment = prepare(config, np.float32)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"peak": peak, "seconds": seconds, "held": experiment.training.X.nbytes}


STEPS: dict[str, Any] = {"write": write, "prepare": prepare}


if __name__ == "__main__":
    main()
