"""The keys of a composed configuration with their values and descriptions, for `sweepgrad train --help`."""

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweepgrad.config.check import fields_of
from sweepgrad.errors import UserError
from sweepgrad.extensions import ExtensionError

_COLUMN, _LONGEST = 32, 24  # of descriptions; of values


def register() -> None:
    """Let config.yaml insert the text as `${sweepgrad.keys:}` into Hydra's help."""
    OmegaConf.register_new_resolver("sweepgrad.keys", _text, replace=True)


def _text(*, _root_: Any) -> str:
    assert isinstance(_root_, DictConfig)
    try:
        text = "\n".join(_lines(_root_))
    except (UserError, ExtensionError) as error:  # an extension is broken; the rest of the help is printed
        text = str(error)
    return text.replace("$", "$$")  # Hydra substitutes $NAMES in it


def _lines(root: DictConfig) -> Iterator[str]:
    keys = [str(key) for key in root if key != "hydra"]
    values: Any = OmegaConf.to_container(OmegaConf.masked_copy(root, keys), resolve=True)
    for section, value in values.items():
        for key, description in fields_of(section, value):
            inner = value.get(key.removeprefix(f"{section}.")) if isinstance(value, dict) else value
            yield from _line(key, _short(inner), description)


def _line(key: str, value: str, description: str) -> Iterator[str]:
    indent = " " * _COLUMN
    width = max(shutil.get_terminal_size().columns, 80)
    first, *rest = textwrap.wrap(description, width - _COLUMN) or [""]
    override = f"{key}={value}"
    if len(override) < _COLUMN:
        yield f"{override:{_COLUMN}}{first}".rstrip()
    else:
        yield from (override, indent + first)
    yield from (indent + line for line in rest)


def _short(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value == "???":
        return "(required)"
    if isinstance(value, list):
        few = ", ".join(map(_short, value))
        return f"[{few}]" if len(few) < _LONGEST else f"[{_short(value[0])}, …]"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
