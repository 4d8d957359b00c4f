"""What every section of a configuration is made of, and those that come in kinds: optimizers, schedules."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Unknown keys fail, strings are not numbers, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SGD(Section):
    name: Literal["sgd"]
    lr: Annotated[float, Field(gt=0)]


class Momentum(Section):
    name: Literal["momentum"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Adagrad(Section):
    name: Literal["adagrad"]
    lr: Annotated[float, Field(gt=0)]
    epsilon: Annotated[float, Field(gt=0)]


class Adam(Section):
    name: Literal["adam"]
    lr: Annotated[float, Field(gt=0)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(gt=0)]


class ConstantSchedule(Section):
    name: Literal["constant"]


class InverseRootSchedule(Section):
    name: Literal["inverse_root"]
    delay: Annotated[int, Field(ge=1)]


class StaircaseSchedule(Section):
    name: Literal["staircase"]
    every: Annotated[int, Field(ge=1)]
    factor: Fraction


class CosineSchedule(Section):
    name: Literal["cosine"]
    final: Annotated[float, Field(ge=0, lt=1)]


OptimizerConfig = Annotated[SGD | Momentum | Adagrad | Adam, Field(discriminator="name")]
ScheduleConfig = Annotated[
    ConstantSchedule | InverseRootSchedule | StaircaseSchedule | CosineSchedule, Field(discriminator="name")
]
