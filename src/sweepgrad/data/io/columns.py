"""Raw columns of a table, read on demand in blocks of rows.

A table may be larger than memory: no caller holds more of it than one block of rows, or one column.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.errors import UserError

Mask = NDArray[np.bool_]

VALUES = 1 << 18
"""Values in a block, approximately: large enough for a small overhead, small enough to save memory."""


class Columns(ABC):
    """The raw columns of N rows.

    Attributes:
        names: in the order of the file.
        n_rows: N.
        digest: SHA-256 of the file's bytes, or of the simulation's configuration.
    """

    names: list[str]
    n_rows: int
    digest: str

    @abstractmethod
    def blocks(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield these columns in blocks of rows, from the first row to the last; at least one block.

        The type of a column is the same in all blocks.
        """

    def column(self, name: str) -> Iterator["pd.Series[Any]"]:
        """Return one column in blocks."""
        return (block[name] for block in self.blocks([name]))

    def select(self, names: Sequence[str], rows: Mask) -> pd.DataFrame:
        """Return these columns of the rows where the mask (N,) is true, with an index from 0."""
        found, start = [], 0
        for block in self.blocks(names):
            found.append(block[rows[start : start + len(block)]])
            start += len(block)
        return pd.concat(found, ignore_index=True)

    def notices(self, names: Sequence[str]) -> list[str]:
        """Return messages to the user on how these columns were read."""
        return []


class FrameColumns(Columns):
    """The columns of a frame in memory."""

    def __init__(self, frame: pd.DataFrame, digest: str) -> None:
        self.frame, self.digest = frame, digest
        self.names, self.n_rows = frame.columns.tolist(), len(frame)

    def blocks(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        for start, stop in spans(self.n_rows, len(names)):
            yield self.frame.loc[:, list(names)].iloc[start:stop]

    def select(self, names: Sequence[str], rows: Mask) -> pd.DataFrame:
        return pd.DataFrame({name: self.frame[name].array[rows] for name in names})


def spans(n_rows: int, n_columns: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each block and the one after its last."""
    step = rows_of_a_block(n_columns)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def rows_of_a_block(n_columns: int) -> int:
    return max(1, VALUES // max(1, n_columns))


def refuse_another_file(path: Path, digest: str, expected: str | None) -> None:
    """Raise a UserError if the SHA-256 of a file is not the expected one (hexadecimal), if there is one."""
    if expected is not None and digest != expected.lower():
        raise UserError(
            f"{path}: the SHA-256 of the file is {digest}, but data.sha256 is {expected}. Restore the file, "
            "or set data.sha256 to the new digest or to null"
        )
