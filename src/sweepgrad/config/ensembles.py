"""Which averages of models are candidates."""

from typing import Annotated, Literal

from pydantic import Field

from sweepgrad.config.section import Section


class NoEnsemble(Section):
    kind: Literal["none"]


class SeedsEnsemble(Section):
    """For each configuration, all its seeds averaged."""

    kind: Literal["seeds"]


class BestEnsemble(Section):
    """The `size` best configurations by validation, with all their seeds, averaged."""

    kind: Literal["best"]
    size: Annotated[int, Field(ge=2)]


EnsembleConfig = Annotated[NoEnsemble | SeedsEnsemble | BestEnsemble, Field(discriminator="kind")]
