"""How much faster two Dask workers are than one: `python -m benchmarks.dask_workers`, some two minutes.

A sweep whose training dominates is run by one worker and by two, of one core each, in turn in one process.
The ratio is that of the best wall times of three. Starting the workers is not counted, nor are their first
jobs, for which they import what they need. It takes a machine with two idle cores: where others use them too,
the share of the time in which the workers train still tells what the launcher costs.
"""

import shutil
import tempfile
import time
from pathlib import Path
from threading import Event

from sweepgrad.compose.plan import plan
from sweepgrad.sweep.dask import scheduler
from sweepgrad.sweep.dask.cluster import Cluster
from sweepgrad.sweep.job import Job

JOBS, ROUNDS, AIM = 32, 3, 1.8
SETTINGS = ("data=simulated", "data.rows=2000", "model=wide", "train.epochs=1000")


def main() -> None:
    (planned,) = plan(SETTINGS, multirun=False).jobs
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for n in range(JOBS):
            sweep = planned.config.sweep.model_copy(update={"id": "benchmark"})
            config = planned.config.model_copy(update={"seed": n, "sweep": sweep})
            jobs.append(Job(n, "", (), config, Path(folder, "jobs", str(n)), str(n)))
        seconds: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        with Cluster(None, 1, print) as one, Cluster(None, 2, print) as two:
            clusters = {1: one, 2: two}
            for cluster in clusters.values():
                timed(jobs[:8], cluster)
            for _ in range(ROUNDS):
                for workers, cluster in clusters.items():
                    seconds[workers].append(timed(jobs, cluster))
                    shutil.rmtree(Path(folder, "jobs"))
    best = {workers: min(runs) for workers, runs in seconds.items()}
    for workers, (wall, busy) in best.items():
        named = "1 worker" if workers == 1 else f"{workers} workers"
        print(f"{named}: {wall:.2f} s for {JOBS} jobs, training in {busy / workers / wall:.0%} of it")
    print(f"two are {best[1][0] / best[2][0]:.2f} times as fast as one (aim {AIM})")


def timed(jobs: list[Job], cluster: Cluster) -> tuple[float, float]:
    """Seconds that a cluster takes until all jobs are in their folders, and those that training them took."""
    clock = time.perf_counter()
    outcomes = [*scheduler.run(jobs, cluster, Event())]
    assert [outcome.status for outcome in outcomes] == ["FINISHED"] * len(jobs)
    return time.perf_counter() - clock, sum(outcome.seconds for outcome in outcomes)


if __name__ == "__main__":
    main()
