"""Column roles, given by the configuration or inferred from column types."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweepgrad.config.data import FileData, Transform
from sweepgrad.data.io.columns import Columns
from sweepgrad.data.io.files import file_error
from sweepgrad.data.schema.column_types import check_numbers, kind_of
from sweepgrad.errors import UserError
from sweepgrad.tasks.encoding import Scalar

UNFIT = (
    "has values that are neither numbers, text nor booleans, such as dates or lists: convert it, or add it "
    "to data.drop"
)


@dataclass(frozen=True)
class Roles:
    """The role of each column; every column has exactly one.

    Attributes:
        positive: the target's value that is encoded as 1; `negative` is the other one.
        group: keys that each identify an individual: rows that are equal in all columns of any key belong
            together.
        transforms: the transform of each numeric column.
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
        """The columns of `group`, without repetition."""
        return tuple(dict.fromkeys(name for key in self.group for name in key))


def _named(config: FileData) -> dict[str, tuple[str, ...]]:
    """Return the columns that each configuration key lists."""
    group = dict.fromkeys(name for key in _alternatives(config.group) for name in key)
    return {
        "data.target": (config.target,),
        "data.numeric": config.numeric or (),
        "data.categorical": config.categorical or (),
        "data.group": tuple(group),
        "data.drop": config.drop,
    }


def _transformed(config: FileData) -> tuple[str, ...]:
    """Return the columns that have their own transform."""
    return () if isinstance(config.transform, str) else tuple(dict(config.transform))


def check_names(columns: list[str], config: FileData, path: Path) -> None:
    """Raise a UserError for names that are not in the file, and for columns with two roles."""
    named = _named(config)
    without_role = {"data.keep": config.keep, "data.transform": _transformed(config)}
    problems = [
        f"{key}: the file has no column {name!r}{_nearest(name, columns)}"
        for key, names in {**named, **without_role}.items()
        for name in names
        if name not in columns
    ]
    for name in columns:
        keys = [key for key, names in named.items() for other in names if other == name]
        if len(keys) > 1:
            problems.append(f"column {name!r} is in {' and in '.join(keys)}: list it in only one of them")
    if problems:
        raise file_error(path, problems)


class InferredColumns(str):
    """A notice that the columns of a role were inferred from their types.

    Attributes:
        role: numeric or categorical.
    """

    role: str

    def __new__(cls, text: str, role: str = "") -> "InferredColumns":
        notice = super().__new__(cls, text)
        notice.role = role
        return notice


def assign_roles(
    columns: Columns, config: FileData, positive: Scalar, negative: Scalar, path: Path
) -> tuple[Roles, list[InferredColumns]]:
    """Return the roles, and a notice for each key whose columns were inferred."""
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
    problems = [f"column {name!r} {UNFIT}" for name, kind in left.items() if kind is None]
    without = [name for name, kind in left.items() if kind is not None and name not in roles.features]
    if without:
        problems.append(
            f"columns without a role: {_listed(without)}. Add each to data.numeric, data.categorical or "
            "data.drop"
        )
    if not problems:
        problems.extend(
            f"data.keep: {name!r} is not a feature column; remove it from data.keep"
            for name in config.keep
            if name not in roles.features
        )
        problems.extend(
            f"data.transform: {name!r} is not a numeric column; remove it, or add it to data.numeric"
            for name in _transformed(config)
            if name not in roles.numeric
        )
        if config.transform != "standardize" and not roles.numeric:
            problems.append(
                "data.transform has no effect without a numeric column; set data.transform=standardize"
            )
        if not roles.features:
            problems.append("no feature column is left; check data.numeric, data.categorical and data.drop")
    if problems:
        raise file_error(path, problems)
    notices = [
        InferredColumns(f"data.{kind} is not set: using the {kind} columns {_listed(names)}", kind)
        for kind, names in (("numeric", numeric), ("categorical", categorical))
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
    """Raise a UserError for columns without values, and for values that do not fit their column's role."""
    problems = []
    for name in dict.fromkeys((*roles.features, *roles.grouping)):
        if all(block.isna().all() for block in columns.column(name)):
            problems.append(f"column {name!r} is missing in every row: add it to data.drop")
        elif name in roles.numeric:
            try:
                check_numbers(columns.column(name))
            except UserError as error:
                problems.append(
                    f"{error}. Correct the file (leave missing values empty), or add the column to "
                    "data.categorical or data.drop"
                )
        elif name in roles.categorical and kind_of(columns.column(name)) is None:
            problems.append(f"column {name!r} {UNFIT}")
    if problems:
        raise file_error(path, problems)


def _nearest(name: str, columns: list[str]) -> str:
    near = difflib.get_close_matches(name, columns, n=3)
    if near:
        return f". Did you mean {' or '.join(near)}?"
    return f". Its columns are {_listed(columns[:10])}{', ...' if len(columns) > 10 else ''}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(str(name) for name in names)
