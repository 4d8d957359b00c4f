"""Duplicates: rows that are equal, or nearly, in all that a model learns from, and lie in different parts.

Whoever has learned one by heart knows the other. Chance makes equal rows too, where columns are coarse, so
what is found is held against what chance would make of these columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.data.schema.column_types import as_level, as_numbers
from sweepgrad.data.split import PARTS, Parts
from sweepgrad.rng import key, uniform

PAIRS = ("train-val", "train-test", "val-test")
SHARE = 0.01  # of a part: fewer rows with twins move no figure
NAMED = 20

_NEAR = 0.05  # standard deviations in every column, or less where rows lie dense
_CELL = 16  # times as wide
_GRIDS, _GRID_COLUMNS = 3, 6
_MOST_PAIRS = 4  # candidates a row
_ALIKE = 0.99  # columns as correlated as this are counted as one
_ROUNDING = 1e-9  # standard deviations: 0.3 and 0.1 * 3 are one number
_FAR = 1e290  # standard deviations: no further, for the sake of sums

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Duplicates:
    """Duplicates of one sort that cross the split.

    Attributes:
        rows: for each pair of parts, how many rows of the second have a twin in the first.
        shares: the same as shares of the second part.
        by_chance: how many pairs across parts chance makes at most, about, of rows like these.
        pairs: how many there are.
        named: pairs of a training and a validation row, from 1 as in the file, the first ones.
    """

    rows: dict[str, int]
    shares: dict[str, float]
    pairs: int
    by_chance: float
    named: tuple[tuple[int, int], ...]

    @property
    def beyond_chance(self) -> bool:
        return self.pairs > self.by_chance + 5 * sqrt(self.by_chance) + 2

    @property
    def count(self) -> bool:
        """Whether they are more than chance makes, and enough to move a figure."""
        return self.beyond_chance and max(self.shares.values()) >= SHARE


@dataclass(frozen=True)
class _Cells:
    """A table as numbers: codes (N, D) that are equal where the values are, but for rounding, and the numeric
    columns in sd."""

    codes: Codes
    numbers: Floats
    n_categorical: int


def find(
    frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], parts: Parts
) -> tuple[Duplicates, Duplicates, int]:
    """Equal rows, and rows that are nearly equal, of a table's features (N, D); and how many rows have a twin
    in a part before theirs, each counted once, of either sort if that counts.

    Equal: numbers less than `_ROUNDING` standard deviations apart are one, as 0.3 and 0.1 * 3.
    Nearly equal: the same levels, and numbers no more than `_NEAR` standard deviations apart in each column
    (less where rows lie dense). Wherever rows spread smoothly over at least one dimension, those up to four
    times as far apart are at least three times as many, so a greater number of near ones is no chance.
    """
    cells = _cells(frame, numeric, categorical)
    same = _numbered(cells.codes)
    found = (_exact(cells, same, parts), _near(cells, same, parts))
    with_one = np.zeros(len(frame), dtype=np.bool_)
    for twins, rows in found:
        if twins.count:
            with_one |= rows
    return found[0][0], found[1][0], int(np.count_nonzero(with_one))


def _cells(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> _Cells:
    codes, numbers = [], []
    for name in categorical:
        found, levels = pd.factorize(frame[name])
        texts = pd.factorize(np.array([as_level(level) for level in levels.tolist()], dtype=object))[0]
        codes.append(np.append(texts, -1)[found])
    for name in numeric:
        values = as_numbers(frame[name])
        scaled = _scaled(values)
        codes.append(_rounded(scaled))
        numbers.append(np.where(np.isnan(values), -1e6, scaled))
    return _Cells(
        np.stack(codes, axis=1).astype(np.int64),
        np.stack(numbers, axis=1) if numbers else np.empty((len(frame), 0)),
        len(categorical),
    )


def _scaled(values: Floats) -> Floats:
    """Values (N,) in standard deviations of the middle rows: what lies far out has no say in what is near."""
    present = values[~np.isnan(values)]
    if not present.size:
        return values
    low, high = np.quantile(present / 4, [0.16, 0.84])  # a quarter, for differences of the largest numbers
    spread = (high - low) * 2 or np.std(np.clip(present, -1e150, 1e150)) or 1.0
    with np.errstate(over="ignore"):
        scaled: Floats = np.clip(values / spread, -_FAR, _FAR)
    return scaled


def _rounded(scaled: Floats) -> Codes:
    """A code (N,) for each number (N,), the same for those that rounding alone parts; -1 for NaN."""
    codes, levels = pd.factorize(scaled, sort=True)
    if not len(levels):
        return codes.astype(np.int64)
    merged = np.cumsum(np.append(0, np.diff(levels) > _ROUNDING))
    return np.append(merged, -1)[codes].astype(np.int64)


def _numbered(codes: Codes) -> Codes:
    """A number (N,) for each row, the same for equal rows of codes (N, D), from 0."""
    numbers = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        numbers = pd.factorize(numbers * (int(column.max(initial=0)) + 2) + column + 1)[0].astype(np.int64)
    return numbers


def _exact(cells: _Cells, same: Codes, parts: Parts) -> tuple[Duplicates, Mask]:
    """Equal rows, and which rows (N,) have one in a part before theirs."""
    n_same = int(same.max()) + 1
    counts = np.stack([np.bincount(same[parts.mask(part)], minlength=n_same) for part in PARTS])
    rows, pairs, possible, with_one = {}, 0, 0, np.zeros(len(same), dtype=np.bool_)
    for pair in PAIRS:
        one, other = (PARTS.index(part) for part in pair.split("-"))
        rows[pair] = int(counts[other][counts[one] > 0].sum())
        with_one |= (parts.of == other) & (counts[one] > 0)[same]
        pairs += int(counts[one] @ counts[other])
        possible += int(counts[one].sum() * counts[other].sum())
    n = len(same)
    chance = possible * _agreement(cells, counts.sum(axis=0), n)
    named: list[tuple[int, int]] = []
    for which in np.flatnonzero((counts[0] > 0) & (counts[1] > 0))[:NAMED]:
        here = np.flatnonzero(same == which)
        train, val = (here[parts.mask(part)[here]] for part in ("train", "val"))
        named += [(int(train[0]) + 1, int(row) + 1) for row in val]
    return _told(Duplicates(rows, _shares(rows, parts), pairs, chance, tuple(named[:NAMED]))), with_one


def _told(twins: Duplicates) -> Duplicates:
    """With no rows named where chance makes as many twins."""
    return twins if twins.beyond_chance else replace(twins, named=())


def _agreement(cells: _Cells, counts: Codes, n: int) -> float:
    """How likely two rows are equal by chance, generously: as if every two columns said the same.

    Of independent columns it is the product over columns of how likely two rows agree in each. Columns that
    depend on each other agree together, so the square root is taken. A number column that tells rows apart
    agrees in twins alone; that it does is not held against them.
    """
    pairs = n * (n - 1) / 2
    twins = float(np.sum(counts * (counts - 1.0)) / 2)
    agreement = 1.0
    repeats = _repeats(cells.numbers)
    for place, column in enumerate(cells.codes.T):
        number = place - cells.n_categorical
        if number >= 0 and repeats[number]:
            continue
        levels = np.bincount(column + 1).astype(float)
        agreeing = float(np.sum(levels * (levels - 1)) / 2)
        if number >= 0 and np.count_nonzero(levels) > len(counts) / 2:
            agreeing -= twins
        agreement *= max(agreeing, 1.0) / pairs
    return float(np.sqrt(agreement))


def _repeats(numbers: Floats) -> NDArray[np.bool_]:
    """Which number columns (D,) say what an earlier one does."""
    centred = np.clip(numbers[:20_000], -1e3, 1e3)
    centred -= centred.mean(axis=0)
    spread = np.sqrt(np.sum(centred**2, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(centred.T @ centred) / np.outer(spread, spread)
    alike: NDArray[np.bool_] = np.any(np.triu(correlation >= _ALIKE, k=1), axis=0)
    return alike


def _near(cells: _Cells, same: Codes, parts: Parts) -> tuple[Duplicates, Mask]:
    """Nearly equal rows, and which rows (N,) have one in a part before theirs."""
    # Of equal rows one in each part is enough to find what is near.
    _, first = np.unique(same * len(PARTS) + parts.of, return_index=True)
    numbers, levels = cells.numbers[first], _numbered(cells.codes[first][:, : cells.n_categorical])
    width, grids = _NEAR * _CELL, []
    if numbers.shape[1]:
        telling = _telling(numbers)
        grids = [_candidates(numbers, levels, telling, width, 0)]
        while len(grids[0][0]) > _MOST_PAIRS * len(first) and width > 1e-9:
            width /= 2
            grids = [_candidates(numbers, levels, telling, width, 0)]
        grids += [_candidates(numbers, levels, telling, width, grid) for grid in range(1, _GRIDS)]
    epsilon, part, unlike = width / _CELL, parts.of[first], same[first]
    pairs, apart = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for i, j in grids:
        for start in range(0, len(i), 1 << 16):
            a, b = i[start : start + (1 << 16)], j[start : start + (1 << 16)]
            across = (part[a] != part[b]) & (unlike[a] != unlike[b])
            a, b = a[across], b[across]
            distance = np.abs(numbers[a] - numbers[b]).max(axis=1, initial=0)
            close = distance <= 4 * epsilon
            pairs.append(a[close] * len(first) + b[close])
            apart.append(distance[close])
    found, places = np.unique(np.concatenate(pairs), return_index=True)
    near = np.concatenate(apart)[places] <= epsilon
    around = int(np.count_nonzero(~near))
    i, j = np.divmod(found[near], len(first))
    rows: dict[str, int] = {}
    sort = same * len(PARTS) + parts.of  # rows of one sort are equal and of one part
    weight, with_one = np.bincount(sort), np.zeros(len(same), dtype=np.bool_)
    for pair in PAIRS:
        one, other = (PARTS.index(p) for p in pair.split("-"))
        forth, back = ((part[x] == one) & (part[y] == other) for x, y in ((i, j), (j, i)))
        there = np.concatenate([j[forth], i[back]])
        met = sort[first[np.unique(there)]]
        rows[pair] = int(weight[met].sum())
        with_one |= np.isin(sort, met)
    a, b = np.where(part[i] <= part[j], i, j), np.where(part[i] <= part[j], j, i)
    both = (part[a] == 0) & (part[b] == 1)
    named = [(int(x) + 1, int(y) + 1) for x, y in zip(first[a[both]], first[b[both]], strict=True)]
    # Some of those around lie in another cell of each grid: a half instead of a third.
    twins = Duplicates(rows, _shares(rows, parts), len(i), around / 2, tuple(sorted(named)[:NAMED]))
    return _told(twins), with_one


def _candidates(
    numbers: Floats, levels: Codes, telling: Sequence[int], width: float, grid: int
) -> tuple[Codes, Codes]:
    """Pairs of rows that lie in one cell of a grid over the most telling columns."""
    shift = uniform(key(0, "twins", grid), (numbers.shape[1],))
    cell = _numbered(np.column_stack([levels, *(_coded(numbers[:, c] / width + shift[c]) for c in telling)]))
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    sizes = np.bincount(cell)
    left, right, total = [], [], 0
    for step in range(1, int(min(sizes.max(initial=1), 64))):
        both = np.flatnonzero(ordered[step:] == ordered[:-step])
        left.append(order[both])
        right.append(order[both + step])
        total += len(both)
        if total > _MOST_PAIRS * len(numbers):  # too wide
            break
    if not left:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    i, j = np.concatenate(left), np.concatenate(right)
    return np.minimum(i, j), np.maximum(i, j)


def _coded(values: Floats) -> Codes:
    codes: Codes = pd.factorize(np.floor(values))[0].astype(np.int64)
    return codes


def _telling(numbers: Floats) -> list[int]:
    """The columns, a few, whose values are spread most evenly over their range of middle rows."""
    some = numbers[:4096]
    n_cells = [len(np.unique(np.floor(np.clip(some[:, c] * 2, -50, 50)))) for c in range(some.shape[1])]
    distinct = [len(np.unique(some[:, c])) for c in range(some.shape[1])]
    order = sorted(range(some.shape[1]), key=lambda c: (-distinct[c], -n_cells[c], c))
    return order[:_GRID_COLUMNS]


def _shares(rows: dict[str, int], parts: Parts) -> dict[str, float]:
    sizes = {f"{one}-{other}": parts.size(other) for one in PARTS for other in PARTS}
    return {pair: count / max(1, sizes[pair]) for pair, count in rows.items()}
