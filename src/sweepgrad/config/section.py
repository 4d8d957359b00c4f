"""The base class of all sections of a configuration."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def path_text(text: str) -> str:
    """Return the text of a path that the system can open, or say that there is no such file.

    Raises:
        ValueError: it has a null byte, or characters that cannot be encoded.
    """
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ValueError(f"{text[:200]!r} has characters that no path can have")
    return text


PathText = Annotated[str, AfterValidator(path_text)]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]  # MLflow registers models under it


class Section(BaseModel):
    """A section that rejects unknown keys, does not convert strings to numbers, and is immutable.

    Each field has a `description`: `sweepgrad train --help` and docs/reference/keys.md print it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
