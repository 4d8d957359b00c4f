"""What is certified of a table and its split: that nothing leaks, or what does."""

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
from sweepgrad.data.preprocess.fit import learn
from sweepgrad.data.preprocess.transforms import Preprocessor
from sweepgrad.data.split import PARTS, Parts
from sweepgrad.data.table import Table

MOST_ROWS, MOST_VALUES = 100_000, 1 << 22
"""About how much is looked at of a big table, the first rows of each part, for all but groups and digests."""

PART_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Certificate:
    """Counts, names of columns and digests, and no value of any row.

    Attributes:
        table, digests: SHA-256 of the table, and of the row indices of each part.
        rows: of each part.
        looked_at: how many rows, the first of each part, were searched for twins and near copies, and served
            the proof.
        groups: how many values of each key of data.group lie in more than one part.
        twins: rows that are equal in all features; near: nearly equal; see `duplicates.find`.
        duplicate_rows: how many validation and test rows have a duplicate in an earlier part that counts.
        columns: those that alone tell the target on nearly all training rows looked at, and on which share.
        moved: what of the preprocessing changed when validation and test rows were replaced by garbage; None
            if nothing could be shown.
        unproven: why nothing could.
    """

    table: str
    digests: dict[str, str]
    rows: dict[str, int]
    looked_at: int
    groups: dict[str, int]
    twins: Duplicates
    near: Duplicates
    duplicate_rows: int
    columns: dict[str, float]
    moved: tuple[str, ...] | None
    unproven: str = ""

    @property
    def found(self) -> tuple[str, ...]:
        """What makes a figure dishonest, in words; empty when nothing does."""
        told = self.columns.items()
        return (
            *(f"{name} alone tells the target on {share:.1%} of training rows" for name, share in told),
            *(f"{n} groups of equal {key} lie in more than one part" for key, n in self.groups.items() if n),
            *_told(self.twins, "equal in every feature to"),
            *_told(self.near, "all but equal to"),
            *([f"preprocessing depends on held-out rows: {', '.join(self.moved)}"] if self.moved else []),
        )

    def to_json(self) -> dict[str, Any]:
        """For a file: what was found, what was proven and how, and what was left out."""
        total = sum(self.rows.values())
        whole = self.looked_at == total
        return {
            "leaks": list(self.found),
            "table": self.table,
            "digests": self.digests,
            "rows": self.rows,
            "groups_across_parts": self.groups,
            "duplicates": _plain(self.twins),
            "near_duplicates": _plain(self.near),
            "rows_with_duplicates": self.duplicate_rows,
            "columns_that_tell_the_target": self.columns,
            "preprocessing": {
                "unmoved": None if self.moved is None else not self.moved,
                "moved": list(self.moved or ()),
                "proven": (
                    f"refitted on {'the table' if whole else f'{self.looked_at} rows of it'} with all"
                    " validation and test rows, their labels too, replaced by garbage: the result is the same"
                    " to the bit"
                )
                if self.moved == ()
                else f"nothing was proven: {self.unproven}"
                if self.moved is None
                else "nothing",
                "garbage": [GARBAGE[0]],
            },
            "left_out": list(self._left_out()),
        }

    def _left_out(self) -> Iterator[str]:
        total = sum(self.rows.values())
        if self.looked_at < total:
            some = f"{self.looked_at} of {total} rows, the first of each part"
            yield f"twins, near twins and columns that tell the target were looked for in {some}"
            if self.moved is not None:
                yield f"whether held-out rows have a say in the preprocessing was tried on {some}"
        if self.moved is None:
            yield f"whether held-out rows have a say in the preprocessing was not shown: {self.unproven}"


