"""The settings of each optimizer; `nn.optimizers` has its step under the same name."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section
from sweepgrad.config.union import OneOf
from sweepgrad.extensions import Registry


class Optimizer(Section):
    """What all have: a name and a learning rate."""

    name: str
    lr: Annotated[float, Field(gt=0)]


class SGD(Optimizer):
    name: Literal["sgd"]


class Momentum(Optimizer):
    name: Literal["momentum"]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Adagrad(Optimizer):
    name: Literal["adagrad"]
    epsilon: Annotated[float, Field(gt=0)]


class Adam(Optimizer):
    name: Literal["adam"]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(gt=0)]


OPTIMIZERS: Registry[type[Optimizer]] = Registry(
    "optimizer", {"sgd": SGD, "momentum": Momentum, "adagrad": Adagrad, "adam": Adam}
)

OptimizerConfig = Annotated[Optimizer, OneOf("name", OPTIMIZERS)]
