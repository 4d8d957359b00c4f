"""The override or the file that a configuration error comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader
from sweepgrad.compose.yaml_files import load
from sweepgrad.config.check import ConfigError


def on_command_line(error: ConfigError, overrides: Sequence[Override]) -> str:
    """Return the override of an error's key."""
    return str(next((o.input_line for o in overrides if o.key_or_group == error.key), ""))


def origin(
    error: ConfigError, overrides: Sequence[Override], composed: DictConfig, loader: SweepLoader
) -> str:
    """Return the overrides that concern an error's key, or else the file that sets it, or ""."""
    lines = [str(o.input_line).removeprefix("++") for o in overrides if _concerns(o, error.key, loader)]
    if lines:
        return " ".join(lines)
    return (error.key and _file_that_sets(error.key, composed, loader)) or ""


def _concerns(override: Override, key: str, loader: SweepLoader) -> bool:
    """Return whether an override sets `key`, a part of it, or a section that it is in."""
    prefix = f"{override.key_or_group}."
    selects_a_file = bool(loader.get_group_options(override.key_or_group))
    return prefix.startswith(f"{key}.") or (f"{key}.".startswith(prefix) and not selects_a_file)


def _file_that_sets(key: str, composed: DictConfig, loader: SweepLoader) -> str | None:
    """Return the composed file that sets `key` last: an experiment's, a group's, or config.yaml."""
    chosen = {
        group: option
        for group, option in composed.hydra.runtime.choices.items()
        if option is not None and not group.startswith("hydra/")
    }
    files = [(f"experiment/{option}.yaml", "") for group, option in chosen.items() if group == "experiment"]
    files += [(f"{group}/{option}.yaml", f"{group}.") for group, option in chosen.items()]
    folders = [Path(source.path) for source in loader.get_sources() if source.scheme() == "file"]
    for file, prefix in [*files, (f"{CONFIG_NAME}.yaml", "")]:
        found = [path for folder in folders if (path := folder / file).is_file()]
        if found and key.startswith(prefix) and _sets(found[0], key.removeprefix(prefix)):
            return _readable(found[0])
    return None


def _sets(file: Path, key: str) -> bool:
    *sections, name = key.split(".")
    section: Any = load(file).content
    for step in sections:
        section = section.get(step) if isinstance(section, dict) else None
    if isinstance(section, dict):
        return name in section  # also where its value is null
    return isinstance(section, list)


def _readable(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
