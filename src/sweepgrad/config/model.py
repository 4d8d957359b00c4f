"""The settings of the network's architecture."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from sweepgrad.config.section import Section
from sweepgrad.extensions import Registry

# The names; `nn.activations` has the function of each.
ACTIVATIONS: Registry[None] = Registry("activation", dict.fromkeys(("relu", "tanh", "sigmoid")))

Width = Annotated[int, Field(ge=1, le=1_000_000)]


class Model(Section):
    """A multilayer perceptron; `hidden: []` is logistic regression."""

    hidden: tuple[Width, ...] = Field(
        max_length=100, description="Units of each hidden layer; [] is logistic regression."
    )
    activation: str | None = Field(description=f"{', '.join(ACTIVATIONS.known)}; null without hidden layers.")
    dropout: float = Field(
        ge=0, lt=1, description="Probability that a hidden unit is dropped during training."
    )
    scale: float = Field(gt=0, description="The predicted probability is sigmoid(scale * score).")

    @field_validator("activation", mode="before")
    @classmethod
    def _a_known_activation(cls, name: Any) -> Any:
        if name is not None and (not isinstance(name, str) or name not in ACTIVATIONS):
            raise ValueError(f"{name!r} should be one of {', '.join(ACTIVATIONS)}")
        return name

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "Model":
        if self.hidden and self.activation is None:
            raise ValueError(
                f"hidden layers need an activation. Set model.activation to one of {', '.join(ACTIVATIONS)}"
            )
        if not self.hidden and self.activation is not None:
            raise ValueError("without hidden layers the activation has no effect. Set model.activation=null")
        if not self.hidden and self.dropout > 0:
            raise ValueError("without hidden layers dropout has no effect. Set model.dropout=0")
        return self
