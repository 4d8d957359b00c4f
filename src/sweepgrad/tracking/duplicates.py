"""Keep every job once in MLflow, although MLflow gives each run it makes an id of its own.

A run is found by the id of its job, which is one of its tags, and is made only if it is not found. That
leaves one way to two runs: a server that makes a run after its client has given up waiting. Such a run is
deleted when it is seen, which is at the latest when the sweep ends.
"""

import logging
from collections.abc import Callable, Sequence

import mlflow

from sweepgrad.runs.record import Record
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.tags import JOB, PARENT, changed

log = logging.getLogger(__name__)


def complete(run: Logged, record: Record) -> bool:
    """Return whether all of a run's record was sent: its end is written last."""
    return run.status == record.status and run.ended == record.ended


def same_attempt(run: Logged, record: Record) -> bool:
    """Return whether a run holds this record, or a part of it; if not, the job was trained again since.

    A run that was sent in part is RUNNING, or KILLED by `Store.close_abandoned`.
    """
    in_part = run.started == record.started and run.status in ("RUNNING", "KILLED")
    return in_part or complete(run, record)


def once_each(
    client: mlflow.MlflowClient, runs: Sequence[Logged], record: Record | None = None
) -> dict[str, Logged]:
    """Return runs by their job, and delete those that are there twice; the most complete stays.

    A run without its job is left as it is, and a warning names it.

    Arguments:
        record: of the only job that the runs are of, if it is known.
    """
    kept: dict[str, Logged] = {}
    for run in sorted(runs, key=lambda run: _order(run, record)):
        if JOB not in run.tags:
            log.warning(changed(run, JOB))
        elif kept.setdefault(run.tags[JOB], run) is not run:
            client.delete_run(run.run_id)
    return kept


_ENDED = {"FINISHED": 0, "FAILED": 0, "KILLED": 1}  # KILLED is also what `close_abandoned` makes of a part


def _order(run: Logged, record: Record | None) -> tuple[bool, int, int, int, str]:
    """Return a key that sorts the most complete run first; of two attempts at a job, the later one."""
    agrees = record is not None and complete(run, record)
    content = len(run.metrics) + len(run.params) + len(run.tags)
    return not agrees, _ENDED.get(run.status, 2), -run.started, -content, run.run_id


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
