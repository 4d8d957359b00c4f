"""Measure the speedup of two Dask workers over one: `python -m benchmarks.dask_workers`, about two minutes.

A sweep that is dominated by training is run alternately by one worker and by two, with one core each, in one
process. The result is the ratio of the best wall times of three. Starting the workers and their first jobs,
which import modules, do not count. This needs a machine with two idle cores; on a busy one, the share of the
time in which the workers train still shows the cost of the launcher.
"""

import shutil
import tempfile
import time
from pathlib import Path
from threading import Event

from sweepgrad.compose.plan import plan
from sweepgrad.sweeps.dask import scheduler
from sweepgrad.sweeps.dask.cluster import Cluster
from sweepgrad.sweeps.job import Job

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
        with Cluster(None, 1) as one, Cluster(None, 2) as two:
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
    """Return the seconds until all jobs are in their folders, and the seconds of training them."""
    clock = time.perf_counter()
    outcomes = [*scheduler.run(jobs, cluster, Event())]
    assert [outcome.status for outcome in outcomes] == ["FINISHED"] * len(jobs)
    return time.perf_counter() - clock, sum(outcome.seconds for outcome in outcomes)


if __name__ == "__main__":
    main()
