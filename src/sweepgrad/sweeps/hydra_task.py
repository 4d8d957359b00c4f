"""The task function that Hydra runs, through which our launchers reach the session."""

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from threading import Event

from omegaconf import DictConfig

from sweepgrad.compose.hydra_settings import folder_of, numbered
from sweepgrad.compose.internals import ConfigLoader, HydraConfig, JobReturn, JobStatus
from sweepgrad.compose.plan import GROUPS, Plan, checked
from sweepgrad.config.data import FileData
from sweepgrad.data.access import open_training
from sweepgrad.errors import UserError
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Job, Outcome, Running
from sweepgrad.sweeps.session import Execute, Session, value
from sweepgrad.training.experiment import dtype_of

SWEEP_ID = "sweep.id="


class Task:
    """The jobs of a launch. Hydra's launchers call it for each job; ours run many at once by `launch`."""

    def __init__(self, todo: Plan, session: Session) -> None:
        self._todo, self.session = todo, session
        self._planned = {job.overrides: job.config for job in todo.jobs}

    def __call__(self, cfg: DictConfig) -> float:
        """Run one job that Hydra composed and made a folder for."""
        hydra = HydraConfig.get()
        number = hydra.job.num if self._todo.multirun else 0
        overrides = [line for line in hydra.overrides.task if not line.startswith(SWEEP_ID)]
        folder = Path(hydra.runtime.output_dir)
        job = self.session.job(number, self._name(overrides, folder), overrides, checked(cfg), folder)
        (outcome,) = self.session.run([job], one_of_many if self._todo.multirun else alone)
        return value(outcome)

    def jobs(
        self, overrides: Sequence[Sequence[str]], first: int, master: DictConfig, loader: ConfigLoader
    ) -> list[Job]:
        """Make the jobs that a sweeper asks a launcher for.

        Arguments:
            overrides: of each job.
            first: the number of the first job.
            master: the configuration of the sweep itself.
        """
        jobs, by_number = [], numbered(master)
        for number, lines in enumerate(overrides, first):
            own = [line for line in lines if not line.startswith(SWEEP_ID)]
            config, name = self._planned.get(tuple(own)), str(number)
            if config is None or not by_number:
                composed = loader.load_sweep_config(master, list(lines))
                config = config or checked(composed)
                name = folder_of(composed, number)
            folder = Path(str(master.hydra.sweep.dir), name).absolute()
            jobs.append(self.session.job(number, self._name(own, folder), own, config, folder))
        return jobs

    @property
    def tables(self) -> dict[str, str]:
        """See `tables_of`."""
        return tables_of(self._todo)

    def rungs(self, jobs: Sequence[Job]) -> Rungs:
        """Return the epochs at which jobs pause, by `sweep.halving`."""
        config = self._todo.jobs[0].config
        return Rungs(config.sweep.halving, config.select.metric, jobs)

    def launch(self, jobs: Sequence[Job], execute: Execute) -> list[JobReturn]:
        """Run jobs through the session, and return their results in Hydra's form."""
        outcomes = self.session.run(jobs, execute)
        return [
            JobReturn(
                overrides=list(outcome.job.overrides),
                working_dir=os.getcwd(),
                task_name="train",
                status=JobStatus.COMPLETED,
                _return_value=value(outcome),
            )
            for outcome in outcomes
        ]

    def _name(self, overrides: Sequence[str], folder: Path) -> str:
        """Return a short name for a job, from the keys that vary in its sweep: `wide dropout=0.5`."""
        if not self._todo.multirun:
            return folder.name
        values = dict(override.split("=", 1) for override in overrides if "=" in override)
        parts = [
            values[key] if key in GROUPS else f"{key.rpartition('.')[2]}={values[key]}"
            for key in self._todo.varying
            if key in values
        ]
        return " ".join(parts) or "run"


def alone(jobs: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
    """Train a run on its own; keep what was trained if it is interrupted."""
    return threads.run(jobs, 1, Rungs(None, "accuracy", jobs), cancelled, keep_partial=True)


def one_of_many(jobs: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
    """Train one job of a sweep, for a launcher that runs them one by one."""
    return threads.run(jobs, 1, Rungs(None, "accuracy", jobs), cancelled)


def tables_of(todo: Plan) -> dict[str, str]:
    """Return the SHA-256 of the files that a plan reads, by name, so that searches notice a changed file.

    A simulated table follows from its settings, so it has none.

    Raises:
        UserError: as `open_training`.
    """
    one_of_each = {job.config.data: job.config for job in todo.jobs}
    found: dict[str, set[str]] = {}
    for data, config in one_of_each.items():
        if isinstance(data, FileData):
            digests = open_training(data, config.split, dtype_of(config)).digests
            found.setdefault(data.name, set()).add(digests.table)
    return {name: " ".join(sorted(digests)) for name, digests in found.items()}


def task_of(function: object, launcher: str) -> Task:
    """Return the task that Hydra hands to a launcher of ours.

    Raises:
        UserError: it is the task of another program.
    """
    if not isinstance(function, Task):
        raise UserError(f"hydra/launcher={launcher} runs jobs of sweepgrad only")
    return function
