"""Where the features are: one array of the training rows and, after them, the validation rows.

A large one is a file that is mapped into memory, so a machine with little memory can write parts of it back
to disk while it works on others. The file has no name, and is gone with the last who uses it.
"""

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

from sweepgrad.data.preprocess.transforms import Features, Preprocessor
from sweepgrad.data.split import Part, Parts
from sweepgrad.data.table import Table
from sweepgrad.errors import UserError
from sweepgrad.messages import ProgressLog
from sweepgrad.paths import cache_dir

DType = type[np.float64] | type[np.float32]

LARGE = 256 * 2**20
"""Bytes from which on an array is mapped."""


def place(
    table: Table, parts: Parts, preprocessor: Preprocessor, dtype: DType, pace: ProgressLog
) -> tuple[Features, Features, tuple[str, ...]]:
    """Features (n_train + n_val, D) and labels (n_train + n_val,) of all rows but the test rows, read-only.

    The third value is what the user should be told of where they are.
    """
    start: dict[Part, int] = {"train": 0, "val": parts.size("train")}
    n = start["val"] + parts.size("val")
    X, notices = _empty((n, len(preprocessor.names)), dtype)
    y = np.empty(n, dtype=dtype)
    done = 0
    for block in table.columns.blocks(preprocessor.columns):
        of = Parts(parts.of[done : done + len(block)])
        labels = table.y[done : done + len(block)]
        for part in start:
            rows = of.mask(part)
            first, stop = start[part], start[part] + int(np.count_nonzero(rows))
            preprocessor.transform(block[rows], out=X[first:stop])
            y[first:stop] = labels[rows]
            start[part] = stop
        done += len(block)
        pace.tell(f"{done / len(table):.0%} of the rows made ready")
    X.flags.writeable = y.flags.writeable = False
    return X, y, notices


def _empty(shape: tuple[int, int], dtype: DType) -> tuple[Features, tuple[str, ...]]:
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    if size < LARGE:
        return _in_memory(shape, dtype), ()
    refused = []
    # The cache folder first: the one for temporary files is itself in memory on many machines.
    for folder in (cache_dir(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return np.ndarray(shape, dtype, _mapped(folder, size)), ()
        except OSError as error:
            refused.append(f"{folder} ({error.strerror})")
    # Jobs come out the same; there is only less room for others.
    notice = (
        f"the features, {size / 1e6:.0f} MB, are kept in memory: no file for them in {' or '.join(refused)}"
    )
    return _in_memory(shape, dtype), (notice,)


def _in_memory(shape: tuple[int, int], dtype: DType) -> Features:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise UserError(
            f"{shape[0]} rows of {shape[1]} features do not fit in memory: drop columns (data.drop), or those"
            " whose many levels each become a feature"
        ) from None


def _mapped(folder: Path, size: int) -> mmap.mmap:
    """`size` bytes of a file without a name.

    Raises:
        OSError: the folder cannot be written to, or has too little room.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), size)
        return mmap.mmap(file.fileno(), size)


def _reserve(file: int, size: int) -> None:
    """Give a file its size and its room: a full disk is found here, not as the array is filled."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        zeros = bytes(1 << 20)
        while size > 0:
            size -= os.write(file, zeros[:size])
