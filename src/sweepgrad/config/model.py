"""The network's architecture."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from sweepgrad.config.section import Section
from sweepgrad.extensions import Registry

# Their names; `nn.activations` has the function of each.
ACTIVATIONS: Registry[None] = Registry("activation", dict.fromkeys(("relu", "tanh", "sigmoid")))

Width = Annotated[int, Field(ge=1)]


class Model(Section):
    """A multilayer perceptron: widths of the hidden layers, and the output sigmoid(scale * score).

    `hidden: []` is logistic regression; then there is no activation (null) and nothing to drop out.
    """

    hidden: tuple[Width, ...]
    activation: str | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(gt=0)]

    @field_validator("activation", mode="before")
    @classmethod
    def _a_known_activation(cls, name: Any) -> Any:
        if name is not None and (not isinstance(name, str) or name not in ACTIVATIONS):
            raise ValueError(f"{name!r} should be one of {', '.join(ACTIVATIONS)}")
        return name

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "Model":
        if self.hidden and self.activation is None:
            raise ValueError(f"hidden layers need an activation: one of {', '.join(ACTIVATIONS)}")
        if not self.hidden and self.activation is not None:
            raise ValueError("without hidden layers an activation has no effect; say activation: null")
        if not self.hidden and self.dropout > 0:
            raise ValueError("without hidden layers dropout has no effect; say dropout: 0")
        return self
