"""All tasks, and the one place where a configuration's is looked up."""

import re

from sweepgrad.config.data import DataConfig
from sweepgrad.config.metrics import NAMES
from sweepgrad.stats import metrics
from sweepgrad.stats.metrics import Metric
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.task import Task

TASKS: dict[str, Task] = {BINARY.name: BINARY}


def task_of(data: DataConfig) -> Task:
    """Return the task of a table: its target has two values."""
    return BINARY


def add_metric(metric: Metric) -> None:
    """Register a metric: runs report it, the leaderboard shows it, and `select.metric` may name it.

    Raises:
        ValueError: its name is taken, or it names an unknown task.
    """
    if not re.fullmatch(r"(?!n$|.*_ci$)[a-z][a-z0-9_]*", metric.name):
        raise ValueError(
            f"metric {metric.name!r}: its name must be of a-z, 0-9 and _, not be n, and not end in _ci"
        )
    if unknown := [name for name in metric.tasks if name not in TASKS]:
        raise ValueError(f"metric {metric.name!r}: there is no task {', '.join(unknown)}")
    metrics.register(metric)
    NAMES.append(metric.name)
