"""The settings of each learning rate schedule; `nn.schedules` computes it under the same name."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Fraction, Section
from sweepgrad.config.union import OneOf
from sweepgrad.extensions import Registry


class Schedule(Section):
    """What all have: a name."""

    name: str


class ConstantSchedule(Schedule):
    name: Literal["constant"]


class InverseRootSchedule(Schedule):
    name: Literal["inverse_root"]
    delay: Annotated[int, Field(ge=1)]


class StaircaseSchedule(Schedule):
    name: Literal["staircase"]
    every: Annotated[int, Field(ge=1)]
    factor: Fraction


class CosineSchedule(Schedule):
    name: Literal["cosine"]
    final: Annotated[float, Field(ge=0, lt=1)]


SCHEDULES: Registry[type[Schedule]] = Registry(
    "schedule",
    {
        "constant": ConstantSchedule,
        "inverse_root": InverseRootSchedule,
        "staircase": StaircaseSchedule,
        "cosine": CosineSchedule,
    },
)

ScheduleConfig = Annotated[Schedule, OneOf("name", SCHEDULES)]
