"""Split rows into training, validation and test sets, before anything is learned from their values."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sweepgrad.config.split import Split
from sweepgrad.rng import key, permutation, uniform

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

_CHUNK = 1 << 20  # rows at a time, to save memory


@dataclass(frozen=True, eq=False)
class Parts:
    """The part of each row.

    Attributes:
        codes: (N,), 0 for training, 1 for validation, 2 for test; one byte per row.
    """

    codes: NDArray[np.int8]

    def mask(self, part: Part) -> NDArray[np.bool_]:
        """Return a mask (N,) of the rows in a part."""
        mask: NDArray[np.bool_] = self.codes == PARTS.index(part)
        return mask

    @property
    def train(self) -> NDArray[np.int64]:
        """The indices of the training rows, ascending."""
        return np.flatnonzero(self.mask("train"))

    @property
    def val(self) -> NDArray[np.int64]:
        """The indices of the validation rows, ascending."""
        return np.flatnonzero(self.mask("val"))

    @property
    def test(self) -> NDArray[np.int64]:
        """The indices of the test rows, ascending."""
        return np.flatnonzero(self.mask("test"))

    def size(self, part: Part) -> int:
        return int(np.count_nonzero(self.mask(part)))

    def digest(self, part: Part) -> str:
        """Return the SHA-256 of the part's row indices, as 64-bit little-endian integers."""
        digest = hashlib.sha256()
        for start in range(0, self.codes.size, _CHUNK):
            rows = start + np.flatnonzero(self.codes[start : start + _CHUNK] == PARTS.index(part))
            digest.update(rows.astype("<i8").tobytes())
        return digest.hexdigest()


def split_rows(y: NDArray[Any], units: NDArray[np.integer[Any]], split: Split) -> Parts:
    """Split rows with labels y (N,) that belong to units (N,), numbered from 0; a unit is never divided.

    Units are placed in random order, with their rows end to end, on a circle that starts at a random row. A
    unit goes to the part whose arc contains its middle. The start is uniform, so every middle is too: each
    unit, whatever its size, is in the test set with probability `split.test` (up to rounding to whole rows).
    The size of a part is off by at most half of the unit at each of its two ends, so it is exact where every
    row is its own unit.

    With `split.fold`, the circle outside the test arc is divided into `split.folds` equal arcs, and that one
    is the validation set. The order of units and the test arc do not depend on the fold, so every unit
    outside the test set is validated in exactly one fold.

    With `split.outer_fold`, the test set is one of `split.outer_folds` equal arcs of the circle, the last one
    for outer fold 0, so that every unit is tested in exactly one outer fold. The remaining arc begins where
    the test arc ends. The last arc equals the test set without outer folds, however the shares round.

    With `split.stratify`, this is done by strata: units with negative rows only, with both, and with positive
    rows only. The split depends only on the seed, the labels and the units.
    """
    n_units = int(units.max()) + 1
    sizes, positives = np.zeros((2, n_units), dtype=np.int32)
    for start in range(0, units.size, _CHUNK):
        some = units[start : start + _CHUNK]
        np.add.at(sizes, some, np.int32(1))
        np.add.at(positives, some, y[start : start + _CHUNK].astype(np.int32))
    stratum = np.ones(n_units, dtype=np.int8)
    if split.stratify:
        stratum[positives == 0] = 0
        stratum[positives == sizes] = 2
    del positives
    part = np.empty(n_units, dtype=np.int8)
    for s in np.unique(stratum).tolist():
        members = np.flatnonzero(stratum == s).astype(np.int32)
        order = permutation(key(split.seed, "split", s), members.size)
        n = int(sizes[members].sum())
        start_row = int(uniform(key(split.seed, "split start", s), ())[()] * n)
        test, end = _test_arc(n, split)
        starts, part_of_arc = _arcs(n, n - test, split)
        before = 0
        for start in range(0, members.size, _CHUNK):
            some = members[order[start : start + _CHUNK]]
            size = sizes[some].astype(np.int64)
            upto = before + np.cumsum(size)
            # Twice the middle, to compute with integers.
            middles = (2 * upto - size + 2 * (start_row - end)) % (2 * n)
            part[some] = part_of_arc[np.searchsorted(2 * starts, middles, side="right")]
            before = int(upto[-1])
    return Parts(part[units])


def _test_arc(n: int, split: Split) -> tuple[int, int]:
    """Return the number of a circle's n rows in the test arc, and the row where it ends."""
    last = round((split.train + split.val) * n)  # where it begins without outer folds
    if split.outer_fold is None:
        return n - last, n
    end, start = (
        last if fold == 1 else n - round(fold * n / split.outer_folds)
        for fold in (split.outer_fold, split.outer_fold + 1)
    )
    return end - start, end


def _arcs(n: int, test: int, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the rows of n where a circle's arcs begin, without the first arc's 0, and the part of each arc.

    Arguments:
        test: the row where the last arc, that of the test set, begins.
    """
    if split.fold is None:
        return np.array([min(round(split.train * n), test), test]), np.array([0, 1, 2], dtype=np.int8)
    first, last = (round(fold * test / split.folds) for fold in (split.fold, split.fold + 1))
    return np.array([first, last, test]), np.array([0, 1, 0, 2], dtype=np.int8)


def uneven_parts(parts: Parts, split: Split) -> tuple[str, ...]:
    """Return a notice for each part whose size differs from its share by more than a quarter."""
    n = parts.codes.size
    sizes = [parts.size(part) for part in PARTS]
    requested = zip(("training", "validation", "test"), sizes, split.shares, strict=True)
    return tuple(
        f"the {name} set has {size} of {n} rows, {size / n:.1%} instead of {share:.0%}, because groups are"
        " few and large: use smaller groups (data.group) or try another split.seed"
        for name, size, share in requested
        if abs(size - share * n) > max(share * n / 4, 3)  # three strata, each in whole rows
    )


def units_of(frame: pd.DataFrame, group: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    """Return the unit (N,) of each row, numbered from 0: rows that are equal in any key of `group` share one.

    A key is a tuple of columns; it is equal if all of them are. A missing value equals nothing. Units are
    transitive: if row 1 shares a key with row 2, and row 2 another one with row 3, all three are one unit.
    Without keys, every row is its own unit.
    """
    n = len(frame)
    rows, nodes, n_nodes = [], [], n
    for columns in group:
        value = frame.groupby(list(columns), sort=False, dropna=True).ngroup().fillna(-1).to_numpy(np.int32)
        known = np.flatnonzero(value >= 0).astype(np.int32)
        rows.append(known)
        nodes.append(n_nodes + value[known])
        n_nodes += int(value.max(initial=-1)) + 1
    if not rows:
        return np.arange(n)
    # A graph with a node for each row and each value of a key, and an edge where a row has a value.
    i, j = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(i.size, dtype=np.int8), (i, j)), shape=(n_nodes, n_nodes))
    component = connected_components(graph, directed=False)[1][:n]
    return np.unique(component, return_inverse=True)[1].astype(np.int64)
