"""What Hydra is given to run, and what our own launchers find behind it."""

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
from sweepgrad.sweep import threads
from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Job, Outcome, Running
from sweepgrad.sweep.session import Execute, Session, value
from sweepgrad.training.experiment import dtype_of

SWEEP_ID = "sweep.id="


class Task:
    """The jobs of a command line, as Hydra's launchers ask for them: one by one, or all at once."""

    def __init__(self, todo: Plan, session: Session) -> None:
        self._todo, self.session = todo, session
        self._planned = {job.overrides: job.config for job in todo.jobs}

    def __call__(self, cfg: DictConfig) -> float:
        """Run one job, which Hydra composed and made a folder for."""
        hydra = HydraConfig.get()
        number = hydra.job.num if self._todo.multirun else 0
        said = [line for line in hydra.overrides.task if not line.startswith(SWEEP_ID)]
        folder = Path(hydra.runtime.output_dir)
        job = self.session.job(number, self._name(said, folder), said, checked(cfg), folder)
        (outcome,) = self.session.run([job], one_of_many if self._todo.multirun else alone)
        return value(outcome)

    def jobs(
        self, overrides: Sequence[Sequence[str]], first: int, master: DictConfig, loader: ConfigLoader
    ) -> list[Job]:
        """The jobs that a sweeper asks a launcher for.

        Arguments:
            overrides: of each.
            first: the number of the first of them.
            master: the sweep's own configuration.
        """
        jobs, by_number = [], numbered(master)
        for number, lines in enumerate(overrides, first):
            said = [line for line in lines if not line.startswith(SWEEP_ID)]
            config, name = self._planned.get(tuple(said)), str(number)
            if config is None or not by_number:
                composed = loader.load_sweep_config(master, list(lines))
                config = config or checked(composed)
                name = folder_of(composed, number)
            folder = Path(str(master.hydra.sweep.dir), name).absolute()
            jobs.append(self.session.job(number, self._name(said, folder), said, config, folder))
        return jobs

    @property
    def tables(self) -> dict[str, str]:
        """See `tables_of`."""
        return tables_of(self._todo)

    def rungs(self, jobs: Sequence[Job]) -> Rungs:
        """Where jobs pause, as `sweep.halving` says."""
        config = self._todo.jobs[0].config
        return Rungs(config.sweep.halving, config.select.metric, jobs)

    def launch(self, jobs: Sequence[Job], execute: Execute) -> list[JobReturn]:
        """Run jobs by our own means, and give the sweeper what it expects of them."""
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
        """What tells a job from the others of its sweep, short enough for a column: `wide dropout=0.5`."""
        if not self._todo.multirun:
            return folder.name
        said = dict(override.split("=", 1) for override in overrides if "=" in override)
        words = [
            said[key] if key in GROUPS else f"{key.rpartition('.')[2]}={said[key]}"
            for key in self._todo.varying
            if key in said
        ]
        return " ".join(words) or "run"


def alone(jobs: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
    """Run a run on its own, which is kept as far as it came."""
    return threads.run(jobs, 1, Rungs(None, "accuracy", jobs), cancelled, keep_partial=True)


def one_of_many(jobs: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
    """Run one job of a sweep, for a launcher that asks for them one by one."""
    return threads.run(jobs, 1, Rungs(None, "accuracy", jobs), cancelled)


def tables_of(todo: Plan) -> dict[str, str]:
    """SHA-256 of the tables that a plan reads, by name, so that searches notice when a file is changed.

    The parts follow from these, from `split` and from the code; a simulated table from its settings.

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
    """The task that Hydra hands to a launcher of ours.

    Raises:
        UserError: it is another program's.
    """
    if not isinstance(function, Task):
        raise UserError(f"hydra/launcher={launcher} runs the jobs of `sweepgrad train` and no others")
    return function
