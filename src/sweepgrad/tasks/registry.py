"""The registry of tasks, and the task of a configuration."""

import re

from sweepgrad.config.data import DataConfig
from sweepgrad.config.metrics import NAMES
from sweepgrad.stats import metrics
from sweepgrad.stats.metrics import Metric
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.task import Task

TASKS: dict[str, Task] = {BINARY.name: BINARY}


def task_of(data: DataConfig) -> Task:
    """Return the task of a table; at present every table has a binary target."""
    return BINARY


def add_metric(metric: Metric) -> None:
    """Register a metric, so that runs report it, the leaderboard shows it, and `select.metric` accepts it.

    Raises:
        ValueError: if its name is invalid or taken, or one of its tasks is unknown.
    """
    if not re.fullmatch(r"(?!n$|.*_ci$)[a-z][a-z0-9_]*", metric.name):
        raise ValueError(
            f"metric {metric.name!r}: its name must consist of a-z, 0-9 and _, begin with a letter, not be n,"
            " and not end in _ci"
        )
    if unknown := [name for name in metric.tasks if name not in TASKS]:
        raise ValueError(
            f"metric {metric.name!r}: unknown task {', '.join(unknown)}; known are {', '.join(TASKS)}"
        )
    metrics.register(metric)
    NAMES.append(metric.name)
