"""The settings of each learning rate schedule; `nn.schedules` computes it under the same name."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Fraction, Section
from sweepgrad.config.union import OneOf
from sweepgrad.extensions import Registry

_NAME = "Name of the schedule."


class Schedule(Section):
    """The settings that all schedules share."""

    name: str = Field(description=_NAME)


class ConstantSchedule(Schedule):
    """The learning rate does not change."""

    name: Literal["constant"] = Field(description=_NAME)


class InverseRootSchedule(Schedule):
    """The learning rate falls with the square root of the step."""

    name: Literal["inverse_root"] = Field(description=_NAME)
    delay: int = Field(ge=1, le=10**12, description="d in lr · √(d / (d + s)), after s steps.")


class StaircaseSchedule(Schedule):
    """The learning rate is multiplied by a factor at regular intervals."""

    name: Literal["staircase"] = Field(description=_NAME)
    every: int = Field(ge=1, description="Number of epochs between two changes.")
    factor: Fraction = Field(description="Factor that the learning rate is multiplied by.")


class CosineSchedule(Schedule):
    """The learning rate falls along half a cosine wave over all epochs."""

    name: Literal["cosine"] = Field(description=_NAME)
    final: float = Field(ge=0, lt=1, description="Learning rate at the end, as a share of lr.")


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
