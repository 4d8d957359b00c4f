"""Write docs/reference/keys.md and docs/reference/verbs.md from the schema and the help of the verbs.

`make reference` runs it; a test fails while the pages are out of date.
"""

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from hydra_plugins.sweepgrad_dask import DaskConf
from hydra_plugins.sweepgrad_optuna import OptunaSweeperConf
from hydra_plugins.sweepgrad_threads import ThreadsConf
from sweepgrad.cli.main import main as command_line
from sweepgrad.cli.main import overview
from sweepgrad.cli.verbs import SECTIONS
from sweepgrad.compose.loader import CONFIG_NAME, hydra_for
from sweepgrad.config.metrics import NAMES
from sweepgrad.config.model import ACTIVATIONS
from sweepgrad.config.schema import Config, Halving, Select
from sweepgrad.config.union import kinds_of
from sweepgrad.paths import config_dir

FOLDER = Path(__file__).with_name("reference")
_MADE = "<!-- Written by `make reference` from the schema; do not edit. -->"
_CHOICES = {"select.metric": NAMES, "model.activation": [*ACTIVATIONS.known, "null"]}
_KINDS_OF = {"file": "csv"}  # the option of a kind, where it has another name
_SHELL = {"COLUMNS": "100", "MLFLOW_TRACKING_URI": None, "NO_COLOR": "1"}


def keys() -> str:
    """Return the page of all keys, by section."""
    default = _composed()
    lines = [_MADE, "# Keys", ""]
    lines += [
        "Set a key with `KEY=VALUE` after `sweepgrad train`, and select an option of a config group with"
        " `GROUP=OPTION`. Defaults are those of the files in `conf/`.",
        "",
    ]
    lines += _table([_row("seed", _property(Config, "seed"), default["seed"])])
    for section, field in Config.model_fields.items():
        if section == "seed":
            continue
        lines += ["", f"## {section}", "", field.description or ""]
        if section in ("data", "model"):  # the others have an option for each kind, and no more
            lines += ["", *_options(section)]
        if (kinds := kinds_of(field)) is None:
            assert isinstance(field.annotation, type)
            lines += ["", *_section(section, field.annotation, default[section])]
        else:
            for name, kind in kinds[1].items():
                option = _KINDS_OF.get(name, name)
                values = _composed(f"{section}={option}")[section]
                lines += ["", f"### {section}={option}", "", _summary(kind), ""]
                lines += _section(section, kind, values)
        if section == "sweep":
            lines += ["", "### sweep.halving", "", _summary(Halving), ""]
            lines += _section("sweep.halving", Halving, {})
        if section == "select":
            lines += _kinds_of_select()
    lines += ["", "## experiment", "", "A named set of overrides.", "", *_options("experiment")]
    lines += _hydra()
    return "\n".join(lines) + "\n"


def verbs() -> str:
    """Return the page of all verbs: the help of each, as it is printed."""
    lines = [_MADE, "# Verbs", "", "```text", overview().rstrip(), "```"]
    with _environment():
        for name in (name for names in SECTIONS.values() for name in names):
            lines += ["", f"## {name}", "", "```text", _help(name), "```"]
    return "\n".join(lines) + "\n"


