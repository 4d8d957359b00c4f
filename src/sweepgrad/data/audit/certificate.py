"""The leak certificate of a table and its split: the leaks that were found, or that none were."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.data.io.columns import FrameColumns
from sweepgrad.data.leakage.duplicates import Duplicates, find
from sweepgrad.data.leakage.perturbation import GARBAGE, moved_by_garbage
from sweepgrad.data.leakage.target_copies import near_copy
from sweepgrad.data.preprocess.fit import fit_preprocessor
from sweepgrad.data.preprocess.transforms import Preprocessor
from sweepgrad.data.split import PARTS, Parts
from sweepgrad.data.table import Table

MOST_ROWS, MOST_VALUES = 100_000, 1 << 22
"""Limits for large tables: only the first rows of each part are searched, except for groups and digests."""

PART_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Certificate:
    """The leaks found in a table and its split: counts, column names and digests, but no value of any row.

    Attributes:
        table, digests: SHA-256 of the table, and of the row indices of each part.
        rows: the number of rows of each part.
        searched: the number of rows, the first of each part, that were searched for duplicates and for
            columns that predict the target, and used in the isolation test.
        groups: by key of data.group, the number of its values that are in more than one part.
        duplicates: rows that are equal in all features.
        near_duplicates: rows that are nearly equal in all features, see `duplicates.find`.
        duplicate_rows: the number of validation and test rows with a relevant duplicate in an earlier part.
        columns: the columns that alone predict the target on nearly all searched training rows, and their
            accuracy.
        moved: what changed in the preprocessing when validation and test rows were replaced by garbage; None
            if this could not be tested.
        untested: why it could not be tested; else empty.
    """

    table: str
    digests: dict[str, str]
    rows: dict[str, int]
    searched: int
    groups: dict[str, int]
    duplicates: Duplicates
    near_duplicates: Duplicates
    duplicate_rows: int
    columns: dict[str, float]
    moved: tuple[str, ...] | None
    untested: str = ""

    @property
    def found(self) -> tuple[str, ...]:
        """The leaks, as text; empty if there are none."""
        columns = self.columns.items()
        return (
            *(
                f"{name} alone predicts the target for {share:.1%} of training rows"
                for name, share in columns
            ),
            *(f"{n} groups of equal {key} are in more than one set" for key, n in self.groups.items() if n),
            *_across_sets(self.duplicates, "duplicate rows in different sets", "equal"),
            *_across_sets(self.near_duplicates, "near-duplicate rows in different sets", "nearly equal"),
            *([f"preprocessing depends on held-out rows: {', '.join(self.moved)}"] if self.moved else []),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the certificate for a file: the leaks, the isolation test, and what was not searched."""
        total = sum(self.rows.values())
        tested = "the table" if self.searched == total else f"{self.searched} rows of the table"
        return {
            "leaks": list(self.found),
            "table": self.table,
            "digests": self.digests,
            "rows": self.rows,
            "groups_across_parts": self.groups,
            "duplicates": _plain(self.duplicates),
            "near_duplicates": _plain(self.near_duplicates),
            "rows_with_duplicates": self.duplicate_rows,
            "columns_that_tell_the_target": self.columns,
            "preprocessing": {
                "unmoved": None if self.moved is None else not self.moved,
                "moved": list(self.moved or ()),
                "proven": (
                    f"fitted again on {tested} with all validation and test rows and their labels replaced by"
                    " garbage: the result is identical bit for bit"
                )
                if self.moved == ()
                else f"nothing was tested: {self.untested}"
                if self.moved is None
                else "nothing: the isolation test failed",
                "garbage": [GARBAGE[0]],
            },
            "left_out": list(self._left_out()),
        }

    def _left_out(self) -> Iterator[str]:
        total = sum(self.rows.values())
        if self.searched < total:
            some = f"only {self.searched} of {total} rows, the first of each set"
            yield f"searched for duplicates, near-duplicates and columns that predict the target: {some}"
            if self.moved is not None:
                yield f"used in the isolation test of the preprocessing: {some}"
        if self.moved is None:
            yield f"the isolation test of the preprocessing was not possible: {self.untested}"


