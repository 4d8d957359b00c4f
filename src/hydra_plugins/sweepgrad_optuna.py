"""Hydra's `hydra/sweeper=optuna`: a search of the overrides' space, all of which the basic sweeper tries.

Hydra imports this file whenever it starts, so it imports little; the search itself is in
`sweepgrad.sweep.search.journal`.
"""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    from sweepgrad.sweep.search.journal import Study, Trial
    from sweepgrad.sweep.search.space import Space

RESULTS = "optimization_results.json"  # in the sweep's folder


class Sampler(Enum):
    """How trials are suggested: by a tree-structured Parzen estimator, or blindly."""

    tpe = "tpe"
    random = "random"


class Direction(Enum):
    """Which values are better: small or large ones."""

    minimize = "minimize"
    maximize = "maximize"


@dataclass
class OptunaSweeperConf:
    """The keys of hydra.sweeper.

    Attributes:
        trials: how many there are to be in the end, failed ones and those of earlier runs among them.
        batch: how many jobs are launched at once. A suggestion learns from the batches before it only, so
            small batches search better and large ones keep more workers busy; 8 is below the 10 trials that
            the estimator draws blindly anyway, and about what one machine runs at once.
        seed: of the suggestions.
        study: the study's name. Without one it is derived from all that results depend on, so that the same
            command goes on with the same study.
        storage: the folder of the studies' files.
        direction: null is the metric's natural one: a loss is minimised, an accuracy maximised.
        params: the space, as far as an experiment says it; the command line wins.
    """

    _target_: str = "hydra_plugins.sweepgrad_optuna.OptunaSweeper"
    sampler: Sampler = Sampler.tpe
    trials: int = 50
    batch: int = 8
    seed: int = 0
    study: str | None = None
    storage: str = "runs/studies"
    direction: Direction | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="sweepgrad"
)


class OptunaSweeper(Sweeper):
    """Ask, launch, tell, until there are enough trials."""

    def __init__(self, **settings: object) -> None:
        """The settings are read where they stand in the configuration, by `search_of`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra, before `sweep`."""
        self.hydra_context, self.config, self.task = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search the space of the overrides `arguments`."""
        try:
            self._search(arguments)
        except UserError as error:
            raise CompactHydraException(str(error)) from None  # what Hydra prints without a traceback

    def _search(self, arguments: Sequence[str]) -> None:
        from sweepgrad.sweep.hydra_task import Task
        from sweepgrad.sweep.search.journal import open_study
        from sweepgrad.sweep.search.suggest import search_of

        assert self.hydra_context is not None
        assert self.config is not None
        tables = self.task.tables if isinstance(self.task, Task) else {}
        search = search_of(self.config, arguments, self.hydra_context.config_loader, tables)
        space = search.space
        with open_study(space, search.plan, search.folder, search.name, search.setting) as study:
            _say_start(study)
            batch = study.ask()
            launched = bool(batch)
            while batch:
                study.tell(batch, self._values(batch, [space.overrides(trial.point) for trial in batch]))
                batch = study.ask()
            for line in study.outcome:
                _say(line)
            if launched:
                self._write(space, study)

    def _values(self, batch: "Sequence[Trial]", overrides: Sequence[Sequence[str]]) -> list[float]:
        """What comes of trials, in order; NaN for those that fail or cannot be run."""
        assert self.launcher is not None
        values = []
        pairs = list(zip(batch, overrides, strict=True))
        # What can be run is launched in stretches, since a launcher numbers jobs without gaps.
        for runs, stretch in groupby(pairs, lambda pair: self._can_run(*pair)):
            trials, jobs = zip(*stretch, strict=True)
            if runs:
                returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
                values += [_value(job) for job in returns]
            else:
                values += [math.nan] * len(trials)
        return values

    def _can_run(self, trial: "Trial", overrides: Sequence[str]) -> bool:
        """Whether the values of a trial go together, which nobody could check before; says why if not."""
        from sweepgrad.compose.plan import checked
        from sweepgrad.config.check import ConfigErrors
        from sweepgrad.sweep.hydra_task import Task
        from sweepgrad.sweep.session import digest_of

        assert self.hydra_context is not None
        assert self.config is not None
        try:
            config = checked(self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides)))
            if isinstance(self.task, Task):
                digest_of(config)  # reads the table, which may have too few rows for a split
        except (ConfigErrors, HydraException, UserError) as error:
            why = " ".join(str(error).split())
            _say(f"trial {trial.number} cannot be run, so it failed: {shlex.join(trial.searched)}: {why}")
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
            "best_overrides": _but_the_sweep(space.overrides(best.point)) if best else None,
            "trials": trials,
        }
        write_json(folder / RESULTS, values)


def _say_start(study: "Study") -> None:
    done, trials, size = len(study.done()), study.plan.trials, study.space.size
    if study.complete:
        _say(study.complete)
    elif done:
        _say(f"goes on after {done} of {trials} trials in {study.path}")
    if size < trials:
        _say(
            f"the space has {size} points only, so some of {trials} trials come twice; without"
            " hydra/sweeper=optuna each is tried once"
        )


def _but_the_sweep(overrides: Sequence[str]) -> list[str]:
    """Overrides that make the same run again, in no sweep."""
    return [override for override in overrides if not override.lstrip("+").startswith(("sweep.", "select."))]


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _value(job: JobReturn) -> float:
    value: Any = job.return_value  # raises what the job raised, if it was no failed training
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"a job returned {value!r}, and a search wants a number: the value of select.metric.")
    return float(value)


def _say(text: str) -> None:
    print(f"search: {text}", file=sys.stderr)
