"""Measure the effect of each rewriting rule of the tape: `python -m benchmarks.rewrites`, about a minute.

A step is timed with all rules, and without each rule. Rules build on each other, so the numbers do not add
up. It prints the table of docs/engine.md.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

from unittest.mock import patch

from benchmarks import ours
from benchmarks.peers import task

from sweepgrad.engine import recorder
from sweepgrad.engine.rewrite import RULES, Rule
from sweepgrad.training import steps

WORK = (((8, 4), 1), ((8, 4), 32), ((64, 64), 32))


def step(hidden: tuple[int, ...], batch: int, rules: tuple[Rule, ...]) -> tuple[float, int]:
    """Return the microseconds per step in float32, and the number of instructions."""
    with patch.object(recorder, "RULES", rules):
        steps._training.cache_clear()
        job = ours.Job(hidden, batch, "float32", "native")
    return task.fastest(lambda: job.epoch(1)) / (task.ROWS // batch) * 1e6, len(job.tape.instructions)


def main() -> None:
    names = [f"{'-'.join(map(str, (task.FEATURES, *hidden, 1)))}, batch {batch}" for hidden, batch in WORK]
    print(f"| rules | {' | '.join(names)} | instructions |")
    print(f"| --- | {' | '.join('---:' for _ in WORK)} | ---: |")
    all_of_them = {"all": RULES}
    without = {f"without `{left.__name__}`": tuple(r for r in RULES if r is not left) for left in RULES}
    for name, rules in {**all_of_them, **without, "none": ()}.items():
        timed = [step(hidden, batch, rules) for hidden, batch in WORK]
        times = " | ".join(f"{microseconds:.2f}" for microseconds, _ in timed)
        print(f"| {name} | {times} | {timed[-1][1]} |", flush=True)


if __name__ == "__main__":
    main()
