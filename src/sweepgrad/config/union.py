"""Sections of several kinds; the value of one key, the tag, selects the kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from sweepgrad.extensions import Registry


@dataclass(frozen=True)
class OneOf:
    """Validate a field by the settings class that its tag names in a registry.

    A model that was built before an entry was added must be rebuilt; `config.check` does so.
    """

    tag: str
    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds: Any = Union[tuple(self.registry.known.values())]  # noqa: UP007 - the kinds are a tuple
        return handler.generate_schema(Annotated[kinds, Field(discriminator=self.tag)])


def kinds_of(field: FieldInfo) -> tuple[str, Mapping[str, type[BaseModel]]] | None:
    """Return the tag of a field and the class of each kind by its name, or None for a field without kinds."""
    for marker in field.metadata:
        if isinstance(marker, OneOf):
            return marker.tag, marker.registry
    if not isinstance(field.discriminator, str):
        return None
    kinds = {}
    for kind in get_args(field.annotation):
        (name,) = get_args(kind.model_fields[field.discriminator].annotation)
        kinds[name] = kind
    return field.discriminator, kinds
