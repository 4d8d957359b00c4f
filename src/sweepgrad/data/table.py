"""A checked table with one role for each of its columns.

Nothing is learned from the values here: no mean, no list of levels. That happens in `preprocess/`, on
training rows only.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data.io.columns import Columns, Mask
from sweepgrad.data.io.files import locate, open_columns
from sweepgrad.data.io.simulated import SimulatedColumns
from sweepgrad.data.schema.roles import Roles, assign_roles, check_names, check_values
from sweepgrad.data.schema.target import target_column
from sweepgrad.data.split import Part, Parts, units_of
from sweepgrad.errors import UserError
from sweepgrad.tasks.registry import task_of


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a table, in memory.

    Attributes:
        frame: feature and group columns with their raw values, index from 0.
        y: labels 0 and 1, shape (len(frame),), float64.
        roles: the role of each column.
    """

    frame: pd.DataFrame
    y: NDArray[np.float64]
    roles: Roles

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with their labels.

    Attributes:
        name: the name the configuration gives it.
        columns: all columns with their raw values, N rows, read on demand.
        y: labels 0 and 1, shape (N,), read-only.
        roles: the role of each column.
        source: the file's absolute path, or "simulated".
        notices: messages to the user, such as roles inferred from column types.
    """

    name: str
    columns: Columns
    y: NDArray[np.int8]
    roles: Roles
    source: str
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.y.shape != (len(self),):
            raise ValueError(f"y must have shape ({len(self)},), one label per row, not {self.y.shape}")
        self.y.flags.writeable = False

    def __len__(self) -> int:
        return self.columns.n_rows

    def rows(self, mask: Mask) -> Rows:
        """Return the rows where the mask (N,) is true, with their feature and group columns."""
        used = {*self.roles.features, *self.roles.grouping}
        names = [name for name in self.columns.names if name in used]
        return Rows(self.columns.select(names, mask), self.y[mask].astype(np.float64), self.roles)

    def units(self) -> NDArray[np.integer[Any]]:
        """Return the unit (N,) of each row, see `split.units_of`: rows of a unit belong together."""
        if not self.roles.group:
            return np.arange(len(self), dtype=np.int32)
        all_rows = np.ones(len(self), dtype=np.bool_)
        return units_of(self.columns.select(self.roles.grouping, all_rows), self.roles.group)

    def without(self, columns: Collection[str]) -> "Table":
        """Return the table with these feature columns dropped."""
        roles = replace(
            self.roles,
            numeric=tuple(name for name in self.roles.numeric if name not in columns),
            categorical=tuple(name for name in self.roles.categorical if name not in columns),
            dropped=(*self.roles.dropped, *columns),
        )
        return replace(self, roles=roles)


def read(config: FileData | SimulatedData) -> Table:
    """Read or draw the labels of the table that `config` describes, and check its columns.

    Raises:
        UserError: if the file cannot be read, or its columns do not fit their roles.
    """
    if isinstance(config, SimulatedData):
        return _simulated(config)
    path = locate(config)
    columns = open_columns(path, config.sha256)
    check_names(columns.names, config, path)
    encoded = task_of(config).encode(target_column(columns, config.target, path), config.positive)
    roles, inferred = assign_roles(columns, config, encoded.positive, encoded.negative, path)
    check_values(columns, roles, path)
    used = {*roles.features, *roles.grouping}
    read_as = columns.notices([name for name in columns.names if name in used])
    notices = (*encoded.notices, *inferred, *read_as)
    return Table(config.name, columns, encoded.y, roles, str(path), notices)


def _simulated(config: SimulatedData) -> Table:
    columns = SimulatedColumns(config)
    roles = Roles(
        target="label",
        positive=1,
        negative=0,
        numeric=tuple(columns.names),
        categorical=(),
        group=(),
        dropped=(),
    )
    return Table(config.name, columns, columns.labels(), roles, source="simulated")


def check_parts(table: Table, parts: Parts, split: Split) -> None:
    """Check that each set has rows of both classes.

    Raises:
        UserError: one has not.
    """
    names: dict[str, Part] = {"training": "train", "validation": "val", "test": "test"}
    sizes = {name: parts.size(part) for name, part in names.items()}
    problems = []
    for name, part in names.items():
        positives = int(np.count_nonzero(table.y[parts.mask(part)]))
        if sizes[name] == 0:
            problems.append(f"the {name} set has no rows")
        elif positives in (0, sizes[name]):
            problems.append(f"the {name} set has {'only' if positives else 'no'} positive rows")
    if problems:
        counts = ", ".join(f"{size} {name}" for name, size in sizes.items())
        groups = ", smaller groups (data.group)" if table.roles.group else ""
        folds = "" if split.fold is None else ", fewer folds (split.folds)"
        raise UserError(
            f"{table.source}: {'; '.join(problems)} ({len(table)} rows were split into {counts}). Use more "
            f"rows, other shares (split.train, split.val, split.test){folds}{groups} or another split.seed"
        )
