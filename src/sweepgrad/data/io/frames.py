"""Write DataFrames to Parquet files, from which they are read like any other table."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweepgrad.errors import UserError
from sweepgrad.files import naming

_UNUSABLE = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_duration)


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write a frame, without its index, to a file that is named after its content.

    A frame of the same content is written once.

    Arguments:
        folder: where the file goes; made if it does not exist.
        name: what the file's name begins with.

    Returns:
        The absolute path of the file.

    Raises:
        UserError: Parquet cannot hold a column, or a column's name is not a string or not unique.
        OSError: the file cannot be written.
    """
    table = _table(frame)
    path = folder.absolute() / f"{name}-{_digest(table)[:12]}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with naming(path), partial.open("wb") as file:
                pq.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _table(frame: pd.DataFrame) -> Any:
    names: list[Any] = frame.columns.tolist()
    if others := [name for name in names if not isinstance(name, str)]:
        raise UserError(
            f"data: the column name {others[0]!r} is not a string; rename the columns, as with"
            " frame.columns = frame.columns.map(str)"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"data: more than one column is called {', '.join(repeated)}; rename or drop them")
    if not len(frame) or not names:
        raise UserError(f"data: the DataFrame has {len(frame)} rows and {len(names)} columns")
    return pa.table({name: _array(name, frame[name]) for name in names})


def _array(name: str, column: "pd.Series[Any]") -> Any:
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.astype(column.dtype.subtype)
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        if len(kinds) > 1:
            raise UserError(
                f"data: column {name!r} mixes values of type {', '.join(kinds)}; convert them to one type, as"
                f" with frame[{name!r}].astype(str), or drop the column"
            ) from None
        raise _unusable(name, column) from None
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if isinstance(kind, pa.BaseExtensionType) or any(test(kind) for test in _UNUSABLE):
        raise _unusable(name, column)
    return array


def _unusable(name: str, column: "pd.Series[Any]") -> UserError:
    example = next(iter(column.dropna()), None)
    return UserError(
        f"data: column {name!r} holds values of type {type(example).__name__} (dtype {column.dtype}); convert"
        " them to numbers or text, or drop the column"
    )


def _digest(table: Any) -> str:
    """Return the SHA-256 of a table's names, types and values."""
    sink = _Digest()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as stream:
        stream.write_table(table)
    return sink.sha256.hexdigest()


class _Digest:
    """A file that is not kept."""

    closed = False

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        return len(content)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
