"""Which rows are for training, for validation and for the test, and the seal on the test rows.

The row indices are split before anything is learned from any value. There are two doors: `open_training`
gives training and validation rows, and it is all that a job ever calls. `open_test` gives the test rows, and
`sweepgrad finalize` alone calls it, once a model is chosen.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sweepgrad.config import FileData, SimulatedData, Split
from sweepgrad.data.checks import examine
from sweepgrad.data.file import locate
from sweepgrad.data.table import Table, read
from sweepgrad.errors import UserError
from sweepgrad.rng import key, permutation, uniform


@dataclass(frozen=True, eq=False)
class Parts:
    """Row indices, ascending, int64; no row is in two parts and none is left out."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Digests:
    """SHA-256 of the table (see `Table.digest`) and of the row indices of each part."""

    table: str
    train: str
    val: str
    test: str


@dataclass(frozen=True, eq=False)
class Training:
    """All that a job may see: no test row is in it, and no index of one.

    `n_test` is how many there are, and `digests.test` lets the one who opens them prove which they were.
    """

    train: Table
    val: Table
    n_test: int
    digests: Digests
    notices: tuple[str, ...]


def open_training(data: FileData | SimulatedData, split: Split) -> Training:
    """Training and validation rows. Calls with equal arguments share one copy while the file stays the same.

    Constant columns are dropped, with a notice.

    Raises:
        UserError: if the table is unfit (see `table.read`), a part would be empty or lack a class, or a
            column identifies rows or gives the target away.
    """
    return _open_training(data, split, _version(data))


def open_test(data: FileData | SimulatedData, split: Split) -> Table:
    """The test rows, with the columns that `open_training` gives. For `sweepgrad finalize` and nothing else.

    Raises:
        UserError: as `open_training` does.
    """
    return _open(data, split).test


def split_rows(y: NDArray[np.float64], units: NDArray[np.int64], split: Split) -> Parts:
    """Split rows with labels y (N,) that belong to units (N,), numbered from 0; a unit is never divided.

    Units are lined up in random order, their rows end to end, on a circle that starts at a random row. A unit
    goes to the part of the circle in which its middle lies. As the start is uniform, so is every middle:
    each unit, whatever its size, is in the test part with probability `split.test` (to the rounding of the
    parts to whole rows). A part misses its size by no more than half of each unit at its two ends, so
    single rows give exact sizes.

    With `split.stratify` this is done by strata: the units with negative rows only, with both, with positive
    rows only. Nothing but the seed, the labels and the units has a say.
    """
    n_units = int(units.max()) + 1
    sizes = np.bincount(units, minlength=n_units)
    positives = np.bincount(units, weights=y, minlength=n_units)
    stratum = np.ones(n_units, dtype=np.int64)
    if split.stratify:
        stratum[positives == 0] = 0
        stratum[positives == sizes] = 2
    part = np.empty(n_units, dtype=np.int64)
    for s in np.unique(stratum).tolist():
        members = np.flatnonzero(stratum == s)
        members = members[permutation(key(split.seed, "split", s), members.size)]
        n = int(sizes[members].sum())
        start = int(uniform(key(split.seed, "split start", s), ())[()] * n)
        # Twice the middle, to stay in whole numbers.
        middles = (2 * np.cumsum(sizes[members]) - sizes[members] + 2 * start) % (2 * n)
        ends = [2 * round(split.train * n), 2 * round((split.train + split.val) * n)]
        part[members] = np.searchsorted(ends, middles, side="right")
    train, val, test = (np.flatnonzero(part[units] == i) for i in range(3))
    return Parts(train, val, test)


