"""Find columns that differ significantly between the training rows and another part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from sweepgrad.data.schema.column_types import as_numbers
from sweepgrad.data.split import Part, Parts
from sweepgrad.data.table import Table

LEVEL = 0.01  # the probability that any column of a table is reported by chance
_EXPECTED = 5  # rows of a level: rarer levels are pooled


@dataclass(frozen=True)
class Drift:
    """A column that differs between the training rows and another part, with its corrected p-value."""

    column: str
    part: Part
    p: float


def drifts(table: Table, frame: pd.DataFrame, parts: Parts) -> Iterator[Drift]:
    """Yield columns that differ, by a two-sample test each, with Bonferroni's correction.

    Numeric columns use the Kolmogorov-Smirnov test with its asymptotic distribution, categorical ones
    Pearson's chi-square test with rare levels pooled. The tests assume independent rows: pass one of each
    group.

    Arguments:
        frame: features of N rows.
        parts: the parts of these rows.
    """
    others: tuple[Part, ...] = ("val", "test")
    tests = len(others) * len(table.roles.features)
    for name in table.roles.features:
        for part in others:
            one, other = frame.loc[parts.mask("train"), name], frame.loc[parts.mask(part), name]
            if one.empty or other.empty:
                continue
            p = _of_numbers(one, other) if name in table.roles.numeric else _of_levels(one, other)
            if p * tests < LEVEL:
                yield Drift(name, part, p * tests)


def _of_numbers(one: "pd.Series[Any]", other: "pd.Series[Any]") -> float:
    a, b = (np.sort(np.nan_to_num(as_numbers(column), nan=-np.inf)) for column in (one, other))
    values = np.concatenate([a, b])
    distance = np.abs(
        np.searchsorted(a, values, "right") / a.size - np.searchsorted(b, values, "right") / b.size
    ).max()
    return float(kolmogorov(distance * np.sqrt(a.size * b.size / (a.size + b.size))))


def _of_levels(one: "pd.Series[Any]", other: "pd.Series[Any]") -> float:
    codes, levels = pd.factorize(pd.concat([one, other], ignore_index=True), use_na_sentinel=False)
    counts: NDArray[np.float64] = np.stack(
        [np.bincount(some, minlength=len(levels)) for some in (codes[: len(one)], codes[len(one) :])]
    ).astype(np.float64)
    rare = counts.sum(axis=0) * min(len(one), len(other)) / codes.size < _EXPECTED
    pooled = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    if pooled.shape[1] < 2:
        return 1.0
    expected = np.outer(pooled.sum(axis=1), pooled.sum(axis=0)) / pooled.sum()
    return float(chdtrc(pooled.shape[1] - 1, np.sum((pooled - expected) ** 2 / expected)))
