"""A limit on the work of resolving `${references}`.

Each reference may have many others in it, so thirty short lines can stand for a text of a billion letters.
OmegaConf resolves them without a limit and without a hook, so the method that resolves one is wrapped here.
Outside of `bounded`, it does what it did.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omegaconf.base import Container
from omegaconf.errors import InterpolationResolutionError

from sweepgrad.compose.limits import MAX_REFERENCES

_CHARACTERS = 50  # that cost as much as a reference


class TooManyReferences(InterpolationResolutionError):
    """The references of a configuration cost too much to resolve."""


_left: ContextVar[list[int] | None] = ContextVar("references left", default=None)
_resolve = Container.resolve_parse_tree


@contextmanager
def bounded() -> Iterator[None]:
    """Limit what is resolved in this context; contexts within have limits of their own.

    OmegaConf raises TooManyReferences, one of its own exceptions, when the limit is exceeded.
    """
    token = _left.set([MAX_REFERENCES])
    try:
        yield
    finally:
        _left.reset(token)


def _resolve_within_the_limit(self: Container, parse_tree: Any, node: Any, **settings: Any) -> Any:
    left = _left.get()
    if left is None:
        return _resolve(self, parse_tree, node, **settings)
    _spend(left, len(str(node._value())))
    result = _resolve(self, parse_tree, node, **settings)
    if isinstance(result, str):
        _spend(left, len(result))
    return result


def _spend(left: list[int], n_characters: int) -> None:
    left[0] -= 1 + n_characters // _CHARACTERS
    if left[0] < 0:
        raise TooManyReferences("too many ${references}, or references to references. Write values out")


Container.resolve_parse_tree = _resolve_within_the_limit  # type: ignore[method-assign,assignment]
