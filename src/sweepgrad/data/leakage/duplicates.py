"""Find duplicates: rows in different parts whose features are equal or nearly equal.

A model that has memorized one of them knows the other. In coarse columns rows are also equal by chance, so
the numbers found are compared with those expected by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.config.old_names import DUPLICATES_RANDOM_KEY
from sweepgrad.data.schema.column_types import as_level, as_numbers
from sweepgrad.data.split import PARTS, Parts
from sweepgrad.rng import key, uniform

PAIRS = ("train-val", "train-test", "val-test")
SHARE = 0.01  # of a part: fewer rows with duplicates hardly change a metric
NAMED = 20

_NEAR = 0.05  # standard deviations in every column, or less where rows are dense
_CELL = 16  # the width of a grid cell relative to that distance
_GRIDS, _GRID_COLUMNS = 3, 6
_MOST_PAIRS = 4  # candidate pairs per row
_ALIKE = 0.99  # columns with this correlation count as one
_ROUNDING = 1e-9  # standard deviations: 0.3 and 0.1 * 3 are equal
_FAR = 1e290  # standard deviations: values are clipped here, so that sums stay finite

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Duplicates:
    """Duplicates of one kind (equal or nearly equal) in different parts.

    Attributes:
        rows: by pair of parts, the number of rows of the second with a duplicate in the first.
        shares: the same as shares of the second part.
        pairs: the number of pairs of duplicates in different parts.
        by_chance: an approximate upper bound for the number of such pairs by chance.
        named: the first pairs of a training and a validation row, numbered from 1 as in the file.
    """

    rows: dict[str, int]
    shares: dict[str, float]
    pairs: int
    by_chance: float
    named: tuple[tuple[int, int], ...]

    @property
    def beyond_chance(self) -> bool:
        """True if there are more than expected by chance."""
        return self.pairs > self.by_chance + 5 * sqrt(self.by_chance) + 2

    @property
    def relevant(self) -> bool:
        """True if there are more than expected by chance, and enough to change a metric."""
        return self.beyond_chance and max(self.shares.values()) >= SHARE


@dataclass(frozen=True)
class _Cells:
    """A table as numbers.

    Attributes:
        codes: (N, D), equal where the values are, up to rounding; categorical columns come first.
        numbers: the numeric columns in standard deviations.
    """

    codes: Codes
    numbers: Floats
    n_categorical: int


def find(
    frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], parts: Parts
) -> tuple[Duplicates, Duplicates, int]:
    """Find equal rows and nearly equal rows, and count rows with a relevant duplicate in an earlier part.

    Equal: numbers differ by less than `_ROUNDING` standard deviations, as 0.3 and 0.1 * 3.
    Nearly equal: levels are equal, and numbers differ by at most `_NEAR` standard deviations in each column
    (less where rows are dense). Where rows are spread smoothly over at least one dimension, pairs up to four
    times as far apart are at least three times as many, so a larger number of near pairs is not chance.

    Arguments:
        frame: features (N, D).
    """
    cells = _cells(frame, numeric, categorical)
    same = _numbered(cells.codes)
    found = (_exact(cells, same, parts), _near(cells, same, parts))
    duplicated = np.zeros(len(frame), dtype=np.bool_)
    for duplicates, rows in found:
        if duplicates.relevant:
            duplicated |= rows
    return found[0][0], found[1][0], int(np.count_nonzero(duplicated))


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
    """Return values (N,) in standard deviations of the central rows, so that outliers do not matter."""
    present = values[~np.isnan(values)]
    if not present.size:
        return values
    # a quarter, so that differences of the largest numbers are finite
    low, high = np.quantile(present / 4, [0.16, 0.84])
    spread = (high - low) * 2 or np.std(np.clip(present, -1e150, 1e150)) or 1.0
    with np.errstate(over="ignore"):
        scaled: Floats = np.clip(values / spread, -_FAR, _FAR)
    return scaled


def _rounded(scaled: Floats) -> Codes:
    """Return a code (N,) for each number (N,), equal for numbers that differ by rounding only; -1 for NaN."""
    codes, levels = pd.factorize(scaled, sort=True)
    if not len(levels):
        return codes.astype(np.int64)
    merged = np.cumsum(np.append(0, np.diff(levels) > _ROUNDING))
    return np.append(merged, -1)[codes].astype(np.int64)


def _numbered(codes: Codes) -> Codes:
    """Return a number (N,) from 0 for each row, the same for equal rows of codes (N, D)."""
    numbers = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        numbers = pd.factorize(numbers * (int(column.max(initial=0)) + 2) + column + 1)[0].astype(np.int64)
    return numbers


def _exact(cells: _Cells, same: Codes, parts: Parts) -> tuple[Duplicates, Mask]:
    """Return equal rows, and a mask (N,) of the rows with a duplicate in an earlier part."""
    n_same = int(same.max()) + 1
    counts = np.stack([np.bincount(same[parts.mask(part)], minlength=n_same) for part in PARTS])
    rows, pairs, possible, duplicated = {}, 0, 0, np.zeros(len(same), dtype=np.bool_)
    for pair in PAIRS:
        one, other = (PARTS.index(part) for part in pair.split("-"))
        rows[pair] = int(counts[other][counts[one] > 0].sum())
        duplicated |= (parts.codes == other) & (counts[one] > 0)[same]
        pairs += int(counts[one] @ counts[other])
        possible += int(counts[one].sum() * counts[other].sum())
    n = len(same)
    chance = possible * _agreement(cells, counts.sum(axis=0), n)
    named: list[tuple[int, int]] = []
    for value in np.flatnonzero((counts[0] > 0) & (counts[1] > 0))[:NAMED]:
        here = np.flatnonzero(same == value)
        train, val = (here[parts.mask(part)[here]] for part in ("train", "val"))
        named += [(int(train[0]) + 1, int(row) + 1) for row in val]
    found = Duplicates(rows, _shares(rows, parts), pairs, chance, tuple(named[:NAMED]))
    return _unnamed_by_chance(found), duplicated


def _unnamed_by_chance(found: Duplicates) -> Duplicates:
    """Remove the names of rows if there are no more duplicates than by chance."""
    return found if found.beyond_chance else replace(found, named=())


def _agreement(cells: _Cells, counts: Codes, n: int) -> float:
    """Return an upper estimate of the probability that two rows are equal by chance.

    For independent columns it is the product of the probabilities that two rows agree in each column.
    Dependent columns agree together, so the square root is taken. In a numeric column with mostly distinct
    values only duplicates agree; these are not counted as agreement by chance.
    """
    pairs = n * (n - 1) / 2
    duplicates = float(np.sum(counts * (counts - 1.0)) / 2)
    agreement = 1.0
    repeats = _repeats(cells.numbers)
    for place, column in enumerate(cells.codes.T):
        number = place - cells.n_categorical
        if number >= 0 and repeats[number]:
            continue
        levels = np.bincount(column + 1).astype(float)
        agreeing = float(np.sum(levels * (levels - 1)) / 2)
        if number >= 0 and np.count_nonzero(levels) > len(counts) / 2:
            agreeing -= duplicates
        agreement *= max(agreeing, 1.0) / pairs
    return float(np.sqrt(agreement))


def _repeats(numbers: Floats) -> NDArray[np.bool_]:
    """Return a mask (D,) of the numeric columns that repeat an earlier one."""
    centred = np.clip(numbers[:20_000], -1e3, 1e3)
    centred -= centred.mean(axis=0)
    spread = np.sqrt(np.sum(centred**2, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(centred.T @ centred) / np.outer(spread, spread)
    alike: NDArray[np.bool_] = np.any(np.triu(correlation >= _ALIKE, k=1), axis=0)
    return alike


def _near(cells: _Cells, same: Codes, parts: Parts) -> tuple[Duplicates, Mask]:
    """Return nearly equal rows, and a mask (N,) of the rows with one in an earlier part."""
    # One of several equal rows in each part is enough.
    _, first = np.unique(same * len(PARTS) + parts.codes, return_index=True)
    numbers, levels = cells.numbers[first], _numbered(cells.codes[first][:, : cells.n_categorical])
    width, grids = _NEAR * _CELL, []
    if numbers.shape[1]:
        informative = _most_informative(numbers)
        grids = [_candidates(numbers, levels, informative, width, 0)]
        while len(grids[0][0]) > _MOST_PAIRS * len(first) and width > 1e-9:
            width /= 2
            grids = [_candidates(numbers, levels, informative, width, 0)]
        grids += [_candidates(numbers, levels, informative, width, grid) for grid in range(1, _GRIDS)]
    epsilon, part, value = width / _CELL, parts.codes[first], same[first]
    pairs, distances = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for i, j in grids:
        for start in range(0, len(i), 1 << 16):
            a, b = i[start : start + (1 << 16)], j[start : start + (1 << 16)]
            across = (part[a] != part[b]) & (value[a] != value[b])
            a, b = a[across], b[across]
            distance = np.abs(numbers[a] - numbers[b]).max(axis=1, initial=0)
            close = distance <= 4 * epsilon
            pairs.append(a[close] * len(first) + b[close])
            distances.append(distance[close])
    found, places = np.unique(np.concatenate(pairs), return_index=True)
    near = np.concatenate(distances)[places] <= epsilon
    around = int(np.count_nonzero(~near))
    i, j = np.divmod(found[near], len(first))
    rows: dict[str, int] = {}
    kind = same * len(PARTS) + parts.codes  # rows of one kind are equal and in the same part
    weight, duplicated = np.bincount(kind), np.zeros(len(same), dtype=np.bool_)
    for pair in PAIRS:
        one, other = (PARTS.index(p) for p in pair.split("-"))
        forth, back = ((part[x] == one) & (part[y] == other) for x, y in ((i, j), (j, i)))
        there = np.concatenate([j[forth], i[back]])
        kinds = kind[first[np.unique(there)]]
        rows[pair] = int(weight[kinds].sum())
        duplicated |= np.isin(kind, kinds)
    a, b = np.where(part[i] <= part[j], i, j), np.where(part[i] <= part[j], j, i)
    both = (part[a] == 0) & (part[b] == 1)
    named = [(int(x) + 1, int(y) + 1) for x, y in zip(first[a[both]], first[b[both]], strict=True)]
    # Grids miss some of the pairs around, so chance is a half of them instead of a third.
    near_rows = Duplicates(rows, _shares(rows, parts), len(i), around / 2, tuple(sorted(named)[:NAMED]))
    return _unnamed_by_chance(near_rows), duplicated


def _candidates(
    numbers: Floats, levels: Codes, columns: Sequence[int], width: float, grid: int
) -> tuple[Codes, Codes]:
    """Return pairs of rows in the same cell of a grid over some numeric columns."""
    shift = uniform(key(0, DUPLICATES_RANDOM_KEY, grid), (numbers.shape[1],))
    cell = _numbered(np.column_stack([levels, *(_coded(numbers[:, c] / width + shift[c]) for c in columns)]))
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    sizes = np.bincount(cell)
    left, right, total = [], [], 0
    for step in range(1, int(min(sizes.max(initial=1), 64))):
        both = np.flatnonzero(ordered[step:] == ordered[:-step])
        left.append(order[both])
        right.append(order[both + step])
        total += len(both)
        if total > _MOST_PAIRS * len(numbers):  # the cells are too wide
            break
    if not left:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    i, j = np.concatenate(left), np.concatenate(right)
    return np.minimum(i, j), np.maximum(i, j)


def _coded(values: Floats) -> Codes:
    codes: Codes = pd.factorize(np.floor(values))[0].astype(np.int64)
    return codes


def _most_informative(numbers: Floats) -> list[int]:
    """Return the few columns with the most distinct values."""
    some = numbers[:4096]
    n_cells = [len(np.unique(np.floor(np.clip(some[:, c] * 2, -50, 50)))) for c in range(some.shape[1])]
    distinct = [len(np.unique(some[:, c])) for c in range(some.shape[1])]
    order = sorted(range(some.shape[1]), key=lambda c: (-distinct[c], -n_cells[c], c))
    return order[:_GRID_COLUMNS]


def _shares(rows: dict[str, int], parts: Parts) -> dict[str, float]:
    sizes = {f"{one}-{other}": parts.size(other) for one in PARTS for other in PARTS}
    return {pair: count / max(1, sizes[pair]) for pair, count in rows.items()}
