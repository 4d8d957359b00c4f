"""The settings of each optimizer; `nn.optimizers` implements its step under the same name."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section
from sweepgrad.config.union import OneOf
from sweepgrad.extensions import Registry

_NAME = "Name of the optimizer."
_EPSILON = "Constant added to the denominator, for numerical stability."


class Optimizer(Section):
    """The settings that all optimizers share."""

    name: str = Field(description=_NAME)
    lr: float = Field(gt=0, description="Learning rate.")


class SGD(Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = Field(description=_NAME)


class Momentum(Optimizer):
    """Stochastic gradient descent with momentum."""

    name: Literal["momentum"] = Field(description=_NAME)
    momentum: float = Field(ge=0, lt=1, description="Momentum factor.")


class Adagrad(Optimizer):
    """Adagrad: step sizes that fall with the sum of past squared gradients."""

    name: Literal["adagrad"] = Field(description=_NAME)
    epsilon: float = Field(gt=0, description=_EPSILON)


class Adam(Optimizer):
    """Adam: step sizes from running means of the gradient and its square."""

    name: Literal["adam"] = Field(description=_NAME)
    beta1: float = Field(ge=0, lt=1, description="Decay rate of the running mean of gradients.")
    beta2: float = Field(ge=0, lt=1, description="Decay rate of the running mean of squared gradients.")
    epsilon: float = Field(gt=0, description=_EPSILON)


OPTIMIZERS: Registry[type[Optimizer]] = Registry(
    "optimizer", {"sgd": SGD, "momentum": Momentum, "adagrad": Adagrad, "adam": Adam}
)

OptimizerConfig = Annotated[Optimizer, OneOf("name", OPTIMIZERS)]
