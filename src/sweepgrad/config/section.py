"""The base class of all sections of a configuration."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]  # MLflow registers models under it


class Section(BaseModel):
    """A section that rejects unknown keys, does not convert strings to numbers, and is immutable.

    Each field has a `description`: `sweepgrad train --help` and docs/reference/keys.md print it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
