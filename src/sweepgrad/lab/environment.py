"""The environment in which a question of the lab is answered."""

from dataclasses import dataclass

EXPERIMENT = "sweepgrad-lab"
"""The MLflow experiment of answers, and of the runs that a question trains."""


@dataclass(frozen=True)
class Lab:
    """The environment of an experiment.

    Attributes:
        uri: of the MLflow store.
    """

    uri: str
