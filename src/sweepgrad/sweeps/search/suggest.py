"""Suggest the next trials with Optuna, as a function of the space, the seed and earlier results.

Each batch has a new sampler with a seed of its own, on an in-memory study with the results of earlier
batches. So suggestions do not depend on where a search was interrupted, nor on the number of trials.
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
from sweepgrad.sweeps.search.space import Choices, Dimension, Interval, Space, Steps, digest, parse, setting

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Plan:
    """The settings of a search.

    Attributes:
        trials: the total number of trials, including those of earlier runs of the same study.
        batch: the number of trials suggested at once, from the results of earlier batches.
    """

    sampler: Literal["tpe", "random"]
    direction: Direction
    seed: int
    trials: int
    batch: int

    def __post_init__(self) -> None:
        for name in ("trials", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"hydra.sweeper.{name}: must be at least 1, but is {getattr(self, name)}.")


@dataclass(frozen=True)
class Search:
    """The search of a command line, and its study.

    Attributes:
        folder: the folder of study files.
        name: the name of the study.
        setting: everything else that results depend on, by key.
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
    """Return the search of a command line: the same for the same command, unless sweep.resume is false.

    Arguments:
        config: the configuration of the whole sweep, composed by Hydra.
        arguments: the overrides of the command line, without Hydra's own.
        tables: an identifier of the contents of each table, by name.

    Raises:
        UserError: the search is invalid, or it should start from scratch but the named study exists.
    """
    sweeper = config.hydra.sweeper
    space = parse(sweeper.params or {}, arguments, loader)
    if "select.metric" in (key.lstrip("+") for key in space.dimensions):
        raise UserError(
            "select.metric: cannot be searched, since values of different metrics do not compare."
        )
    direction = (
        sweeper.direction.name
        if sweeper.direction
        else natural_direction(OmegaConf.select(config, "select.metric"))
    )
    plan = Plan(sweeper.sampler.name, direction, sweeper.seed, sweeper.trials, sweeper.batch)
    values = setting(space, config, loader, tables)
    about = {key: str(getattr(plan, key)) for key in ("sampler", "direction", "seed", "batch")}
    name = sweeper.study or f"search-{digest({**values, **about})}"
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(
            f"hydra.sweeper.study: {name!r} is not a valid file name; use letters, digits, _, - and '.'."
        )
    from_scratch = OmegaConf.select(config, "sweep.resume") is False
    if from_scratch and not sweeper.study:
        name += f"-{uuid.uuid4().hex[:6]}"
    search = Search(space, plan, Path(sweeper.storage), name, values)
    if from_scratch and search.path.exists():
        raise UserError(
            f"hydra.sweeper.study: {search.path} exists, but sweep.resume=false starts a new study. Choose"
            " another name (hydra.sweeper.study=NAME) or none, or omit sweep.resume=false to resume it."
        )
    return search


def natural_direction(metric: object) -> Direction:
    """Return the direction in which a metric is better.

    Raises:
        UserError: the metric is unknown.
    """
    if str(metric) not in METRICS:
        raise UserError(
            f"select.metric: unknown metric {metric}. Choose one of {', '.join(METRICS)}, or set"
            " hydra.sweeper.direction."
        )
    return "maximize" if METRICS[str(metric)].sign == 1 else "minimize"


def suggest(
    space: Space, plan: Plan, batch: int, earlier: Sequence[FrozenTrial]
) -> list[dict[str, float | int | str]]:
    """Return the trials of a batch, in Optuna's own values; the same for the same arguments.

    Arguments:
        batch: its number, from 0.
        earlier: the finished trials of all earlier batches.
    """
    memory = optuna.create_study(direction=plan.direction, sampler=_sampler(plan, batch))
    memory.add_trials(earlier)
    fixed = distributions(space)
    return [memory.ask(fixed).params for _ in range(plan.batch)]


def _sampler(plan: Plan, batch: int) -> BaseSampler:
    seed = rng.key(plan.seed, "search", batch) & 0xFFFFFFFF  # NumPy's RandomState takes 32 bits
    if plan.sampler == "random":
        return RandomSampler(seed=seed)
    # The constant liar treats running trials as bad ones, so that those of a batch spread out.
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the dimensions of a space as Optuna's distributions."""
    return {key: _distribution(dimension) for key, dimension in space.dimensions.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case Choices(values):
            return CategoricalDistribution(values)
        case Steps(range() as values):
            return IntDistribution(values[0], values[-1], step=values.step)
        case Steps(values):  # by index: Optuna's steps of floats would differ from Hydra's by rounding
            return IntDistribution(0, len(values) - 1)
        case Interval(int() as low, int() as high, log):
            return IntDistribution(low, high, log=log)
        case Interval(low, high, log):
            return FloatDistribution(low, high, log=log)


def text(dimension: Dimension, value: Any) -> str:
    """Return a value of Optuna's as text that Hydra reads."""
    if isinstance(dimension, Steps) and isinstance(dimension.values, tuple):
        return repr(dimension.values[value])
    return value if isinstance(value, str) else repr(value)
