"""Parquet files, read in blocks of rows."""

import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

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
            self._parquet = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=_BUFFER)
            schema = self._parquet.schema_arrow
            empty = schema.empty_table().to_pandas()
        except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
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
        except (ValueError, OSError) as error:
            raise self._unreadable(error) from None
        if self._version_now() != self._version:
            raise UserError(f"{self._path}: the file was changed while it was being read; try again")

    def _version_now(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_mtime_ns, status.st_size

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: cannot read the file as Parquet ({error})")
