"""`hydra/launcher=threads`: the jobs of a sweep side by side in one process, which holds each table once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:  # Hydra imports every plugin to answer --help
    from sweepgrad.sweep.hydra_task import Task


@dataclass
class ThreadsConf:
    """`workers` jobs at once; null is one for each core."""

    _target_: str = "hydra_plugins.sweepgrad_threads.ThreadsLauncher"
    workers: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="threads", node=ThreadsConf, provider="sweepgrad")


class ThreadsLauncher(Launcher):
    """Runs jobs of `sweepgrad train` on threads: the engine drops the GIL.

    Sweepers get a `JobReturn` for each, in order, whose value is the metric that `select.metric` names. It is
    not a number for a job that failed, so that no sweeper ends for it.
    """

    def __init__(self, workers: int | None) -> None:
        self._workers = workers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweepgrad.sweep.hydra_task import task_of

        self._task: Task = task_of(task_function, "threads")
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        from sweepgrad.sweep import threads

        workers = self._workers or threads.cores()
        jobs = self._task.jobs(job_overrides, initial_job_idx, self._config, self._context.config_loader)
        return self._task.launch(
            jobs, lambda todo, cancelled: threads.run(todo, workers, self._task.rungs(todo), cancelled)
        )
