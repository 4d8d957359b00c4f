"""The rules that choose the decision threshold of the chosen model."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section

_RULE = "Rule that chooses the decision threshold."


class HalfThreshold(Section):
    """A threshold of 0.5."""

    rule: Literal["half"] = Field(description=_RULE)


class AccuracyThreshold(Section):
    """The threshold with the highest accuracy on the validation set."""

    rule: Literal["accuracy"] = Field(description=_RULE)


class F1Threshold(Section):
    """The threshold with the highest F1 score on the validation set."""

    rule: Literal["f1"] = Field(description=_RULE)


class PrevalenceThreshold(Section):
    """The threshold at which as many validation rows are predicted positive as training rows are positive."""

    rule: Literal["prevalence"] = Field(description=_RULE)


class CostThreshold(Section):
    """The threshold with the lowest expected cost; only the ratio of the two costs matters."""

    rule: Literal["cost"] = Field(description=_RULE)
    false_positive: float = Field(gt=0, description="Cost of a false positive.")
    false_negative: float = Field(gt=0, description="Cost of a false negative.")


ThresholdConfig = Annotated[
    HalfThreshold | AccuracyThreshold | F1Threshold | PrevalenceThreshold | CostThreshold,
    Field(discriminator="rule"),
]
