"""The arguments that the functions of the API share."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RUNS = Path("runs")  # below the current folder
TABLES = RUNS / "tables"
_NAME = "frame"  # of a DataFrame without data.name
_OWN = ("data.path", "data.sha256")  # keys that the argument `data` sets


def overrides_for(
    overrides: Sequence[str], data: "pd.DataFrame | str | Path | None" = None, target: str | None = None
) -> list[str]:
    """Return overrides with those that follow from a table and its target.

    A DataFrame is written to a Parquet file in `runs/tables` below the current folder.

    Raises:
        UserError: the arguments do not go together, or the frame cannot be written.
    """
    lines = _lines(overrides)
    if data is None and target is None:
        return lines
    if data is not None:
        lines = [*_table(lines, data), *lines]
    if target is not None:
        if not isinstance(target, str):
            raise UserError(f"target: must be the name of a column, not {target!r}")
        if _value(lines, "data.target") is not None:
            raise UserError("target: data.target is among the overrides too; give one of them")
        lines.append(f"data.target={quoted(target)}")
    return lines


def _lines(overrides: Sequence[str]) -> list[str]:
    if isinstance(overrides, str):
        raise UserError(f"overrides: must be a list of strings, as in {overrides.split()!r}")
    lines = list(overrides)
    for line in lines:
        if not isinstance(line, str):
            raise UserError(f"overrides: must be strings such as 'model=wide', not {line!r}")
        if line.startswith("-"):
            raise UserError(
                f"overrides: {line} is a flag of the command line; use the arguments of this function instead"
            )
    return lines


def _table(lines: Sequence[str], data: "pd.DataFrame | str | Path") -> list[str]:
    """Return the overrides that say where a table is."""
    for key in _OWN:
        if _value(lines, key) is not None:
            raise UserError(f"data: {key} is among the overrides too; give one of them")
    group = _value(lines, "data")
    if group not in (None, "csv"):
        raise UserError(f"data: data={group} among the overrides names another table; leave it out")
    found = [] if group else ["data=csv"]
    if isinstance(data, str | os.PathLike):
        return [*found, f"data.path={quoted(os.path.abspath(data))}"]
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        raise UserError(f"data: must be a pandas DataFrame or the path of a file, not {type(data).__name__}")
    from sweepgrad.data.io.frames import write_frame

    name = _value(lines, "data.name")
    try:
        path, digest = write_frame(data, TABLES, re.sub(r"[^\w.-]+", "_", name or _NAME))
    except OSError as error:
        raise UserError(f"data: cannot write {error.filename}: {error.strerror}") from None
    found += [] if name else [f"data.name={_NAME}"]
    return [*found, f"data.path={quoted(str(path))}", f"data.sha256={quoted(digest)}"]


def _value(lines: Sequence[str], key: str) -> str | None:
    """Return the value that overrides give to a key, if they give one."""
    for line in reversed(lines):
        name, equals, value = line.lstrip("+").partition("=")
        if equals and name.strip() == key:
            return value.strip().strip("\"'")
    return None


def quoted(text: str) -> str:
    """Return text as a quoted value of an override."""
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), text)
    return f'"{escaped}"'


def runs_of(folder: Path | None) -> Path:
    """Return the `runs` folder that a sweep or a run is in; the one below the current folder if unknown."""
    parents = folder.parents if folder is not None else ()
    return next((parent for parent in parents if parent.name == RUNS.name), RUNS)


def search_path(config_dir: str | Path | None) -> list[str]:
    """Return the folders of YAML files that `config_dir` adds."""
    return [] if config_dir is None else [os.path.abspath(config_dir)]


def shows_bar(progress: bool | None) -> bool:
    """Return whether to show a progress bar: None means in an interactive session or on a terminal."""
    if progress is not None:
        return progress
    if (ipython := sys.modules.get("IPython")) is not None and ipython.get_ipython() is not None:
        return True
    return sys.stderr is not None and sys.stderr.isatty()
