"""From a CSV or Parquet file to a frame, or to a message that says what is wrong with the file."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from sweepgrad.config import FileData
from sweepgrad.errors import UserError
from sweepgrad.home import data_dir

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


def content_of(path: Path, sha256: str | None) -> bytes:
    """The file's bytes, which must have the digest `sha256` (hexadecimal) if one is given.

    The digest is of the very bytes that `parse` then gets, so the file cannot change in between.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is no such file; data.path is an absolute path or one relative to the current "
            f"directory, {Path.cwd()}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); see data.path") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise UserError(
            f"{path}: the file is not the one that data.sha256 speaks of: its SHA-256 is {digest}, not "
            f"{sha256}; restore the file, or set data.sha256 to the new digest or to null"
        )
    return content


def words_read_as_missing(content: bytes, path: Path, frame: pd.DataFrame) -> list[str]:
    """A notice for each column of `frame` in which words such as NA, not just empty cells, are missing."""
    if path.suffix.lower() != ".csv" or not frame.isna().any(axis=None):
        return []
    holed = frame.columns[frame.isna().any()].tolist()
    words = pd.read_csv(BytesIO(content), usecols=holed, dtype=str, keep_default_na=False)
    notices = []
    for name in holed:
        cells = words.loc[frame[name].isna(), name]
        if (said := cells[cells != ""]).size:
            words_said = ", ".join(map(repr, sorted(said.unique())))
            notices.append(f"{name}: {said.size} cells that say {words_said} are read as missing")
    return notices


def parse(content: bytes, path: Path) -> pd.DataFrame:
    """The table in the bytes of the file at `path`, at least one row, no two columns of one name."""
    try:
        match path.suffix.lower():
            case ".csv":
                # Taken for a row, the header shows what pandas mends in silence: it renames repeated columns,
                # and where the first row has a field more than the header, it makes the first field an index.
                header = pd.read_csv(BytesIO(content), header=None, nrows=2, dtype=str, keep_default_na=False)
                names = header.iloc[0].tolist()
                frame = pd.read_csv(BytesIO(content), low_memory=False)
            case ".parquet":
                frame = pd.read_parquet(BytesIO(content))
                if not isinstance(frame.index, pd.RangeIndex):
                    frame = frame.reset_index()
                names = frame.columns.tolist()
            case _:
                raise UserError(f"{path}: data.path must end in .csv or .parquet")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the file is not UTF-8 text ({error}); save it as UTF-8") from None
    except (ValueError, OSError) as error:  # pandas' parser errors and pyarrow's are ValueErrors
        raise UserError(f"{path}: the file cannot be read as {path.suffix[1:]} ({error})") from None
    frame = frame.reset_index(drop=True)
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"{path}: more than one column is called {', '.join(repeated)}; rename or delete them"
        )
    if len(names) == 1 and any(mark in str(names[0]) for mark in ";\t|"):
        raise UserError(f"{path}: the columns must be separated by commas, but the header is {names[0]!r}")
    if frame.empty:
        raise UserError(f"{path}: the table has no rows")
    return frame
