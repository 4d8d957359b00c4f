"""Parse the overrides of a command line, and find those that Hydra would not know."""

from collections.abc import Iterator, Sequence

from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, RangeSweep
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweepgrad.compose.boundary import about_input
from sweepgrad.compose.limits import check_overrides
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader
from sweepgrad.config.check import ConfigError
from sweepgrad.config.suggest import nearest
from sweepgrad.errors import UserError, shortened

_HOW_TO_OVERRIDE = (
    "Write overrides as key=value, without spaces around the =. Put a value with spaces, commas or non-ASCII"
    " letters in double quotes, and the whole in single quotes for the shell: 'key=\"größe\"'."
)
_MOST_TRIED = 20  # overrides, each composed alone


def parse(loader: SweepLoader, overrides: Sequence[str]) -> list[Override]:
    """Return parsed overrides.

    Raises:
        UserError: a line is not an override, or exceeds a limit.
    """
    check_overrides(overrides)
    parsed = [_parsed(loader, line) for line in overrides]
    for override in parsed:
        if not override.key_or_group:
            raise UserError(f"{shortened(override.input_line, 200)}: has no key\n{_HOW_TO_OVERRIDE}")
        if _is_large(override.value()):
            line = shortened(override.input_line, 200)
            raise UserError(f"{line}: has a whole number of more than 64 bits")
    return parsed


def _parsed(loader: SweepLoader, line: str) -> Override:
    try:
        return loader.parse([line])[0]
    except Exception as error:
        if isinstance(error, UserError) or not about_input(error):
            raise
        said = str(error.message if isinstance(error, OverrideParseException) else error)
        problem = shortened(next(iter(said.splitlines()), type(error).__name__), 200)
        raise UserError(f"{shortened(line, 200)}: {problem}\n{shortened(_how_to_write(line), 500)}") from None


def _is_large(value: object) -> bool:
    """Return whether a value has a whole number that Python might refuse to write into a message."""
    if isinstance(value, RangeSweep):
        value = [value.start, value.stop, value.step]
    elif isinstance(value, ChoiceSweep):
        value = value.list
    elif isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return any(map(_is_large, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def _how_to_write(override: str) -> str:
    """Return how to write an override that cannot be parsed."""
    key, _, value = override.partition("=")
    elements = value.removeprefix("[").removesuffix("]").split(",")
    if value.startswith("[") and any("=" in element for element in elements):
        quoted = ",".join(f'"{element.strip()}"' for element in elements)
        return (
            f"Put elements with a = into double quotes, and the whole into single quotes: '{key}=[{quoted}]'."
        )
    return _HOW_TO_OVERRIDE


def unknown_to_hydra(loader: SweepLoader, overrides: Sequence[Override]) -> Iterator[ConfigError]:
    """Yield an error for each override of a key below `hydra` that does not exist."""
    changes = [o for o in overrides if o.key_or_group.startswith("hydra.") and o.type == OverrideType.CHANGE]
    others = [override for override in overrides if override not in changes]
    try:
        master = loader.load_configuration(
            CONFIG_NAME, let_through(loader, others), RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    except (HydraException, OmegaConfBaseException, YAMLError):
        return  # something else is wrong
    for override in changes:
        section, _, name = override.key_or_group.rpartition(".")
        parent = OmegaConf.select(master, section)
        known = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
        if known and name not in known:  # `in parent` is false of a key without a value
            shown = [key for key in known if key != "_target_"]
            hint = nearest(name, shown, f"{section}.") or f" Known keys: {', '.join(shown)}"
            yield ConfigError(override.key_or_group, f"unknown key.{hint}")


def wrong_alone(loader: SweepLoader, overrides: Sequence[Override]) -> str:
    """Return the first override that cannot be composed even alone, or ""."""
    for override in overrides[:_MOST_TRIED]:
        try:
            loader.load_configuration(
                CONFIG_NAME, let_through(loader, [override]), RunMode.MULTIRUN, validate_sweep_overrides=False
            )
        except Exception as error:
            if not about_input(error):
                raise
            return shortened(override.input_line, 200)
    return ""


def let_through(loader: SweepLoader, overrides: Sequence[Override]) -> list[str]:
    """Return the overrides; one that changes a key adds it if the key is unknown."""
    return [
        loader.adding(override)
        if override.type == OverrideType.CHANGE
        and not override.key_or_group.startswith("hydra.")
        and not loader.get_group_options(override.key_or_group)
        and not override.is_sweep_override()
        else str(override.input_line)
        for override in overrides
    ]
