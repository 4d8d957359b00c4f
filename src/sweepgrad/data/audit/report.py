"""A table looked at before anything is trained: what it holds, what is wrong with it, and what to do."""

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
from sweepgrad.data.preprocess.fit import Learned, learn
from sweepgrad.data.schema.roles import Roles
from sweepgrad.data.split import Parts
from sweepgrad.data.table import Table

RARE = 5  # training rows of a level
LOPSIDED = 0.1  # the share of a class below which its rows are few to learn from
_AGREE = 0.8  # of twins, in a column that may name what they are


@dataclass(frozen=True)
class Groups:
    """What data.group makes of the rows."""

    number: int
    largest: int


@dataclass(frozen=True)
class CheckReport:
    """What a table is like. Of validation and test rows it has counts, and nothing of any single one.

    Attributes:
        notices: such as roles that were guessed.
        positives: the share of positive rows, of all.
        findings: columns that training drops or refuses.
        certificate: of the columns that are left.
        missing: the share of training rows without a value, by column.
        rare: how many levels have fewer than `RARE` training rows, by column.
        unseen: how many validation and test rows have a level that no training row has, by column.
        group_by: a column that tells which rows belong together, if one was found for twins.
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
        """What would make a figure worth nothing, in words."""
        refused = (finding.reason for finding in self.findings if finding.refused)
        return (*refused, *self.certificate.found)

    @property
    def majority(self) -> float:
        """The accuracy of always giving the commoner answer, on all rows."""
        return max(self.positives, 1 - self.positives)

    @property
    def remedies(self) -> tuple[str, ...]:
        """Overrides that mend it, for behind `sweepgrad train`."""
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


def look(
    table: Table,
    parts: Parts,
    notices: tuple[str, ...],
    *,
    unexamined: Collection[str],
    tell: Callable[[str], None],
) -> CheckReport:
    """Look at a table that was split into parts.

    Arguments:
        notices: what the user should be told of how it was read and split.
        unexamined: columns that may be like anything.
        tell: told how far things are.
    """
    train = parts.mask("train")

    def learned(unexamined: Collection[str]) -> Learned:
        return learn(table.columns, table.y, table.roles, train, unexamined=unexamined, tell=tell)

    found = learned(unexamined)
    fit, preprocessor = table.without([o.column for o in found.findings]), found.preprocessor
    if not fit.roles.features:
        fit, unexamined = table, table.roles.features
        preprocessor = learned(unexamined).preprocessor
    certificate = certify(fit, parts, preprocessor, unexamined=unexamined, tell=tell)
    missing, rare, unseen = {}, {}, {}
    for name in fit.roles.features:
        column = table.columns.select([name], np.ones(len(table), dtype=np.bool_))[name]
        if (share := float(column[train].isna().mean())) > 0:
            missing[name] = share
        if name in fit.roles.categorical:
            counts = column[train].value_counts()
            counts = counts[counts > 0]
            if n := int((counts < RARE).sum()):
                rare[name] = n
            if n := int((~column[~train].isin(counts.index) & column[~train].notna()).sum()):
                unseen[name] = n
        tell(f"{name} looked at")
    units = table.units()
    frame, _, first, rows = head(fit, parts)
    alone: NDArray[np.int64] = np.unique(units[rows], return_index=True)[1]
    frame, first = frame.iloc[alone].reset_index(drop=True), Parts(first.of[alone])
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
        drift=tuple(drifts(fit, frame, first)),
        groups=Groups(int(units.max()) + 1, int(np.bincount(units).max())) if table.roles.group else None,
        group_by=_group_by(fit, certificate),
    )


def _group_by(table: Table, certificate: Certificate) -> str | None:
    """The column, learned from or not, in which twins of training and validation rows agree, if there is one.

    Of several the one with the most values. Rows that are no twins must not agree in it.
    """
    sorts = [twins.named for twins in (certificate.twins, certificate.near) if twins.count]
    pairs = [pair for named in sorts for pair in named]
    known = {*table.roles.features, *table.roles.grouping, table.roles.target}
    best: tuple[int, str] | None = None
    for name in table.columns.names if pairs else ():
        if name in known:
            continue
        values = pd.concat(list(table.columns.column(name)), ignore_index=True)
        try:
            codes, levels = pd.factorize(values)
        except TypeError:  # of lists, say
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
    """A column's name as Hydra reads it."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
