"""A table as the user gave it, checked, with one role for each of its columns.

Nothing is learned from the values here: no mean, no list of levels. That happens in `preprocess.py`, on
training rows alone.
"""

import difflib
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad.config import FileData, SimulatedData
from sweepgrad.data.columns import as_level, as_numbers, kind_of, level_order
from sweepgrad.data.file import complaint, content_of, locate, parse, words_read_as_missing
from sweepgrad.data.simulate import simulate
from sweepgrad.errors import UserError

Scalar = str | int | float | bool

UNFIT = (
    "holds neither numbers, text nor booleans but, say, dates or lists: convert it to one of these, or list "
    "it under data.drop"
)


@dataclass(frozen=True)
class Roles:
    """What each column is for; every column has exactly one role.

    `positive` is the target's value that counts as 1, `negative` the other one. `group` holds alternatives
    that each identify an individual: rows that agree in all columns of any one of them belong together.
    """

    target: str
    positive: Scalar
    negative: Scalar
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    group: tuple[tuple[str, ...], ...]
    dropped: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        return self.numeric + self.categorical


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with their labels.

    Attributes:
        name: the name the configuration gives it.
        frame: feature and group columns with their raw values, N rows, index 0 to N-1.
        y: labels 0 and 1, shape (N,), float64, read-only.
        roles: what each column is for.
        digest: SHA-256 of the file's bytes, or of the simulation's configuration.
        source: the file's absolute path, or "simulated".
        notices: what the user should be told, such as roles that were guessed.
    """

    name: str
    frame: pd.DataFrame
    y: NDArray[np.float64]
    roles: Roles
    digest: str
    source: str
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.y.shape != (len(self.frame),):
            raise ValueError(f"y must have shape ({len(self.frame)},), one label a row, not {self.y.shape}")
        self.y.flags.writeable = False

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, indices: NDArray[np.int64]) -> "Table":
        """The rows at these positions, in this order, with an index from 0 again."""
        return replace(self, frame=self.frame.iloc[indices].reset_index(drop=True), y=self.y[indices])

    def without(self, columns: Collection[str]) -> "Table":
        """The table with these feature columns dropped."""
        roles = replace(
            self.roles,
            numeric=tuple(name for name in self.roles.numeric if name not in columns),
            categorical=tuple(name for name in self.roles.categorical if name not in columns),
            dropped=(*self.roles.dropped, *columns),
        )
        return replace(self, frame=self.frame.drop(columns=list(columns)), roles=roles)


def read(config: FileData | SimulatedData) -> Table:
    """Read or draw the table that `config` describes.

    Raises:
        UserError: if the file cannot be read, or its columns do not fit their roles.
    """
    if isinstance(config, SimulatedData):
        return _simulated(config)
    path = locate(config)
    content = content_of(path, config.sha256)
    frame = parse(content, path)
    _check_names(frame.columns.tolist(), config, path)
    y, positive, negative, chosen = _labels(frame[config.target], config.positive, path)
    roles, guessed = _assign_roles(frame, config, positive, negative, path)
    _check_values(frame, roles, path)
    learned = {*roles.features, *(name for key in roles.group for name in key)}
    used = [name for name in frame.columns if name in learned]
    return Table(
        name=config.name,
        frame=frame[used],
        y=y,
        roles=roles,
        digest=hashlib.sha256(content).hexdigest(),
        source=str(path),
        notices=(*chosen, *guessed, *words_read_as_missing(content, path, frame[used])),
    )


def _simulated(config: SimulatedData) -> Table:
    frame = simulate(config)
    y = frame.pop("label").to_numpy(dtype=np.float64, copy=True)
    roles = Roles(
        target="label",
        positive=1,
        negative=0,
        numeric=tuple(frame.columns),
        categorical=(),
        group=(),
        dropped=(),
    )
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return Table(name=config.name, frame=frame, y=y, roles=roles, digest=digest, source="simulated")


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


def _check_names(columns: list[str], config: FileData, path: Path) -> None:
    """Refuse names that are not in the file, and columns with two roles."""
    named = _named(config)
    faults = [
        f"{key} names {name!r}, but the file has no such column{_nearest(name, columns)}"
        for key, names in {**named, "data.keep": config.keep}.items()
        for name in names
        if name not in columns
    ]
    for name in columns:
        keys = [key for key, names in named.items() for other in names if other == name]
        if len(keys) > 1:
            faults.append(f"column {name!r} is named by {' and by '.join(keys)}, but a column has one role")
    if faults:
        raise complaint(path, faults)


def _assign_roles(
    frame: pd.DataFrame, config: FileData, positive: Scalar, negative: Scalar, path: Path
) -> tuple[Roles, list[str]]:
    """The roles, and a notice for each that was guessed."""
    taken = {name for names in _named(config).values() for name in names}
    left = {name: kind_of(frame[name]) for name in frame.columns if name not in taken}
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


def _labels(
    target: "pd.Series[Any]", positive: Scalar | None, path: Path
) -> tuple[NDArray[np.float64], Scalar, Scalar, list[str]]:
    """Labels (N,), the positive and the negative value as in the file, and a notice if they were guessed."""
    missing = np.flatnonzero(target.isna())
    if missing.size:
        raise UserError(
            f"{path}: the target {target.name!r} is missing in {missing.size} of {len(target)} rows, first "
            f"in row {missing[0] + 1}; fill it in, or delete those rows"
        )
    if kind_of(target) is None:
        raise UserError(f"{path}: the target {target.name!r} {UNFIT}")
    counts: dict[Any, int] = target.astype(object).value_counts().to_dict()
    values: list[Scalar] = sorted(counts, key=lambda value: level_order(as_level(value)))
    if len(values) != 2:
        shown = ", ".join(f"{value!r} in {counts[value]} rows" for value in values[:5])
        raise UserError(
            f"{path}: the target {target.name!r} must have two values, but it has {len(values)}: {shown}"
            f"{', ...' if len(values) > 5 else ''}; name another column as data.target, or reduce it to two"
        )
    notices = []
    if positive is None:
        found = values[1]
        notices.append(f"data.positive is null: {found!r} counts as the positive value of {target.name!r}")
    else:
        equal = [value for value in values if value == positive]
        alike = equal or [value for value in values if as_level(value) == as_level(positive)]
        if not alike:
            hint = " (YAML reads an unquoted yes or no as that)" if isinstance(positive, bool) else ""
            raise UserError(
                f"{path}: data.positive is {positive!r}{hint}, but the target {target.name!r} has the values "
                f"{values[0]!r} and {values[1]!r}"
            )
        found = alike[0]
    (negative,) = (value for value in values if value is not found)
    return (target == found).to_numpy().astype(np.float64), found, negative, notices


def _check_values(frame: pd.DataFrame, roles: Roles, path: Path) -> None:
    """Refuse columns that are all missing, and values that do not fit the role of their column."""
    faults = []
    for name in dict.fromkeys((*roles.features, *(name for key in roles.group for name in key))):
        if frame[name].isna().all():
            faults.append(f"column {name!r} is missing in every row: list it under data.drop")
        elif name in roles.numeric:
            try:
                as_numbers(frame[name])
            except UserError as error:
                faults.append(
                    f"{error}; correct the file (an empty cell means missing), or list the column under "
                    "data.categorical or data.drop"
                )
        elif name in roles.categorical and kind_of(frame[name]) is None:
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