def _help(name: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        command_line([name, "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SHELL}
    _set(_SHELL)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _composed(*overrides: str) -> dict[str, Any]:
    """Return the values of a configuration as YAML has them, before interpolation."""
    with hydra_for() as hydra:
        composed = hydra.config_loader.load_configuration(CONFIG_NAME, [*overrides], RunMode.RUN)
    assert isinstance(composed, DictConfig)
    values = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _options(group: str) -> list[str]:
    """Return a table of a group's options, each with the first sentence of its file's comment."""
    rows = ["| Option | Description |", "| --- | --- |"]
    for file in sorted(Path(config_dir(), group).glob("*.yaml")):
        comment = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
        text = " ".join(line for line in comment if not line.startswith("@package"))
        rows.append(f"| `{group}={file.stem}` | {_cell(re.split(r'(?<=[.]) ', text)[0])} |")
    return rows


def _section(section: str, kind: type[BaseModel], values: Any) -> list[str]:
    return _table(
        [
            _row(f"{section}.{name}", _property(kind, name), values.get(name, dataclasses.MISSING))
            for name in kind.model_fields
        ]
    )


def _property(kind: type[BaseModel], name: str) -> dict[str, Any]:
    schema = kind.model_json_schema()
    found: dict[str, Any] = schema["properties"][name]
    return found


def _table(rows: list[str]) -> list[str]:
    return ["| Key | Type | Default | Description |", "| --- | --- | --- | --- |", *rows]


def _row(key: str, schema: dict[str, Any], default: Any) -> str:
    choices = _CHOICES.get(key)
    type_ = ", ".join(f"`{name}`" for name in choices) if choices else _type(schema)
    return f"| `{key}` | {_cell(type_)} | {_default(default)} | {_cell(schema.get('description', ''))} |"


def _type(schema: dict[str, Any]) -> str:
    """Return the type and the limits of a JSON schema."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "$ref" in schema or "oneOf" in schema or "allOf" in schema:
        return "see below"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{name}`" for name in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema.get("items", ()):  # pairs, which YAML has as a mapping
            return "mapping of columns to these"
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    name = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "`null`"}.get(
        str(kind), "value"
    )
    limits = [
        f"{sign} {_number(schema[limit])}"
        for limit, sign in (
            ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")
        )
        if limit in schema
    ]  # fmt: skip
    if "pattern" in schema:
        limits.append("of letters, digits, `_`, `.` and `-`")
    return " ".join([name, " and ".join(limits)]).strip()


def _number(value: float) -> str:
    return "2⁶³" if value == 2**63 else f"{value:g}"


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    if value == "???":
        return "required"
    if value is None or isinstance(value, bool):
        return {None: "`null`", True: "`true`", False: "`false`"}[value]
    return f"`{value}`" if not isinstance(value, list) else f"`[{', '.join(map(str, value))}]`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()


def _kinds_of_select() -> list[str]:
    lines: list[str] = []
    for name, field in Select.model_fields.items():
        if (found := kinds_of(field)) is None:
            continue
        tag, kinds = found
        first = next(iter(kinds))
        text = f"A kind without further keys can be written by its name: `select.{name}={first}`."
        lines += ["", f"### select.{name}", "", text]
        lines += ["", f"| `{tag}` | Description | Further keys |", "| --- | --- | --- |"]
        for kind, settings in kinds.items():
            more = [
                f"`{key}`: {_type(_property(settings, key))}, {field.description}"
                for key, field in settings.model_fields.items()
                if key != tag
            ]
            lines.append(f"| `{kind}` | {_cell(_summary(settings))} | {_cell(' '.join(more))} |")
    return lines


def _hydra() -> list[str]:
    """Return the section on the settings of launchers and of the sweeper."""
    lines = ["", "## hydra"]
    for group, name, settings in (
        ("launcher", "threads", ThreadsConf),
        ("launcher", "dask", DaskConf),
        ("sweeper", "optuna", OptunaSweeperConf),
    ):
        lines += ["", f"### hydra/{group}={name}", "", _summary(settings), ""]
        lines += ["| Key | Type | Default | Description |", "| --- | --- | --- | --- |"]
        for field in dataclasses.fields(settings):
            if text := field.metadata.get("help"):
                type_ = " or ".join(map(_type_name, _alternatives(field.type)))
                default = getattr(field.default, "value", field.default)
                lines.append(f"| `hydra.{group}.{field.name}` | {type_} | {_default(default)} | {text} |")
    return lines


def _alternatives(type_: Any) -> tuple[Any, ...]:
    return (type_,) if get_origin(type_) is dict else get_args(type_) or (type_,)


def _type_name(type_: Any) -> str:
    if isinstance(type_, type) and issubclass(type_, Enum):
        return ", ".join(f"`{member.value}`" for member in type_)
    if get_origin(type_) is dict:
        return "mapping"
    return "`null`" if type_ is type(None) else str(type_.__name__)


def main() -> None:
    """Write both pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in (("keys.md", keys()), ("verbs.md", verbs())):
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