def units_of(frame: pd.DataFrame, group: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    """The unit (N,) of each row, numbered from 0: rows that agree in any of the keys in `group` share one.

    A key is a tuple of columns and agrees if all of them do. A missing value agrees with nothing. Agreement
    is passed on: if row 1 shares a key with row 2 and row 2 another one with row 3, all three are one unit.
    Without keys every row is a unit of its own.
    """
    n = len(frame)
    rows, nodes, n_nodes = [], [], n
    for columns in group:
        value = frame.groupby(list(columns), sort=False, dropna=True).ngroup().fillna(-1).to_numpy(np.int64)
        known = np.flatnonzero(value >= 0)
        rows.append(known)
        nodes.append(n_nodes + value[known])
        n_nodes += int(value.max(initial=-1)) + 1
    if not rows:
        return np.arange(n)
    # A graph with a node for each row and each value of a key; an edge says that the row has the value.
    i, j = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(i.size, dtype=np.int8), (i, j)), shape=(n_nodes, n_nodes))
    component = connected_components(graph, directed=False)[1][:n]
    return np.unique(component, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Opened:
    train: Table
    val: Table
    test: Table
    digests: Digests


def _open(data: FileData | SimulatedData, split: Split) -> _Opened:
    """Read, split, and drop or refuse columns by what the training rows say of them."""
    table = read(data)
    parts = split_rows(table.y, units_of(table.frame, table.roles.group), split)
    _check_parts(table, parts)
    # A simulated table is meant to be predictable, and none of its columns is an identifier.
    objections = examine(table.rows(parts.train), data.keep) if isinstance(data, FileData) else ()
    refused = [objection for objection in objections if objection.kind != "constant"]
    if refused:
        raise UserError(
            f"{table.source}: {'; '.join(objection.reason for objection in refused)}. List under data.drop: "
            f"{', '.join(objection.column for objection in refused)}. What is honestly known when predicting "
            "goes under data.keep instead"
        )
    constant = [objection for objection in objections if objection.kind == "constant"]
    table = table.without([objection.column for objection in constant])
    if not table.roles.features:
        raise UserError(f"{table.source}: every feature column is constant on the training rows")
    dropped = tuple(
        f"{objection.reason}, so it is dropped; list it under data.drop to silence this"
        for objection in constant
    )
    table = replace(table, notices=table.notices + dropped + _lopsided(parts, split))
    digests = Digests(table.digest, *(_digest(rows) for rows in (parts.train, parts.val, parts.test)))
    return _Opened(table.rows(parts.train), table.rows(parts.val), table.rows(parts.test), digests)


@lru_cache(maxsize=4)
def _open_training(
    data: FileData | SimulatedData, split: Split, version: tuple[str, int, int] | None
) -> Training:
    opened = _open(data, split)
    return Training(opened.train, opened.val, len(opened.test), opened.digests, opened.train.notices)


def _version(data: FileData | SimulatedData) -> tuple[str, int, int] | None:
    """What changes when the file does."""
    if isinstance(data, SimulatedData):
        return None
    path = locate(data)
    try:
        status = path.stat()
    except OSError:
        return None  # `read` says what is wrong with the file
    return str(path), status.st_mtime_ns, status.st_size


def _check_parts(table: Table, parts: Parts) -> None:
    found = {"training": parts.train, "validation": parts.val, "test": parts.test}
    faults = []
    for name, rows in found.items():
        if rows.size == 0:
            faults.append(f"the {name} part has no rows")
        elif np.unique(table.y[rows]).size < 2:
            which = "only positive" if table.y[rows[0]] else "no positive"
            faults.append(f"the {name} part has {which} rows")
    if faults:
        sizes = ", ".join(f"{rows.size} {name}" for name, rows in found.items())
        groups = ", groups that are smaller (data.group)" if table.roles.group else ""
        raise UserError(
            f"{table.source}: {'; '.join(faults)} ({len(table)} rows were split into {sizes}); it takes more "
            f"rows, other shares (split.train, split.val, split.test){groups} or another split.seed"
        )


def _lopsided(parts: Parts, split: Split) -> tuple[str, ...]:
    """A notice for each part that missed its share by more than a quarter: its groups are few and large."""
    n = parts.train.size + parts.val.size + parts.test.size
    asked = {"training": (parts.train, split.train), "validation": (parts.val, split.val)}
    asked["test"] = (parts.test, split.test)
    return tuple(
        f"the {name} part has {rows.size} of {n} rows, {rows.size / n:.1%} and not {share:.0%}: the groups"
        " are few and large; smaller ones (data.group) or another split.seed may part them better"
        for name, (rows, share) in asked.items()
        if abs(rows.size / n - share) > share / 4
    )


def _digest(rows: NDArray[np.int64]) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