def certify(
    table: Table,
    parts: Parts,
    preprocessor: Preprocessor,
    *,
    unexamined: Collection[str],
    progress: Callable[[str], None],
) -> Certificate:
    """Search a table and its split for leaks, independently of the code that made the split.

    Arguments:
        table: its features are the columns that are trained on.
        preprocessor: fitted to its training rows.
        unexamined: columns that are not checked for predicting the target.
        progress: called with progress messages.
    """
    frame, y, first, rows = head(table, parts)
    train = first.mask("train")
    progress("searching for duplicates")
    duplicates, near_duplicates, duplicate_rows = find(
        frame, table.roles.numeric, table.roles.categorical, first
    )
    columns = {
        name: share
        for name in table.roles.features
        if name not in unexamined
        and (share := near_copy(frame.loc[train, name], y[train], numeric=name in table.roles.numeric))
    }
    progress("testing that preprocessing does not depend on held-out rows")
    moved, untested = None, ""
    try:
        moved = _moved(table, frame, y, train, preprocessor, unexamined)
    except ValueError as error:
        untested = str(error)
    return Certificate(
        table=table.columns.digest,
        digests={part: parts.digest(part) for part in PARTS},
        rows={part: parts.size(part) for part in PARTS},
        searched=len(frame),
        groups=dict(_groups_across_parts(table, parts)),
        duplicates=_with_table_rows(duplicates, rows),
        near_duplicates=_with_table_rows(near_duplicates, rows),
        duplicate_rows=duplicate_rows,
        columns=columns,
        moved=moved,
        untested=untested,
    )


def head(table: Table, parts: Parts) -> tuple[pd.DataFrame, NDArray[np.int8], Parts, NDArray[np.int64]]:
    """Return the features, labels, parts and indices of the first rows of each part.

    Rows are in the order of the table. Parts are represented in proportion to their sizes, each with at least
    one row unless it is empty.
    """
    features = table.roles.features
    most = min(len(table), MOST_ROWS, max(1000, MOST_VALUES // len(features)))
    taken = np.zeros(len(table), dtype=np.bool_)
    for part in PARTS:
        rows = np.flatnonzero(parts.mask(part))
        taken[rows[: -(-most * len(rows) // len(table))]] = True
    blocks, start, last = [], 0, int(np.flatnonzero(taken)[-1])
    for block in table.columns.blocks(features):
        blocks.append(block[taken[start : start + len(block)]])
        start += len(block)
        if start > last:
            break
    frame = pd.concat(blocks, ignore_index=True)
    return frame, table.y[taken], Parts(parts.codes[taken]), np.flatnonzero(taken)


def _with_table_rows(found: Duplicates, rows: NDArray[np.int64]) -> Duplicates:
    """Replace row numbers among the searched rows by those in the table."""
    return replace(
        found, named=tuple((int(rows[one - 1]) + 1, int(rows[other - 1]) + 1) for one, other in found.named)
    )


def _moved(
    table: Table,
    frame: pd.DataFrame,
    y: NDArray[np.int8],
    train: NDArray[np.bool_],
    preprocessor: Preprocessor,
    unexamined: Collection[str],
) -> tuple[str, ...]:
    """Return what changes in the preprocessing when all rows but the training rows are garbage.

    Raises:
        ValueError: if this cannot be tested.
    """
    if not train.any() or train.all():
        raise ValueError(f"{'all' if train.any() else 'none'} of the {len(train)} rows are training rows")

    def fit(rows: pd.DataFrame, train: NDArray[np.bool_]) -> object:
        labels = y if rows is frame else np.where(train, y, 1 - y).astype(np.int8)
        found = fit_preprocessor(
            FrameColumns(rows, ""),
            labels,
            table.roles,
            train,
            unexamined=unexamined,
            progress=lambda text: None,
        )
        return found.preprocessor, found.findings

    original = (preprocessor, ()) if len(frame) == len(table) else fit(frame, train)
    return moved_by_garbage(fit, original, frame, train, rounds=1)


def _groups_across_parts(table: Table, parts: Parts) -> Iterator[tuple[str, int]]:
    """Yield each key and the number of its values that are in more than one part.

    It sorts the values, so that it is independent of the split, which uses a graph.
    """
    for key in table.roles.group:
        frame = table.columns.select(list(key), np.ones(len(table), dtype=np.bool_))
        known = frame.notna().all(axis=1).to_numpy()
        values = pd.util.hash_pandas_object(frame[known], index=False).to_numpy()
        order = np.argsort(values, kind="stable")
        codes = parts.codes[known][order]
        starts = np.flatnonzero(np.append(True, np.diff(values[order]) != 0)) if len(values) else order
        if len(values):
            mixed = np.minimum.reduceat(codes, starts) != np.maximum.reduceat(codes, starts)
            yield " and ".join(key), int(np.count_nonzero(mixed))
        else:
            yield " and ".join(key), 0


def _across_sets(found: Duplicates, title: str, relation: str) -> Iterator[str]:
    if not found.relevant:
        return
    counts = []
    for pair, n in found.rows.items():
        one, other = (PART_NAMES[part] for part in pair.split("-"))
        if n:
            counts.append(f"{n} {other} rows ({found.shares[pair]:.1%}) {relation} a {one} row")
    yield f"{title}: {', '.join(counts)}"


def _plain(found: Duplicates) -> dict[str, Any]:
    return {
        **asdict(found),
        "named": [list(pair) for pair in found.named],
        "beyond_chance": found.beyond_chance,
    }
