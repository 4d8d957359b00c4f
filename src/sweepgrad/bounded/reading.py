"""Read text and JSON: size, depth and number of values are limited before anything is built from them."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EISDIR
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from sweepgrad.errors import DamagedFile

T = TypeVar("T")

_MORE = 1 << 16
_LISTED = 3  # errors of one file that are listed
_COUNTED = 1000  # errors; each becomes a dictionary when they are listed
_SHOWN, _SAID = 60, 300  # characters of a key and of a message


@dataclass(frozen=True)
class Limits:
    """The limits of a JSON file.

    Attributes:
        size: bytes.
        values: numbers, strings, lists and objects, counted generously.
        depth: nested lists and objects.
    """

    size: int
    values: int
    depth: int = 32


SMALL = Limits(size=1 << 16, values=1 << 10)
RESULTS = Limits(size=1 << 25, values=1 << 20)


def beginning(path: Path, most: int) -> bytes:
    """Return the first bytes of a file.

    Raises:
        DamagedFile: it is not a regular file: reading a pipe or a device may never end.
        OSError: it cannot be read.
    """
    with _regular(path) as file:
        return file.read(most)


def read(path: Path, most: int) -> bytes:
    """Return the content of a file.

    Arguments:
        most: the largest size, in bytes.

    Raises:
        DamagedFile: it is larger, or not a file: reading a pipe or a device may never end.
        OSError: it cannot be read.
    """
    with _regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise DamagedFile(f"{size} bytes, and at most {most} are read")
        content = file.read(size)  # not `most`: as much memory would be taken as is asked for
        while more := file.read(_MORE):  # it has grown meanwhile
            content += more
            if len(content) > most:
                raise DamagedFile(f"more than {most} bytes")
    return content


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise DamagedFile("not a regular file")
        yield file


def parse(content: bytes, limits: Limits) -> Any:
    """Return the value of a JSON text. No number in it is infinite or NaN, and no object has a key twice.

    Raises:
        DamagedFile: it is not JSON, or exceeds the limits.
    """
    check_size(content, limits)
    try:
        from_json(content, allow_inf_nan=False)  # refuses deep nesting, without recursion of Python's
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"not valid JSON: {error}") from None
    if (depth := depth_of(value, limits.depth)) > limits.depth:
        raise DamagedFile(f"nested {depth} levels deep or more, and at most {limits.depth} are read")
    return value


def load(path: Path, limits: Limits) -> Any:
    """Return the value of a JSON file; see `parse`.

    Raises:
        DamagedFile: it is not JSON, or exceeds the limits.
        OSError: it cannot be read.
    """
    return parse(read(path, limits.size), limits)


def check_size(content: bytes, limits: Limits) -> None:
    """Check the size of a JSON text, and how many values it can have, without parsing it.

    Raises:
        DamagedFile: it exceeds the limits.
    """
    if len(content) > limits.size:
        raise DamagedFile(f"{len(content)} bytes, and at most {limits.size} are read")
    if (values := count_of(content)) > limits.values:
        raise DamagedFile(f"up to {values} values, and at most {limits.values} are read")


def count_of(content: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text."""
    # Each value but the first follows one of these. Some may be within strings.
    return 1 + sum(map(content.count, (b",", b"[", b"{")))


def validated(adapter: TypeAdapter[T], content: bytes, limits: Limits) -> T:
    """Return what a JSON text describes, by its schema. No object in it has a key twice.

    Raises:
        DamagedFile: it does not match the schema, or exceeds the limits; the message names the keys.
    """
    check_size(content, limits)
    try:
        found = adapter.validate_json(content)
        json.loads(content.decode(), object_pairs_hook=_unique)  # pydantic takes the last of equal keys
        return found
    except (ValueError, RecursionError) as error:
        raise DamagedFile(described(error)) from None


def described(error: Exception) -> str:
    """Return the first errors of a file in one line, each with its key."""
    if not isinstance(error, ValidationError):
        return str(error)[: 2 * _SAID]
    if (n := error.error_count()) > _COUNTED:
        return f"{n} errors"
    details = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [
        ": ".join(
            filter(
                None,
                (
                    ".".join(str(key)[:_SHOWN] for key in each["loc"]),
                    each["msg"].removeprefix("Value error, ")[:_SAID],
                ),
            )
        )
        for each in details[:_LISTED]
    ]
    more = f"; and {len(details) - _LISTED} more" if len(details) > _LISTED else ""
    return "; ".join(lines) + more


def depth_of(value: Any, most: int) -> int:
    """Return how deeply lists and mappings are nested in a value, or `most` + 1 if it is deeper."""
    depth, layer = 0, [value]
    while layer := [each for each in layer if isinstance(each, (list, tuple, Mapping))]:
        depth += 1
        if depth > most:
            break
        layer = [inner for each in layer for inner in (each.values() if isinstance(each, Mapping) else each)]
    return depth


def plain(value: T, depth: int) -> T:
    """Return a value that came from JSON without a schema of its own, if it is within limits.

    Arguments:
        depth: how deeply lists and objects may be nested.

    Raises:
        ValueError: it is too deep, or holds a number that is not finite.
    """
    if depth_of(value, depth) > depth:
        raise ValueError(f"nested more than {depth} levels deep")
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple)):
            waiting.extend(each)
        elif isinstance(each, float) and not isfinite(each):
            raise ValueError(f"{each} is not a finite number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:_SHOWN]!r} is there more than once")
    return found


def _finite(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError(f"{text[:_SHOWN]} is not a finite number")
    return value
