"""`hydra/launcher=threads`: runs the jobs of a sweep in threads of one process, which share the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:  # Hydra imports every plugin to answer --help
    from sweepgrad.sweeps.hydra_task import Task


@dataclass
class ThreadsConf:
    """Run the jobs of a sweep in threads of one process."""

    _target_: str = "hydra_plugins.sweepgrad_threads.ThreadsLauncher"
    workers: int | None = field(
        default=None, metadata={"help": "Number of jobs that run at once; null is one per core."}
    )


ConfigStore.instance().store(group="hydra/launcher", name="threads", node=ThreadsConf, provider="sweepgrad")


class ThreadsLauncher(Launcher):
    """Runs jobs of `sweepgrad train` in threads; the engine releases the GIL.

    Sweepers get a `JobReturn` for each job, in order. Its value is the metric `select.metric`, or NaN for a
    job that failed, so that a failure does not end the search.
    """

    def __init__(self, workers: int | None) -> None:
        self._workers = workers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweepgrad.sweeps.hydra_task import task_of

        self._task: Task = task_of(task_function, "threads")
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        from sweepgrad.sweeps import threads

        workers = self._workers or threads.cores()
        jobs = self._task.jobs(job_overrides, initial_job_idx, self._config, self._context.config_loader)
        return self._task.launch(
            jobs, lambda todo, cancelled: threads.run(todo, workers, self._task.rungs(todo), cancelled)
        )
