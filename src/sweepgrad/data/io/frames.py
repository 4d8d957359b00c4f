"""Write DataFrames to Parquet files, from which they are read like any other table."""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweepgrad.errors import UserError
from sweepgrad.files import naming

log = logging.getLogger(__name__)

_UNUSABLE = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary)


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> tuple[Path, str]:
    """Write a frame, without its index, to a file that is named after its content.

    Frames of equal content share a file. It is written again if it was changed since.

    Arguments:
        folder: where the file goes; made if it does not exist.
        name: what the file's name begins with.

    Returns:
        The absolute path of the file, and its SHA-256.

    Raises:
        UserError: Parquet cannot hold a column, or a column's name is not a string or not unique.
        OSError: the file cannot be written.
    """
    table = _table(frame)
    if named := [str(level) for level in frame.index.names if level is not None]:
        log.warning("data: the index (%s) is not used; call reset_index() to keep it", ", ".join(named))
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}-{uuid4().hex}.parquet"  # other threads may write the same frame
    try:
        with naming(folder / f"{name}.parquet"), partial.open("xb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        digest = _digest(partial)
        path = folder / f"{name}-{digest[:12]}.parquet"
        if not path.exists() or _digest(path) != digest:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path, digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    table = pa.table({name: _array(name, frame[name]) for name in names})
    # How rows are divided into chunks would show in the bytes of the file.
    return table.unify_dictionaries().combine_chunks()


def _array(name: str, column: "pd.Series[Any]") -> Any:
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.astype(column.dtype.subtype)
    elif isinstance(column.dtype, pd.CategoricalDtype) and not column.dtype.ordered:
        with suppress(TypeError):  # categories of several types
            column = column.cat.reorder_categories(sorted(column.dtype.categories))
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        if len(kinds) > 1:
            raise UserError(
                f"data: column {name!r} mixes values of type {', '.join(kinds)}; convert them to one type, as"
                f" with frame[{name!r}].astype(str), or {_leave_out(name)}"
            ) from None
        if isinstance(error, OverflowError):
            raise UserError(
                f"data: column {name!r} holds integers of more than 64 bits; convert them, as with"
                f" frame[{name!r}].astype(float), or {_leave_out(name)}"
            ) from None
        raise _unusable(name, column) from None
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if isinstance(kind, pa.BaseExtensionType) or any(test(kind) for test in _UNUSABLE):
        raise _unusable(name, column)
    if pa.types.is_floating(kind) and not pa.types.is_dictionary(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)  # NaN has many bit patterns
    return array


def _unusable(name: str, column: "pd.Series[Any]") -> UserError:
    example = next(iter(column.dropna()), None)
    return UserError(
        f"data: column {name!r} holds values of type {type(example).__name__} (dtype {column.dtype}); convert"
        f" them to numbers or text, or {_leave_out(name)}"
    )


def _leave_out(name: str) -> str:
    return f"leave the column out, as with data=frame.drop(columns={name!r})"
