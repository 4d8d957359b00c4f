"""What a search tries next: a function of the space, the seed and the results of earlier batches, by Optuna.

The sampler is made anew for each batch, from a seed of its own, in a study in memory that holds just those
results. So it does not matter where a search was interrupted, nor how many trials it is to have.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from sweepgrad import rng
from sweepgrad.compose.internals import ConfigLoader
from sweepgrad.errors import UserError
from sweepgrad.stats.metrics import METRICS
from sweepgrad.sweep.search.space import Choices, Dimension, Interval, Space, Steps, digest, parse, setting

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Plan:
    """How to search.

    Attributes:
        trials: how many there are to be in the end, with those of earlier runs of the same study.
        batch: how many are suggested at once, knowing only the results of the batches before.
    """

    sampler: Literal["tpe", "random"]
    direction: Direction
    seed: int
    trials: int
    batch: int

    def __post_init__(self) -> None:
        for name in ("trials", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"hydra.sweeper.{name}: must be at least 1, is {getattr(self, name)}.")


@dataclass(frozen=True)
class Search:
    """What a command line searches, and the study that keeps it.

    Attributes:
        folder: of the studies' files.
        name: of the study.
        setting: all that results depend on besides `plan`, by key.
    """

    space: Space
    plan: Plan
    folder: Path
    name: str
    setting: dict[str, str]

    @property
    def path(self) -> Path:
        """The study's file."""
        return self.folder / f"{self.name}.log"


def search_of(
    config: DictConfig, arguments: Sequence[str], loader: ConfigLoader, tables: Mapping[str, str]
) -> Search:
    """The search that a command line asks for: the same for the same command, unless it begins anew.

    Arguments:
        config: as Hydra composed it for the whole sweep.
        arguments: the overrides of the command line, without Hydra's own.
        tables: what tells the contents of each table, by name.

    Raises:
        UserError: it makes no sense; or it is to begin anew by the name of a study that there is.
    """
    asked = config.hydra.sweeper
    space = parse(asked.params or {}, arguments, loader)
    if "select.metric" in (key.lstrip("+") for key in space.dimensions):
        raise UserError("select.metric: a search wants one metric; values of several do not compare.")
    direction = (
        asked.direction.name
        if asked.direction
        else natural_direction(OmegaConf.select(config, "select.metric"))
    )
    plan = Plan(asked.sampler.name, direction, asked.seed, asked.trials, asked.batch)
    said = setting(space, config, loader, tables)
    about = {key: str(getattr(plan, key)) for key in ("sampler", "direction", "seed", "batch")}
    name = asked.study or f"search-{digest({**said, **about})}"
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(f"hydra.sweeper.study: {name!r} names a file: letters, digits, _, - and . will do.")
    anew = OmegaConf.select(config, "sweep.resume") is False
    if anew and not asked.study:
        name += f"-{uuid.uuid4().hex[:6]}"
    search = Search(space, plan, Path(asked.storage), name, said)
    if anew and search.path.exists():
        raise UserError(
            f"sweep.resume=false begins a new study, and {search.path} is there already: give another name"
            " (hydra.sweeper.study=NAME), or none, or leave out sweep.resume=false to go on with it."
        )
    return search


def natural_direction(metric: object) -> Direction:
    """Which way a metric is better.

    Raises:
        UserError: it is none that a job reports.
    """
    if str(metric) not in METRICS:
        raise UserError(
            f"select.metric: {metric} is none of {', '.join(METRICS)}; give one of them, or"
            " hydra.sweeper.direction."
        )
    return "maximize" if METRICS[str(metric)].sign == 1 else "minimize"


def suggest(
    space: Space, plan: Plan, batch: int, earlier: Sequence[FrozenTrial]
) -> list[dict[str, float | int | str]]:
    """The trials of a batch, in Optuna's own values; the same for the same arguments.

    Arguments:
        batch: its number, from 0.
        earlier: the finished trials of all batches before.
    """
    memory = optuna.create_study(direction=plan.direction, sampler=_sampler(plan, batch))
    memory.add_trials(earlier)
    asked = distributions(space)
    return [memory.ask(asked).params for _ in range(plan.batch)]


def _sampler(plan: Plan, batch: int) -> BaseSampler:
    seed = rng.key(plan.seed, "search", batch) & 0xFFFFFFFF  # NumPy's RandomState takes 32 bits
    if plan.sampler == "random":
        return RandomSampler(seed=seed)
    # The liar takes trials under way for bad ones, so those of a batch do not crowd at one place.
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's words."""
    return {key: _distribution(dimension) for key, dimension in space.dimensions.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case Choices(values):
            return CategoricalDistribution(values)
        case Steps(range() as values):
            return IntDistribution(values[0], values[-1], step=values.step)
        case Steps(values):  # by place: Optuna's own steps of floats would miss Hydra's numbers by a rounding
            return IntDistribution(0, len(values) - 1)
        case Interval(int() as low, int() as high, log):
            return IntDistribution(low, high, log=log)
        case Interval(low, high, log):
            return FloatDistribution(low, high, log=log)


def text(dimension: Dimension, value: Any) -> str:
    """A value of Optuna's as Hydra reads it."""
    if isinstance(dimension, Steps) and isinstance(dimension.values, tuple):
        return repr(dimension.values[value])
    return value if isinstance(value, str) else repr(value)
