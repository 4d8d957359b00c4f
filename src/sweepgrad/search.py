"""What a search tries next: a function of the space, the seed and the results of earlier batches, by Optuna.

The sampler is made anew for each batch, from a seed of its own, in a study in memory that holds just those
results. So it does not matter where a search was interrupted, nor how many trials it is to have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from sweepgrad import rng
from sweepgrad.errors import UserError
from sweepgrad.space import Choices, Dimension, Interval, Space, Steps

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


def natural_direction(metric: object) -> Direction:
    """Which way a metric is better.

    Raises:
        UserError: it is none that a job reports.
    """
    if metric == "nll":
        return "minimize"
    if metric in ("accuracy", "roc_auc"):
        return "maximize"
    raise UserError(
        f"sweep.metric: {metric} is none of accuracy, nll, roc_auc; give one of them,"
        " or hydra.sweeper.direction."
    )


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
