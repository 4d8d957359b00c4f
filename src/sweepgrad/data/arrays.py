"""Compute the features of training and validation rows into one array.

A large array is a memory-mapped file, so a machine with little memory can write parts of it to disk while it
works on others. The file has no name and disappears with its last user.
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
"""The size in bytes from which an array is a memory-mapped file."""


def feature_arrays(
    table: Table, parts: Parts, preprocessor: Preprocessor, dtype: DType, progress: ProgressLog
) -> tuple[Features, Features, tuple[str, ...]]:
    """Return features (n_train + n_val, D) and labels (n_train + n_val,) of all rows but the test rows.

    Training rows come first. Both arrays are read-only. The third value holds notices to the user.
    """
    start: dict[Part, int] = {"train": 0, "val": parts.size("train")}
    n = start["val"] + parts.size("val")
    X, notices = _empty((n, len(preprocessor.names)), dtype)
    y = np.empty(n, dtype=dtype)
    done = 0
    for block in table.columns.blocks(preprocessor.columns):
        block_parts = Parts(parts.codes[done : done + len(block)])
        labels = table.y[done : done + len(block)]
        for part in start:
            rows = block_parts.mask(part)
            first, stop = start[part], start[part] + int(np.count_nonzero(rows))
            preprocessor.transform(block[rows], out=X[first:stop])
            y[first:stop] = labels[rows]
            start[part] = stop
        done += len(block)
        progress.tell(f"computing features: {done / len(table):.0%} of the rows")
    X.flags.writeable = y.flags.writeable = False
    return X, y, notices


def _empty(shape: tuple[int, int], dtype: DType) -> tuple[Features, tuple[str, ...]]:
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    if size < LARGE:
        return _in_memory(shape, dtype), ()
    refused = []
    # The cache folder first: on many machines, the folder for temporary files is itself in memory.
    for folder in (cache_dir(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return np.ndarray(shape, dtype, _mapped(folder, size)), ()
        except OSError as error:
            refused.append(f"{folder} ({error.strerror})")
    # Results are the same; other jobs have less memory.
    notice = (
        f"keeping {size / 1e6:.0f} MB of features in memory: cannot create a file in {' or '.join(refused)}"
    )
    return _in_memory(shape, dtype), (notice,)


def _in_memory(shape: tuple[int, int], dtype: DType) -> Features:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise UserError(
            f"{shape[0]} rows of {shape[1]} features do not fit in memory: add columns to data.drop,"
            " first those with many levels, since each level becomes a feature"
        ) from None


def _mapped(folder: Path, size: int) -> mmap.mmap:
    """Map `size` bytes of a file without a name into memory.

    Raises:
        OSError: if the folder cannot be written to, or has too little space.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), size)
        return mmap.mmap(file.fileno(), size)


def _reserve(file: int, size: int) -> None:
    """Reserve disk space, so that a full disk is detected now and not while the array is filled."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        zeros = bytes(1 << 20)
        while size > 0:
            size -= os.write(file, zeros[:size])
