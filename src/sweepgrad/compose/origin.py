"""Where a fault of a configuration comes from: the override or the file that has the last word on its key."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader
from sweepgrad.config.check import ConfigError


def in_command_line(fault: ConfigError, overrides: Sequence[Override]) -> str:
    """The fault, told with the override of its very key."""
    source = next((o.input_line for o in overrides if o.key_or_group == fault.key), "")
    return f"{fault.key}: {fault.problem} [from {source}]"


def with_origin(
    fault: ConfigError, overrides: Sequence[Override], composed: DictConfig, loader: SweepLoader
) -> str:
    """The fault, told with the overrides that concern its key, or else the file that says it."""
    said_here = [str(o.input_line).removeprefix("++") for o in overrides if _concerns(o, fault.key, loader)]
    if said_here:
        return f"{fault.key}: {fault.problem} [from {' '.join(said_here)}]"
    if fault.key and (file := _file_that_says(fault.key, composed, loader)):
        return f"{fault.key}: {fault.problem} [from {file}]"
    return f"{fault.key}: {fault.problem}"


def _concerns(override: Override, key: str, loader: SweepLoader) -> bool:
    """Whether an override sets `key`, a part of it, or a whole that it is part of."""
    said = f"{override.key_or_group}."
    chooses_a_file = bool(loader.get_group_options(override.key_or_group))
    return said.startswith(f"{key}.") or (f"{key}.".startswith(said) and not chooses_a_file)


def _file_that_says(key: str, composed: DictConfig, loader: SweepLoader) -> str | None:
    """The composed file that has the last word on `key`: an experiment's, a group's, or config.yaml."""
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
        if found and key.startswith(prefix):
            said = OmegaConf.load(found[0])
            if OmegaConf.select(said, key.removeprefix(prefix)) is not None:
                return _readable(found[0])
    return None


def _readable(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
