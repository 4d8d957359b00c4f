"""Overrides that are wrong in themselves: unknown options of a config group, keys that only we set."""

from collections.abc import Iterator, Sequence
from itertools import islice

from hydra.core.override_parser.types import Override

from sweepgrad.compose.loader import SweepLoader
from sweepgrad.config.check import ConfigError
from sweepgrad.config.suggest import nearest
from sweepgrad.errors import shortened

GROUPS = ("data", "model", "optimizer", "schedule", "experiment")  # the folders of conf/
_MOST = 1_000  # options of an override that are looked up


def wrong_overrides(
    loader: SweepLoader, overrides: Sequence[Override]
) -> Iterator[tuple[Override, ConfigError]]:
    """Yield each override that is wrong whatever the others are, with its error."""
    for override in overrides:
        key = override.key_or_group
        if key in ("sweep", "sweep.id"):
            yield override, ConfigError(key, "is set by --multirun only. Remove it")
        for problem in _unknown_options(loader, override):
            yield override, ConfigError(key, problem)


def _unknown_options(loader: SweepLoader, override: Override) -> Iterator[str]:
    key = override.key_or_group
    options = loader.get_group_options(key)
    if not options:
        return
    optional = key not in GROUPS or key == "experiment"
    if override.is_sweep_override() and not override.is_discrete_sweep():
        yield f"has options, and no numbers in between. Options: {', '.join(options)}"
        return
    values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
    for value in islice(values, _MOST):
        chosen = "null" if value is None else str(value)
        names = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if chosen in options or names or (chosen == "null" and optional):
            continue
        group, _, name = chosen.rpartition("/")
        if name in loader.get_group_options(f"{key}/{group}"):
            yield f"{chosen} is a question of the lab. Run sweepgrad {group} {name}"
            continue
        shown = shortened(chosen)
        yield f"unknown option {shown}.{nearest(shown, options)} Options: {', '.join(options)}"
