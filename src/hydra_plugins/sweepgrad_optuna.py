"""`hydra/sweeper=optuna`: searches the space of the overrides; the basic sweeper tries every combination.

Hydra imports this file whenever it starts, so it imports little; `sweepgrad.sweeps.search.journal` implements
the search.
"""

import logging
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException, HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.sweeps.search.journal import Study, Trial
    from sweepgrad.sweeps.search.space import Space

log = logging.getLogger("sweepgrad.search")
RESULTS = "optimization_results.json"  # in the sweep's folder


class Sampler(Enum):
    """The method of suggestions: a tree-structured Parzen estimator, or random draws."""

    tpe = "tpe"
    random = "random"


class Direction(Enum):
    """The direction of better values."""

    minimize = "minimize"
    maximize = "maximize"


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass
class OptunaSweeperConf:
    """Search the space of the overrides with Optuna.

    A suggestion learns from earlier batches only: small batches search better, large ones keep more workers
    busy. The default is below the 10 trials that the estimator draws at random first.
    """

    _target_: str = "hydra_plugins.sweepgrad_optuna.OptunaSweeper"
    sampler: Sampler = field(
        default=Sampler.tpe,
        metadata=_help("tpe: tree-structured Parzen estimator; random: independent draws."),
    )
    trials: int = field(
        default=50, metadata=_help("Number of trials, including failed ones and those of earlier runs.")
    )
    batch: int = field(default=8, metadata=_help("Number of jobs that are launched at once."))
    seed: int = field(default=0, metadata=_help("Seed of the suggestions."))
    study: str | None = field(
        default=None,
        metadata=_help(
            "Name of the study; null derives it from all that the results depend on, so that it is resumed."
        ),
    )
    storage: str = field(default="runs/studies", metadata=_help("Folder of the studies' files."))
    direction: Direction | None = field(
        default=None, metadata=_help("minimize or maximize; null is the direction of select.metric.")
    )
    params: dict[str, str] | None = field(
        default=None, metadata=_help("The search space of an experiment; the command line overrides it.")
    )


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="sweepgrad"
)


class OptunaSweeper(Sweeper):
    """A sweeper that suggests, launches and records batches until there are enough trials."""

    def __init__(self, **settings: object) -> None:
        """Take the settings, which `search_of` reads from the configuration."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare the sweep; Hydra calls this before `sweep`."""
        self.hydra_context, self.config, self.task = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search the space of the overrides `arguments`."""
        try:
            self._search(arguments)
        except UserError as error:
            raise CompactHydraException(str(error)) from None  # Hydra prints it without a traceback

    def _search(self, arguments: Sequence[str]) -> None:
        from sweepgrad.sweeps.hydra_task import Task
        from sweepgrad.sweeps.search.journal import open_study
        from sweepgrad.sweeps.search.suggest import search_of

        assert self.hydra_context is not None
        assert self.config is not None
        tables = self.task.tables if isinstance(self.task, Task) else {}
        search = search_of(self.config, arguments, self.hydra_context.config_loader, tables)
        space = search.space
        with open_study(space, search.plan, search.folder, search.name, search.setting) as study:
            _log_start(study)
            batch = study.ask()
            launched = bool(batch)
            while batch:
                study.tell(batch, self._values(batch, [space.overrides(trial.point) for trial in batch]))
                batch = study.ask()
            for line in study.outcome:
                log.info("search: %s", line)
            if launched:
                self._write(space, study)

    def _values(self, batch: "Sequence[Trial]", overrides: Sequence[Sequence[str]]) -> list[float]:
        """Return the values of trials, in order; NaN for those that fail or cannot be run."""
        assert self.launcher is not None
        values = []
        pairs = list(zip(batch, overrides, strict=True))
        # A launcher numbers jobs without gaps, so consecutive trials that can be run are launched together.
        for runnable, group in groupby(pairs, lambda pair: self._can_run(*pair)):
            trials, jobs = zip(*group, strict=True)
            if runnable:
                returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
                values += [_value(job) for job in returns]
            else:
                values += [math.nan] * len(trials)
        return values

    def _can_run(self, trial: "Trial", overrides: Sequence[str]) -> bool:
        """Return whether the configuration of a trial is valid; print the reason if not."""
        from sweepgrad.compose.boundary import message
        from sweepgrad.compose.plan import checked
        from sweepgrad.config.check import ConfigErrors
        from sweepgrad.sweeps.hydra_task import Task
        from sweepgrad.sweeps.session import digest_of

        assert self.hydra_context is not None
        assert self.config is not None
        try:
            config = checked(self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides)))
            if isinstance(self.task, Task):
                digest_of(config)  # reads the table, which may be too small for the split
        except (ConfigErrors, HydraException, UserError) as error:
            said = message(error) if isinstance(error, HydraException) else str(error)
            why = " ".join(said.split())
            searched = shlex.join(trial.searched)
            log.warning(f"search: trial {trial.number} failed because it cannot be run: {searched}: {why}")
            return False
        return True

    def _write(self, space: "Space", study: "Study") -> None:
        from sweepgrad.files import write_json

        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")  # as Hydra's own sweeper does
        best = study.best()
        trials = [
            {"number": trial.number, "overrides": trial.searched, "value": _finite(trial.value)}
            for trial in study.done()
        ]
        values = {
            "name": study.path.stem,
            "best_value": _finite(best.value) if best else None,
            "best_overrides": _without_sweep(space.overrides(best.point)) if best else None,
            "trials": trials,
        }
        write_json(folder / RESULTS, values)


def _log_start(study: "Study") -> None:
    done, trials, size = len(study.done()), study.plan.trials, study.space.size
    if study.complete:
        log.info("search: %s", study.complete)
    elif done:
        log.info(f"search: continuing after {done} of {trials} trials in {study.path}")
    if size < trials:
        log.info(
            f"search: the space has only {size} points, so some of the {trials} trials are repeated; without"
            " hydra/sweeper=optuna each point is tried once"
        )


def _without_sweep(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that train the same run outside a sweep."""
    return [override for override in overrides if not override.lstrip("+").startswith(("sweep.", "select."))]


def _finite(value: float | None) -> float | None:
    """Return a finite value, or None: JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _value(job: JobReturn) -> float:
    value: Any = job.return_value  # raises the job's error, unless training failed
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"a job returned {value!r}, but a search needs a number: the value of select.metric")
    return float(value)
