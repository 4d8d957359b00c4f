"""Check a table before training: its contents, its problems and their remedies."""

import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.data.audit.certificate import Certificate, certify, head
from sweepgrad.data.leakage.columns import ColumnFinding
from sweepgrad.data.leakage.drift import Drift, drifts
from sweepgrad.data.preprocess.fit import PreprocessorFit, fit_preprocessor
from sweepgrad.data.schema.roles import Roles
from sweepgrad.data.split import Parts
from sweepgrad.data.table import Table

RARE = 5  # training rows: levels with fewer are reported
RARE_CLASS = 0.1  # share of rows: a smaller class is reported as rare
_AGREE = 0.8  # share of duplicate pairs that agree in a column that may group them


@dataclass(frozen=True)
class Groups:
    """The number and the largest size of the groups of data.group."""

    number: int
    largest: int


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a table; of validation and test rows it has counts only.

    Attributes:
        notices: messages to the user, such as roles inferred from column types.
        positives: the share of positive rows in the table.
        findings: columns that training drops or refuses.
        certificate: of the remaining columns.
        missing: the share of training rows without a value, by column.
        rare: the number of levels with fewer than `RARE` training rows, by column.
        unseen: the number of validation and test rows with a level that no training row has, by column.
        group_by: a column that groups the duplicates found, if there is one.
    """

    name: str
    source: str
    roles: Roles
    notices: tuple[str, ...]
    positives: float
    findings: tuple[ColumnFinding, ...]
    certificate: Certificate
    missing: dict[str, float]
    rare: dict[str, int]
    unseen: dict[str, int]
    drift: tuple[Drift, ...]
    groups: Groups | None
    group_by: str | None

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems that would make results meaningless, as text."""
        refused = (finding.reason for finding in self.findings if finding.refused)
        return (*refused, *self.certificate.found)

    @property
    def majority(self) -> float:
        """The accuracy of always predicting the majority class, on all rows."""
        return max(self.positives, 1 - self.positives)

    @property
    def remedies(self) -> tuple[str, ...]:
        """Overrides for `sweepgrad train` that fix the problems."""
        found = []
        unfit = [o.column for o in self.findings if o.column != self.group_by] + [*self.certificate.columns]
        if unfit:
            dropped = (*(name for name in self.roles.dropped if name != self.group_by), *unfit)
            found.append(f"data.drop={_listed(dropped)}")
        if self.group_by:
            keys = [_listed(key) for key in (*self.roles.group, (self.group_by,))]
            group = f"[{','.join(keys)}]" if len(keys) > 1 else _named(self.group_by)
            if not unfit and self.group_by in self.roles.dropped:
                dropped = tuple(name for name in self.roles.dropped if name != self.group_by)
                found.append(f"data.drop={_listed(dropped)}")
            found.append(f"data.group={group}")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "problems": list(self.problems),
            "remedies": list(self.remedies),
            "roles": asdict(self.roles),
            "notices": list(self.notices),
            "positives": self.positives,
            "majority": self.majority,
            "findings": [asdict(finding) for finding in self.findings],
            "missing": self.missing,
            "rare_levels": self.rare,
            "unseen_levels": self.unseen,
            "drift": [asdict(drift) for drift in self.drift],
            "groups": self.groups and asdict(self.groups),
            "certificate": self.certificate.to_json(),
        }


def check_table(
    table: Table,
    parts: Parts,
    notices: tuple[str, ...],
    *,
    unexamined: Collection[str],
    progress: Callable[[str], None],
) -> CheckReport:
    """Check a table that was split into parts.

    Arguments:
        notices: messages to the user on how it was read and split.
        unexamined: columns that are not checked.
        progress: called with progress messages.
    """
    train = parts.mask("train")

    def fitted(unexamined: Collection[str]) -> PreprocessorFit:
        return fit_preprocessor(
            table.columns, table.y, table.roles, train, unexamined=unexamined, progress=progress
        )

    found = fitted(unexamined)
    usable, preprocessor = table.without([o.column for o in found.findings]), found.preprocessor
    if not usable.roles.features:
        usable, unexamined = table, table.roles.features
        preprocessor = fitted(unexamined).preprocessor
    certificate = certify(usable, parts, preprocessor, unexamined=unexamined, progress=progress)
    missing, rare, unseen = {}, {}, {}
    for name in usable.roles.features:
        column = table.columns.select([name], np.ones(len(table), dtype=np.bool_))[name]
        if (share := float(column[train].isna().mean())) > 0:
            missing[name] = share
        if name in usable.roles.categorical:
            counts = column[train].value_counts()
            counts = counts[counts > 0]
            if n := int((counts < RARE).sum()):
                rare[name] = n
            if n := int((~column[~train].isin(counts.index) & column[~train].notna()).sum()):
                unseen[name] = n
        progress(f"column {name} checked")
    units = table.units()
    frame, _, first, rows = head(usable, parts)
    one_per_unit: NDArray[np.int64] = np.unique(units[rows], return_index=True)[1]
    frame, first = frame.iloc[one_per_unit].reset_index(drop=True), Parts(first.codes[one_per_unit])
    return CheckReport(
        name=table.name,
        source=table.source,
        roles=table.roles,
        notices=notices,
        positives=float(np.mean(table.y)),
        findings=found.findings,
        certificate=certificate,
        missing=missing,
        rare=rare,
        unseen=unseen,
        drift=tuple(drifts(usable, frame, first)),
        groups=Groups(int(units.max()) + 1, int(np.bincount(units).max())) if table.roles.group else None,
        group_by=_group_by(usable, certificate),
    )


def _group_by(table: Table, certificate: Certificate) -> str | None:
    """Return the column in which duplicates in the training and validation sets agree, if there is one.

    Of several columns it is the one with the most values. Other rows must not agree in it.
    """
    kinds = (certificate.duplicates, certificate.near_duplicates)
    pairs = [pair for found in kinds if found.relevant for pair in found.named]
    known = {*table.roles.features, *table.roles.grouping, table.roles.target}
    best: tuple[int, str] | None = None
    for name in table.columns.names if pairs else ():
        if name in known:
            continue
        values = pd.concat(list(table.columns.column(name)), ignore_index=True)
        try:
            codes, levels = pd.factorize(values)
        except TypeError:  # values that are not hashable, such as lists
            continue
        one, other = (codes[np.array(side) - 1] for side in zip(*pairs, strict=True))
        agree = float(np.mean((one == other) & (one >= 0)))
        by_chance = float(np.sum((np.bincount(codes[codes >= 0]) / max(1, len(codes))) ** 2))
        if agree >= _AGREE and by_chance < 0.05 and (best is None or len(levels) > best[0]):
            best = (len(levels), name)
    return best and best[1]


def _listed(names: Collection[str]) -> str:
    return f"[{','.join(map(_named, names))}]"


def _named(name: str) -> str:
    """Return a column's name as Hydra reads it."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
