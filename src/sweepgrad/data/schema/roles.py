"""What each column of a table is for: told by the configuration, or by the column's type."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweepgrad.config.data import FileData, Transform
from sweepgrad.data.io.columns import Columns
from sweepgrad.data.io.files import complaint
from sweepgrad.data.schema.column_types import check_numbers, kind_of
from sweepgrad.errors import UserError
from sweepgrad.tasks.encoding import Scalar

UNFIT = (
    "holds neither numbers, text nor booleans but, say, dates or lists: convert it to one of these, or list "
    "it under data.drop"
)


@dataclass(frozen=True)
class Roles:
    """What each column is for; every column has exactly one role.

    `positive` is the target's value that counts as 1, `negative` the other one. `group` holds alternatives
    that each identify an individual: rows that agree in all columns of any one of them belong together.
    `transforms` says what is done to numeric columns that are not merely standardized.
    """

    target: str
    positive: Scalar
    negative: Scalar
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    group: tuple[tuple[str, ...], ...]
    dropped: tuple[str, ...]
    transforms: Mapping[str, Transform] = field(default_factory=dict)

    @property
    def features(self) -> tuple[str, ...]:
        return self.numeric + self.categorical

    @property
    def grouping(self) -> tuple[str, ...]:
        """The columns of `group`, each once."""
        return tuple(dict.fromkeys(name for key in self.group for name in key))


def _named(config: FileData) -> dict[str, tuple[str, ...]]:
    """The columns that each key of the configuration names."""
    group = dict.fromkeys(name for key in _alternatives(config.group) for name in key)
    return {
        "data.target": (config.target,),
        "data.numeric": config.numeric or (),
        "data.categorical": config.categorical or (),
        "data.group": tuple(group),
        "data.drop": config.drop,
    }


def _transformed(config: FileData) -> tuple[str, ...]:
    """The columns that have a transform of their own."""
    return () if isinstance(config.transform, str) else tuple(dict(config.transform))


def check_names(columns: list[str], config: FileData, path: Path) -> None:
    """Refuse names that are not in the file, and columns with two roles."""
    named = _named(config)
    without_role = {"data.keep": config.keep, "data.transform": _transformed(config)}
    faults = [
        f"{key} names {name!r}, but the file has no such column{_nearest(name, columns)}"
        for key, names in {**named, **without_role}.items()
        for name in names
        if name not in columns
    ]
    for name in columns:
        keys = [key for key, names in named.items() for other in names if other == name]
        if len(keys) > 1:
            faults.append(f"column {name!r} is named by {' and by '.join(keys)}, but a column has one role")
    if faults:
        raise complaint(path, faults)


def assign_roles(
    columns: Columns, config: FileData, positive: Scalar, negative: Scalar, path: Path
) -> tuple[Roles, list[str]]:
    """The roles, and a notice for each that was guessed."""
    taken = {name for names in _named(config).values() for name in names}
    left = {name: kind_of(columns.column(name)) for name in columns.names if name not in taken}
    numeric = [name for name, kind in left.items() if kind == "numeric" and config.numeric is None]
    categorical = [
        name for name, kind in left.items() if kind == "categorical" and config.categorical is None
    ]
    roles = Roles(
        target=config.target,
        positive=positive,
        negative=negative,
        numeric=(*(config.numeric or ()), *numeric),
        categorical=(*(config.categorical or ()), *categorical),
        group=_alternatives(config.group),
        dropped=config.drop,
        transforms={name: config.transform_of(name) for name in (*(config.numeric or ()), *numeric)},
    )
    faults = [f"column {name!r} {UNFIT}" for name, kind in left.items() if kind is None]
    without = [name for name, kind in left.items() if kind is not None and name not in roles.features]
    if without:
        faults.append(
            f"no role is given to {_listed(without)}: each goes under data.numeric, data.categorical or "
            "data.drop"
        )
    if not faults:
        faults.extend(
            f"data.keep names {name!r}, which is not a feature, so there is nothing to keep"
            for name in config.keep
            if name not in roles.features
        )
        faults.extend(
            f"data.transform names {name!r}, which is not a number column (see data.numeric)"
            for name in _transformed(config)
            if name not in roles.numeric
        )
        if config.transform != "standardize" and not roles.numeric:
            faults.append(
                "data.transform has no effect without a number column; say data.transform: standardize"
            )
        if not roles.features:
            faults.append("no column is left to learn from; see data.numeric, data.categorical and data.drop")
    if faults:
        raise complaint(path, faults)
    notices = [
        f"{key} is null, so by their type it has {_listed(names)}"
        for key, names in (("data.numeric", numeric), ("data.categorical", categorical))
        if names
    ]
    return roles, notices


def _alternatives(
    group: str | tuple[str, ...] | tuple[tuple[str, ...], ...] | None,
) -> tuple[tuple[str, ...], ...]:
    if not group:
        return ()
    if isinstance(group, str):
        return ((group,),)
    keys = [name for name in group if isinstance(name, tuple) and name]
    columns = tuple(name for name in group if isinstance(name, str))
    return (columns, *keys) if columns else tuple(keys)


def check_values(columns: Columns, roles: Roles, path: Path) -> None:
    """Refuse columns that are all missing, and values that do not fit the role of their column."""
    faults = []
    for name in dict.fromkeys((*roles.features, *roles.grouping)):
        if all(block.isna().all() for block in columns.column(name)):
            faults.append(f"column {name!r} is missing in every row: list it under data.drop")
        elif name in roles.numeric:
            try:
                check_numbers(columns.column(name))
            except UserError as error:
                faults.append(
                    f"{error}; correct the file (an empty cell means missing), or list the column under "
                    "data.categorical or data.drop"
                )
        elif name in roles.categorical and kind_of(columns.column(name)) is None:
            faults.append(f"column {name!r} {UNFIT}")
    if faults:
        raise complaint(path, faults)


def _nearest(name: str, columns: list[str]) -> str:
    near = difflib.get_close_matches(name, columns, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; it has {_listed(columns[:10])}{', ...' if len(columns) > 10 else ''}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(str(name) for name in names)
