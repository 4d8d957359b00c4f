"""From a CSV or Parquet file to its columns, or to a message that says what is wrong with the file."""

import hashlib
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


def locate(config: FileData) -> Path:
    """The absolute path of the file; a relative one starts from the current directory."""
    if config.path.startswith(BUNDLED):
        return data_dir() / config.path.removeprefix(BUNDLED)
    return Path(config.path).expanduser().absolute()


def complaint(source: object, faults: Sequence[str]) -> UserError:
    """All faults found in one file, as one error."""
    if len(faults) == 1:
        return UserError(f"{source}: {faults[0]}")
    return UserError(f"{source}:" + "".join(f"\n  - {fault}" for fault in faults))


def open_columns(path: Path, sha256: str | None) -> Columns:
    """The columns of the file at `path`: at least one row, no two columns of one name.

    A CSV file is read whole, a Parquet file as its columns are asked for.

    Arguments:
        sha256: the digest (hexadecimal) that the file must have, if one is given.

    Raises:
        UserError: there is no such file, it is not the one of the digest, or it is no table.
    """
    try:
        read = _parquet if path.suffix.lower() == ".parquet" else CsvColumns
        columns: Columns = read(path, sha256)
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is no such file; data.path is an absolute path or one relative to the current "
            f"directory, {Path.cwd()}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); see data.path") from None
    names = columns.names
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"{path}: more than one column is called {', '.join(repeated)}; rename or delete them"
        )
    if len(names) == 1 and any(mark in str(names[0]) for mark in ";\t|"):
        raise UserError(f"{path}: the columns must be separated by commas, but the header is {names[0]!r}")
    if columns.n_rows == 0:
        raise UserError(f"{path}: the table has no rows")
    return columns


def _parquet(path: Path, sha256: str | None) -> Columns:
    from sweepgrad.data.io.parquet import ParquetColumns  # late: few need it, and it takes a moment

    return ParquetColumns(path, sha256)


class CsvColumns(FrameColumns):
    """The columns of a CSV file, which is read whole; the digest is of the very bytes that are parsed."""

    def __init__(self, path: Path, sha256: str | None) -> None:
        self._content = path.read_bytes()
        digest = hashlib.sha256(self._content).hexdigest()
        refuse_another_file(path, digest, sha256)
        frame, names = self._parsed(path)
        super().__init__(frame.reset_index(drop=True), digest)
        self.names = names

    def _parsed(self, path: Path) -> tuple[pd.DataFrame, list[Any]]:
        """The frame, and the names of its columns as the file has them."""
        if path.suffix.lower() != ".csv":
            raise UserError(f"{path}: data.path must end in .csv or .parquet")
        try:
            # Taken for a row, the header shows what pandas mends in silence: it renames repeated columns, and
            # where the first row has a field more than the header, it makes the first field an index.
            header = pd.read_csv(
                BytesIO(self._content), header=None, nrows=2, dtype=str, keep_default_na=False
            )
            return pd.read_csv(BytesIO(self._content), low_memory=False), header.iloc[0].tolist()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: the file is not UTF-8 text ({error}); save it as UTF-8") from None
        except ValueError as error:  # pandas' parser errors are ValueErrors
            raise UserError(f"{path}: the file cannot be read as csv ({error})") from None

    def notices(self, names: Sequence[str]) -> list[str]:
        """One for each column in which words such as NA, not just empty cells, are missing."""
        holed = [name for name in names if self.frame[name].isna().any()]
        if not holed:
            return []
        words = pd.read_csv(BytesIO(self._content), usecols=holed, dtype=str, keep_default_na=False)
        found = []
        for name in holed:
            cells = words.loc[self.frame[name].isna(), name]
            if (said := cells[cells != ""]).size:
                words_said = ", ".join(map(repr, sorted(said.unique())))
                found.append(f"{name}: {said.size} cells that say {words_said} are read as missing")
        return found
