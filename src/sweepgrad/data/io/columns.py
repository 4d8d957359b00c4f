"""A table's raw columns: read when they are asked for, and some rows at a time.

So a table may be larger than memory: nobody holds more of it than one block of rows of the columns it needs,
or the one column that it looks at.
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
"""In a block, about: so many that a block's fixed cost is small, so few that memory does not feel them."""


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
        """These columns, from the first row to the last, some rows at a time; never without any block.

        The type of a column is the same in all blocks.
        """

    def column(self, name: str) -> Iterator["pd.Series[Any]"]:
        """One column, in blocks."""
        return (block[name] for block in self.blocks([name]))

    def select(self, names: Sequence[str], rows: Mask) -> pd.DataFrame:
        """These columns of the rows where the mask (N,) is true, with an index from 0."""
        found, start = [], 0
        for block in self.blocks(names):
            found.append(block[rows[start : start + len(block)]])
            start += len(block)
        return pd.concat(found, ignore_index=True)

    def notices(self, names: Sequence[str]) -> list[str]:
        """What the user should be told of how these columns were read."""
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
    """The first row of each block, and the one after its last."""
    step = rows_of_a_block(n_columns)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def rows_of_a_block(n_columns: int) -> int:
    return max(1, VALUES // max(1, n_columns))


def refuse_another_file(path: Path, digest: str, expected: str | None) -> None:
    """The SHA-256 of a file must be the expected one, if there is one (hexadecimal)."""
    if expected is not None and digest != expected.lower():
        raise UserError(
            f"{path}: the file is not the one that data.sha256 speaks of: its SHA-256 is {digest}, not "
            f"{expected}; restore the file, or set data.sha256 to the new digest or to null"
        )
