"""From which probability on a model answers "positive"."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section


class HalfThreshold(Section):
    """Positive from a probability of one half on."""

    rule: Literal["half"]


class AccuracyThreshold(Section):
    """Where most validation rows are right."""

    rule: Literal["accuracy"]


class F1Threshold(Section):
    """Where F1 on validation rows, the harmonic mean of precision and recall, is highest."""

    rule: Literal["f1"]


class PrevalenceThreshold(Section):
    """Where as large a share of the validation rows is taken for positive as is positive in training."""

    rule: Literal["prevalence"]


class CostThreshold(Section):
    """Where both mistakes are expected to cost the same; only the ratio of the costs moves it."""

    rule: Literal["cost"]
    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


ThresholdConfig = Annotated[
    HalfThreshold | AccuracyThreshold | F1Threshold | PrevalenceThreshold | CostThreshold,
    Field(discriminator="rule"),
]
