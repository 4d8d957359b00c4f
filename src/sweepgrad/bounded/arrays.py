"""Read NumPy arrays from `.npy` and `.npz` files whose shapes are known beforehand.

NumPy's reader allocates what a header asks for, and unpacks whatever a zip file holds. Here a header must be
as NumPy writes it, its shape must be the expected one, and the bytes must be there before an array is made.
Members of an archive are stored without compression, as `numpy.savez` does, so that none is larger than the
file.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweepgrad.bounded import reading
from sweepgrad.errors import DamagedFile

Shape = tuple[int, ...]
Floats = NDArray[np.floating[Any]]

MOST_VALUES = 1 << 25
"""Weights of a model: 256 MB as float64."""
MOST_BYTES = 4 * 8 * MOST_VALUES + (1 << 20)
"""The largest file of a run, the state to continue from."""
_MOST_IN_STATE = 4 * MOST_VALUES  # an optimizer keeps up to three numbers for each weight

_MAGIC = re.compile(rb"\x93NUMPY(\x01\x00..|\x02\x00....)", re.DOTALL)
_HEADER = re.compile(
    rb"\{'descr': '([<>]f[48])', 'fortran_order': (True|False),"
    rb" 'shape': \(([0-9]{0,10}(?:, ?[0-9]{1,10}){0,4}),?\), \} *\n"
)
_LONGEST_HEADER = 1 << 10
_LOCAL_HEADER = 30  # bytes before the name of a member
_OF_A_MEMBER = 1 << 11  # bytes that an archive takes for each member, besides its numbers


def load(path: Path, shape: Sequence[int | None], *, finite: bool = True) -> Floats:
    """Return the array in a `.npy` file.

    Arguments:
        shape: the expected shape; None stands for any length.
        finite: refuse infinities and NaN.

    Raises:
        DamagedFile: it is not an array of this shape.
        OSError: it cannot be read.
    """
    return parse(reading.read(path, _bytes_of(_MOST_IN_STATE)), shape, finite=finite)


def load_all(path: Path, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
    """Return the arrays in a `.npz` file by name.

    Arguments:
        shapes: the expected shape of each; the file must hold these arrays and no others.

    Raises:
        DamagedFile: it holds anything but arrays of finite numbers of these names and shapes.
        OSError: it cannot be read.
    """
    values = sum(prod(shape) for shape in shapes.values())
    if values > MOST_VALUES:
        raise DamagedFile(f"{values} numbers, and at most {MOST_VALUES} are read")
    content = reading.read(path, _bytes_of(values) + _OF_A_MEMBER * (len(shapes) + 1))
    try:
        return dict(_members(content, shapes))
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError),
        *(EOFError, KeyError, IndexError, OverflowError, RuntimeError, NotImplementedError),
    ) as error:  # zipfile raises all of these about damaged archives
        raise DamagedFile(str(error) or type(error).__name__) from None


def check(weights: Sequence[Floats], shapes: Sequence[Shape]) -> None:
    """Check that arrays are as `load_all` expects them.

    Raises:
        DamagedFile: it would refuse them.
    """
    if (found := [each.shape for each in weights]) != list(shapes):
        raise DamagedFile(f"shapes {found} where {[*shapes]} are expected")
    if (values := sum(each.size for each in weights)) > MOST_VALUES:
        raise DamagedFile(f"{values} numbers, and at most {MOST_VALUES} are read")
    for number, each in enumerate(weights):
        if not np.isfinite(each).all():
            raise DamagedFile(f"w{number}: it holds a number that is not finite")


def parse(content: bytes | memoryview, shape: Sequence[int | None], *, finite: bool = True) -> Floats:
    """Return the array in the bytes of a `.npy` file; see `load`."""
    magic = _MAGIC.match(content)
    if magic is None:
        raise DamagedFile("not a NumPy array of format 1 or 2")
    start, length = magic.end(), int.from_bytes(magic.group(1)[2:], "little")
    header = _HEADER.fullmatch(bytes(content[start : start + min(length, _LONGEST_HEADER)]))
    if header is None or length > _LONGEST_HEADER:
        raise DamagedFile("its header is not that of an array of float32 or float64")
    dtype = np.dtype(header.group(1).decode())
    found = tuple(int(size) for size in header.group(3).decode().split(",") if size.strip())
    if len(found) != len(shape) or any(
        size not in (None, other) for size, other in zip(shape, found, strict=True)
    ):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise DamagedFile(f"its shape is {found}, not ({expected})")
    numbers = memoryview(content)[start + length :]  # without a copy
    if len(numbers) != prod(found) * dtype.itemsize:
        raise DamagedFile(
            f"it has {len(numbers)} bytes of numbers, and its header {prod(found)} numbers of {dtype}"
        )
    array: Floats = np.frombuffer(numbers, dtype).astype(dtype.newbyteorder("="))
    array = array.reshape(found[::-1]).T if header.group(2) == b"True" else array.reshape(found)
    if finite and not np.isfinite(array).all():
        raise DamagedFile("it holds a number that is not finite")
    return array


def _members(content: bytes, shapes: Mapping[str, Shape]) -> list[tuple[str, Floats]]:
    """Return the arrays of an archive; nothing is read before all its members are found to be as expected."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = archive.infolist()
        names = [member.orig_filename for member in members]
        if sorted(names) != sorted(f"{name}.npy" for name in shapes):
            some = ", ".join(repr(name[:40]) for name in names[:5])
            raise DamagedFile(
                f"{len(names)} members, such as {some}, where {len(shapes)} arrays are expected"
            )
        places = sorted((member.header_offset, member.compress_size) for member in members)
        if any(start + size > after for (start, size), (after, _) in pairwise(places)):
            raise DamagedFile("its members overlap")
        for member in members:
            most = _bytes_of(prod(shapes[member.orig_filename.removesuffix(".npy")]))
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                raise DamagedFile(f"{member.orig_filename} is compressed")
            if member.file_size > most:
                raise DamagedFile(
                    f"{member.orig_filename} has {member.file_size} bytes, and at most {most} are expected"
                )
        return [
            (name, _member(content, archive.getinfo(f"{name}.npy"), shape)) for name, shape in shapes.items()
        ]


def _member(content: bytes, member: zipfile.ZipInfo, shape: Shape) -> Floats:
    name = member.filename.removesuffix(".npy")
    try:
        return parse(_stored(content, member), shape)
    except DamagedFile as error:
        raise DamagedFile(f"{name}: {error}") from None


def _stored(content: bytes, member: zipfile.ZipInfo) -> memoryview:
    """Return the bytes of a member that is not compressed, without a copy, which `zipfile` would make.

    Raises:
        DamagedFile: they are not where the archive's directory says, or their checksum does not match.
    """
    magic, flags, n_name, n_more = struct.unpack_from("<4s2xH18xHH", content, member.header_offset)
    named = member.header_offset + _LOCAL_HEADER
    start = named + n_name + n_more
    found = memoryview(content)[start : start + member.file_size]
    name = content[named : named + n_name]
    if magic != b"PK\x03\x04" or name != member.orig_filename.encode() or flags & 1:
        raise DamagedFile("its header is damaged")
    if len(found) != member.file_size or zlib.crc32(found) != member.CRC:
        raise DamagedFile("its checksum does not match")
    return found


def _bytes_of(values: int) -> int:
    """Return the largest size of a file of so many numbers."""
    return 8 * values + _LONGEST_HEADER
