"""Parquet files, read in blocks of rows."""

import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweepgrad.data.io.columns import Columns, refuse_another_file, rows_of_a_block
from sweepgrad.errors import UserError

# Nullable types: otherwise a column of integers would become float in blocks with missing values.
_NULLABLE: dict[pa.DataType, pd.api.extensions.ExtensionDtype] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}
_BUFFER = 1 << 17
_LARGEST_HEADER = 1 << 26  # bytes, and numbers of entries
_MOST_COLUMNS, _MOST_ROWS = 100_000, 1 << 32
_LARGEST_EXPANSION = 1 << 14  # bytes that a byte of the file may become, on average

# pyarrow's errors are of its own class, most of them also ValueErrors or OSErrors; making a frame of damaged
# pandas metadata raises the others.
_ERRORS = (pa.lib.ArrowException, ValueError, OSError, KeyError, TypeError, AttributeError, OverflowError)


def _check_header(header: Any, size: int) -> None:
    """Check the numbers in the header of a file, before anything is allocated for them.

    Raises:
        ValueError: they are too large, or contradict one another or the file's size.
    """
    groups = [header.row_group(number) for number in range(header.num_row_groups)]
    if header.num_columns > _MOST_COLUMNS:
        raise ValueError(f"{header.num_columns} columns, and at most {_MOST_COLUMNS} are read")
    if any(group.num_rows < 0 for group in groups) or header.num_rows != sum(g.num_rows for g in groups):
        raise ValueError(f"the header counts {header.num_rows} rows, and its row groups others")
    if header.num_rows > _MOST_ROWS:
        raise ValueError(f"{header.num_rows} rows, and at most {_MOST_ROWS} are read")
    n_bytes = sum(group.total_byte_size for group in groups)
    if n_bytes > max(_LARGEST_HEADER, size * _LARGEST_EXPANSION):
        raise ValueError(f"{size} bytes that would become {n_bytes}")


class ParquetColumns(Columns):
    """The columns of a Parquet file, which stays open.

    The digest is of the bytes that the columns come from: both are read from one open file. Replacing the
    file by another of the same name does not matter, and its size and modification time are checked after
    each reading.
    """

    def __init__(self, path: Path, sha256: str | None) -> None:
        self._path, self._file = path, FileIO(path)
        weakref.finalize(self, self._file.close)
        self._version = self._version_now()
        self.digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        refuse_another_file(path, self.digest, sha256)
        try:
            self._parquet = pq.ParquetFile(
                self._file,
                pre_buffer=False,
                buffer_size=_BUFFER,
                thrift_string_size_limit=_LARGEST_HEADER,
                thrift_container_size_limit=_LARGEST_HEADER,
            )
            _check_header(self._parquet.metadata, self._version[1])
            schema = self._parquet.schema_arrow
            empty = schema.empty_table().to_pandas()
        except _ERRORS as error:
            raise self._unreadable(error) from None
        # A frame's index is stored as columns, which the pandas metadata name.
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        levels = [level for level in index if isinstance(level, str)]
        if not isinstance(empty.index, pd.RangeIndex):
            empty = empty.reset_index()
        fields = [*levels, *(name for name in schema.names if name not in levels)]
        self.names, self.n_rows = empty.columns.tolist(), self._parquet.metadata.num_rows
        self._fields = dict(zip(self.names, fields, strict=True))

    def blocks(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        fields = [self._fields[name] for name in names]
        batches = self._parquet.iter_batches(
            batch_size=rows_of_a_block(len(names)), columns=fields, use_threads=False
        )
        try:
            for batch in batches:
                frame = pa.Table.from_batches([batch.select(fields)]).replace_schema_metadata(None)
                yield frame.to_pandas(types_mapper=_NULLABLE.get, use_threads=False).set_axis(
                    list(names), axis=1
                )
        except _ERRORS as error:
            raise self._unreadable(error) from None
        if self._version_now() != self._version:
            raise UserError(f"{self._path}: the file was changed while it was being read; try again")

    def _version_now(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_mtime_ns, status.st_size

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: cannot read the file as Parquet ({error})")
