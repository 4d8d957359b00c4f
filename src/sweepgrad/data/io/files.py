"""Open CSV and Parquet files, with an error message for what is wrong with a file."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from sweepgrad.config.data import FileData
from sweepgrad.data.io.columns import Columns, FrameColumns, refuse_another_file
from sweepgrad.errors import UserError
from sweepgrad.paths import data_dir

BUNDLED = "bundled:"
_MOST_COLUMNS = 100_000
_LISTED = 20  # repeated names


def locate(config: FileData) -> Path:
    """Return the absolute path of the file; a relative one starts from the current directory."""
    if config.path.startswith(BUNDLED):
        return data_dir() / config.path.removeprefix(BUNDLED)
    return Path(config.path).expanduser().absolute()


def file_error(source: object, problems: Sequence[str]) -> UserError:
    """Return all problems of one file as one error."""
    if len(problems) == 1:
        return UserError(f"{source}: {problems[0]}")
    return UserError(f"{source}:" + "".join(f"\n  - {problem}" for problem in problems))


def open_columns(path: Path, sha256: str | None) -> Columns:
    """Return the columns of a file; it has at least one row, and its column names are unique.

    A CSV file is read whole; a Parquet file is read column by column on demand.

    Arguments:
        sha256: the digest (hexadecimal) that the file must have; None accepts any file.

    Raises:
        UserError: if the file does not exist, has another digest, or is not a table.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe or a device may never end
        raise UserError(f"{path}: not a regular file; check data.path")
    try:
        read = _parquet if path.suffix.lower() == ".parquet" else CsvColumns
        columns: Columns = read(path, sha256)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file. data.path must be absolute or relative to the current directory, "
            f"{Path.cwd()}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the file ({error.strerror}); check data.path") from None
    names = columns.names
    refuse_repeated(path, names)
    if len(names) == 1 and any(mark in str(names[0]) for mark in ";\t|"):
        raise UserError(
            f"{path}: the columns must be separated by commas, but the header is {names[0]!r}. Save the file"
            " with commas"
        )
    if columns.n_rows == 0:
        raise UserError(f"{path}: the file has no rows")
    return columns


def _parquet(path: Path, sha256: str | None) -> Columns:
    # late: pyarrow is slow to import, and not always needed
    from sweepgrad.data.io.parquet import ParquetColumns

    return ParquetColumns(path, sha256)


def _check_header(content: bytes) -> None:
    """Check the number of columns, before pandas makes a header of them.

    Raises:
        ValueError: there are too many.
    """
    end = content.find(b"\n")
    n = 1 + content.count(b",", 0, end if end >= 0 else len(content))
    if n > _MOST_COLUMNS:
        raise ValueError(f"{n} columns, and at most {_MOST_COLUMNS} are read")


def refuse_repeated(path: Path, names: Sequence[Any]) -> None:
    """Raise a UserError if some columns have the same name."""
    if repeated := sorted(str(name) for name, n in Counter(names).items() if n > 1):
        some = ", ".join(repeated[:_LISTED]) + (", …" if len(repeated) > _LISTED else "")
        raise UserError(f"{path}: repeated column names: {some}. Rename or delete these columns")


class CsvColumns(FrameColumns):
    """The columns of a CSV file, which is read whole; the digest is of the bytes that are parsed."""

    def __init__(self, path: Path, sha256: str | None) -> None:
        self._content = path.read_bytes()
        digest = hashlib.sha256(self._content).hexdigest()
        refuse_another_file(path, digest, sha256)
        frame, names = self._parsed(path)
        if len(names) == frame.shape[1]:  # pandas names a column without a name
            frame.columns = pd.Index(names)
        super().__init__(frame.reset_index(drop=True), digest)
        self.names = names

    def _parsed(self, path: Path) -> tuple[pd.DataFrame, list[Any]]:
        """Return the frame, and the column names as they are in the file."""
        if path.suffix.lower() != ".csv":
            raise UserError(f"{path}: data.path must end in .csv or .parquet")
        try:
            _check_header(self._content)
            # Read the header as a row, since pandas silently renames repeated columns, and makes the first
            # field an index where the first row has one field more than the header.
            header = pd.read_csv(
                BytesIO(self._content), header=None, nrows=2, dtype=str, keep_default_na=False
            )
            names = header.iloc[0].tolist()
            refuse_repeated(path, names)  # pandas takes minutes to rename thousands of them
            return pd.read_csv(BytesIO(self._content), low_memory=False), names
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: the file is not UTF-8 text ({error}). Save it as UTF-8") from None
        except ValueError as error:  # pandas' parser errors are ValueErrors
            raise UserError(f"{path}: cannot parse the file as CSV ({error})") from None

    def notices(self, names: Sequence[str]) -> list[str]:
        """Return a notice for each column in which words such as NA, not only empty cells, mean missing."""
        incomplete = [name for name in names if self.frame[name].isna().any()]
        if not incomplete:
            return []
        # By position: pandas gives a column without a name one of its own.
        places = [self.names.index(name) for name in incomplete]
        raw = pd.read_csv(BytesIO(self._content), usecols=places, dtype=str, keep_default_na=False)
        raw.columns = pd.Index([self.names[place] for place in sorted(places)])
        found = []
        for name in incomplete:
            cells = raw.loc[self.frame[name].isna(), name]
            if (texts := cells[cells != ""]).size:
                shown = ", ".join(map(repr, sorted(texts.unique())))
                found.append(f"column {name!r}: {texts.size} cells with {shown} are read as missing")
        return found
