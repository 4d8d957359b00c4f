"""`hydra/launcher=dask`: runs the jobs of a sweep on a Dask cluster, of this machine or of many."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:  # Hydra imports every plugin to answer --help
    from sweepgrad.sweeps.dask.cluster import Cluster
    from sweepgrad.sweeps.hydra_task import Task
    from sweepgrad.sweeps.job import Job, Outcome


@dataclass
class DaskConf:
    """Run the jobs of a sweep on a Dask cluster."""

    _target_: str = "hydra_plugins.sweepgrad_dask.DaskLauncher"
    address: str | None = field(
        default=None,
        metadata={
            "help": "Address of a running scheduler, tcp://HOST:8786; null starts a cluster on this machine."
        },
    )
    workers: int | None = field(
        default=None,
        metadata={"help": "Worker processes of a cluster on this machine; null is one per core."},
    )


ConfigStore.instance().store(group="hydra/launcher", name="dask", node=DaskConf, provider="sweepgrad")


class DaskLauncher(Launcher):
    """Runs jobs of `sweepgrad train` on a Dask cluster.

    Sweepers get the values that `ThreadsLauncher` returns. The cluster runs until the sweep ends, also when a
    sweeper launches several batches.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._address, self._workers = address, workers
        self._cluster: Cluster | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweepgrad.errors import UserError
        from sweepgrad.sweeps.hydra_task import task_of

        if self._address is not None and self._workers is not None:
            raise UserError(
                "hydra.launcher.workers: has no effect with hydra.launcher.address. Remove one of them"
            )
        if self._workers is not None and self._workers < 1:
            raise UserError(f"hydra.launcher.workers: must be at least 1, not {self._workers}")
        self._task: Task = task_of(task_function, "dask")
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        jobs = self._task.jobs(job_overrides, initial_job_idx, self._config, self._context.config_loader)
        return self._task.launch(jobs, self._execute)

    def _execute(self, jobs: "Sequence[Job]", cancelled: Event) -> "Generator[Outcome, None, None]":
        from sweepgrad.sweeps.dask import scheduler
        from sweepgrad.sweeps.dask.cluster import Cluster

        if not jobs:
            return
        if self._cluster is None:
            session = self._task.session
            cluster = Cluster(self._address, self._workers)
            self._cluster = session.resources.enter_context(cluster)
        yield from scheduler.run(jobs, self._cluster, cancelled)
