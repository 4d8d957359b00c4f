"""Keep every job once in MLflow, although MLflow gives each run it makes an id of its own.

A run is found by the id of its job, which is one of its tags, and is made only if it is not found. That
leaves one way to two runs: a server that makes a run after its client has given up waiting. Such a run is
deleted when it is seen, which is at the latest when the sweep ends.
"""

from collections.abc import Callable, Sequence

import mlflow

from sweepgrad.runs.record import Record
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.tags import JOB, PARENT


def complete(run: Logged, record: Record) -> bool:
    """Return whether all of a run's record was sent: its end is written last."""
    return run.status == record.status and run.ended == record.ended


def same_attempt(run: Logged, record: Record) -> bool:
    """Return whether a run holds this record, or a part of it; if not, the job was trained again since.

    A run that was sent in part is RUNNING, or KILLED by `Store.close_abandoned`.
    """
    in_part = run.started == record.started and run.status in ("RUNNING", "KILLED")
    return in_part or complete(run, record)


def once_each(client: mlflow.MlflowClient, runs: Sequence[Logged]) -> dict[str, Logged]:
    """Return runs by their job, and delete those that are there twice; a run that has ended stays."""
    kept: dict[str, Logged] = {}
    for run in sorted(runs, key=lambda run: (run.status == "RUNNING", run.started, run.run_id)):
        if kept.setdefault(run.tags[JOB], run) is not run:
            client.delete_run(run.run_id)
    return kept


def one_parent(
    client: mlflow.MlflowClient, found: Sequence[Logged], search: Callable[[str], Sequence[Logged]]
) -> str:
    """Return the id of a sweep's own run. If there are several, the jobs of the others become its jobs.

    Arguments:
        search: returns the runs that match a condition.
    """
    first, *others = sorted(found, key=lambda run: (run.started, run.run_id))
    for other in others:
        for job in search(f"tags.`{PARENT}` = '{other.run_id}'"):
            client.set_tag(job.run_id, PARENT, first.run_id)
        client.delete_run(other.run_id)
    return first.run_id
