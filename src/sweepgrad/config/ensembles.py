"""The averages of models that are candidates for selection."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section

MOST_MEMBERS = 1000
"""Networks of an ensemble, in a file of a model too."""
_KIND = "Which averages are candidates."


class NoEnsemble(Section):
    """No averages."""

    kind: Literal["none"] = Field(description=_KIND)


class SeedsEnsemble(Section):
    """For each configuration, the average over its seeds."""

    kind: Literal["seeds"] = Field(description=_KIND)


class BestEnsemble(Section):
    """The average of the best configurations by validation, with all their seeds."""

    kind: Literal["best"] = Field(description=_KIND)
    size: int = Field(ge=2, le=MOST_MEMBERS, description="Number of configurations that are averaged.")


EnsembleConfig = Annotated[NoEnsemble | SeedsEnsemble | BestEnsemble, Field(discriminator="kind")]
