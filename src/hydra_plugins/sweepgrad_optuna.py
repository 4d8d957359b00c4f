"""Hydra's `hydra/sweeper=optuna`: a search of the overrides' space, all of which the basic sweeper tries.

Hydra imports this file whenever it starts, so it imports little; the search itself is in `sweepgrad.study`.
"""

import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.search import Plan
    from sweepgrad.space import Space
    from sweepgrad.study import Done, Study

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
        direction: null is the metric's natural one: nll is minimised, accuracy and roc_auc are maximised.
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

    def __init__(
        self,
        sampler: Sampler,
        trials: int,
        batch: int,
        seed: int,
        study: str | None,
        storage: str,
        direction: Direction | None,
        params: dict[str, str] | None,
    ) -> None:
        self.sampler, self.trials, self.batch, self.seed = sampler, trials, batch, seed
        self.study, self.storage, self.direction, self.params = study, Path(storage), direction, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra, before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
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
        from sweepgrad.space import digest, parse, setting
        from sweepgrad.study import open_study

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader = self.hydra_context.config_loader
        space = parse(self.params, arguments, loader)
        plan = self._plan(space)
        said = setting(space, self.config, loader)
        about = {"sampler": plan.sampler, "direction": plan.direction, "seed": str(plan.seed)}
        name = self.study or f"search-{digest({**said, **about, 'batch': str(plan.batch)})}"
        if not re.fullmatch(r"[\w-][\w.-]*", name):
            raise UserError(
                f"hydra.sweeper.study: {name!r} names a file: letters, digits, _, - and . will do."
            )
        with open_study(space, plan, self.storage, name, said) as study:
            self._say_start(space, study)
            batch = study.ask()
            launched = bool(batch)
            while batch:
                jobs = [space.overrides(trial.point) for trial in batch]
                returns = self.launcher.launch(jobs, initial_job_idx=batch[0].number)
                study.tell(batch, [_value(job) for job in returns])
                batch = study.ask()
            self._say_end(space, study)
            if launched:
                self._write(space, study)

    def _plan(self, space: "Space") -> "Plan":
        from sweepgrad.search import Plan, natural_direction

        if "sweep.metric" in (key.lstrip("+") for key in space.dimensions):
            raise UserError("sweep.metric: a search wants one metric; values of several do not compare.")
        assert self.config is not None
        metric = OmegaConf.select(self.config, "sweep.metric")
        direction = self.direction.value if self.direction else natural_direction(metric)
        return Plan(self.sampler.value, direction, self.seed, self.trials, self.batch)

    def _say_start(self, space: "Space", study: "Study") -> None:
        done = len(study.done())
        if done >= self.trials:
            _say(
                f"{study.path} is complete with {done} trials, nothing is run. More: hydra.sweeper.trials=N;"
                " to begin anew: hydra.sweeper.study=NAME, or delete that file"
            )
        elif done:
            _say(f"goes on after {done} of {self.trials} trials in {study.path}")
        if space.size < self.trials:
            _say(
                f"the space has {space.size} points only, so some of {self.trials} trials come twice; without"
                " hydra/sweeper=optuna each is tried once"
            )

    def _say_end(self, space: "Space", study: "Study") -> None:
        best, done = study.best(), study.done()
        failed = sum(trial.value is None for trial in done)
        if best is None:
            _say(f"all {failed} trials failed, kept in {study.path}")
            return
        _say(f"best {best.value:.6g}, trial {best.number}: {shlex.join(_searched(best))}")
        _say(f"{len(done) - failed} trials finished, {failed} failed, kept in {study.path}")

    def _write(self, space: "Space", study: "Study") -> None:
        from sweepgrad.record import write_json

        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")  # as Hydra's own sweeper does
        best = study.best()
        trials = [
            {"number": trial.number, "overrides": _searched(trial), "value": _finite(trial.value)}
            for trial in study.done()
        ]
        values = {
            "name": study.path.stem,
            "best_value": _finite(best.value) if best else None,
            "best_overrides": _but_the_sweep(space.overrides(best.point)) if best else None,
            "trials": trials,
        }
        write_json(folder / RESULTS, values)


def _searched(trial: "Done") -> list[str]:
    return [f"{key}={value}" for key, value in trial.point.items()]


def _but_the_sweep(overrides: Sequence[str]) -> list[str]:
    """Overrides that make the same run again, in no sweep."""
    return [override for override in overrides if not override.lstrip("+").startswith("sweep.")]


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _value(job: JobReturn) -> float:
    value: Any = job.return_value  # raises what the job raised, if it was no failed training
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"a job returned {value!r}, and a search wants a number: the value of sweep.metric.")
    return float(value)


def _say(text: str) -> None:
    print(f"search: {text}", file=sys.stderr)