def certify(
    table: Table,
    parts: Parts,
    learned: Preprocessor,
    *,
    unexamined: Collection[str],
    tell: Callable[[str], None],
) -> Certificate:
    """Look for leaks in a table and its split, independently of what made the split.

    Arguments:
        table: with the columns that are learned from, and no others.
        learned: from its training rows.
        unexamined: columns that may tell the target.
        tell: told how far things are.
    """
    frame, y, first, rows = head(table, parts)
    train = first.mask("train")
    tell("looking for twins")
    twins, near, duplicate_rows = find(frame, table.roles.numeric, table.roles.categorical, first)
    columns = {
        name: share
        for name in table.roles.features
        if name not in unexamined
        and (share := near_copy(frame.loc[train, name], y[train], numeric=name in table.roles.numeric))
    }
    tell("proving that no held-out row was learned from")
    moved, unproven = None, ""
    try:
        moved = _moved(table, frame, y, train, learned, unexamined)
    except ValueError as error:
        unproven = str(error)
    return Certificate(
        table=table.columns.digest,
        digests={part: parts.digest(part) for part in PARTS},
        rows={part: parts.size(part) for part in PARTS},
        looked_at=len(frame),
        groups=dict(_crossing(table, parts)),
        twins=_renumbered(twins, rows),
        near=_renumbered(near, rows),
        duplicate_rows=duplicate_rows,
        columns=columns,
        moved=moved,
        unproven=unproven,
    )


def head(table: Table, parts: Parts) -> tuple[pd.DataFrame, NDArray[np.int8], Parts, NDArray[np.int64]]:
    """The features, labels and parts of the first rows of each part, as many as it has its share, and which.

    They stay in the order of the table. Where a part has rows, one of them at least is taken.
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
    return frame, table.y[taken], Parts(parts.of[taken]), np.flatnonzero(taken)


def _renumbered(twins: Duplicates, rows: NDArray[np.int64]) -> Duplicates:
    """With the numbers of rows in the table in place of those among these rows."""
    return replace(
        twins, named=tuple((int(rows[one - 1]) + 1, int(rows[other - 1]) + 1) for one, other in twins.named)
    )


def _moved(
    table: Table,
    frame: pd.DataFrame,
    y: NDArray[np.int8],
    train: NDArray[np.bool_],
    learned: Preprocessor,
    unexamined: Collection[str],
) -> tuple[str, ...]:
    """What changes of what is learned from these rows when all but the training rows are garbage.

    Raises:
        ValueError: nothing can be shown.
    """
    if not train.any() or train.all():
        raise ValueError(
            f"of the {len(train)} rows looked at {'all' if train.any() else 'none'} are for training"
        )

    def fit(rows: pd.DataFrame, train: NDArray[np.bool_]) -> object:
        labels = y if rows is frame else np.where(train, y, 1 - y).astype(np.int8)
        found = learn(
            FrameColumns(rows, ""), labels, table.roles, train, unexamined=unexamined, tell=lambda text: None
        )
        return found.preprocessor, found.findings

    honest = (learned, ()) if len(frame) == len(table) else fit(frame, train)
    return moved_by_garbage(fit, honest, frame, train, turns=1)


def _crossing(table: Table, parts: Parts) -> Iterator[tuple[str, int]]:
    """How many values of each key lie in more than one part: by sorting, where the split goes by a graph."""
    for key in table.roles.group:
        frame = table.columns.select(list(key), np.ones(len(table), dtype=np.bool_))
        known = frame.notna().all(axis=1).to_numpy()
        values = pd.util.hash_pandas_object(frame[known], index=False).to_numpy()
        order = np.argsort(values, kind="stable")
        of = parts.of[known][order]
        starts = np.flatnonzero(np.append(True, np.diff(values[order]) != 0)) if len(values) else order
        mixed = np.minimum.reduceat(of, starts) != np.maximum.reduceat(of, starts) if len(values) else of
        yield " and ".join(key), int(np.count_nonzero(mixed))


def _told(twins: Duplicates, how: str) -> Iterator[str]:
    if not twins.count:
        return
    said = []
    for pair, n in twins.rows.items():
        one, other = (PART_NAMES[part] for part in pair.split("-"))
        if n:
            said.append(f"{n} of {other} ({twins.shares[pair]:.1%}) {how} one of {one}")
    yield f"rows have twins in another part: {', '.join(said)}"


def _plain(twins: Duplicates) -> dict[str, Any]:
    return {
        **asdict(twins),
        "named": [list(pair) for pair in twins.named],
        "beyond_chance": twins.beyond_chance,
    }
