"""Compose every job of a command line as Hydra will, and find all errors before any work starts.

Hydra alone stops at the first error, and answers an unknown key with "append with +". Here each job is
composed with its unknown keys, so that `sweepgrad.config.check` finds all of them, and each error is reported
with the file or override that it comes from.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweepgrad.compose.grid import combinations_of, samples
from sweepgrad.compose.hydra_settings import folder_of, numbered, refused
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, composer_for
from sweepgrad.compose.options import GROUPS as GROUPS
from sweepgrad.compose.origin import origin
from sweepgrad.compose.report import Errors
from sweepgrad.config.check import ConfigError, ConfigErrors, check
from sweepgrad.config.schema import Config
from sweepgrad.config.suggest import nearest
from sweepgrad.errors import UserError

_PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.")
HOW_TO_OVERRIDE = (
    "Write overrides as key=value, without spaces around the =. Put a value with spaces, commas or non-ASCII"
    " letters in double quotes, and the whole in single quotes for the shell: 'key=\"größe\"'."
)


@dataclass(frozen=True)
class PlannedJob:
    """A run that is to be trained.

    Attributes:
        config: its configuration, without the sweep's id.
        overrides: the overrides that Hydra's basic sweeper passes to the launcher; of a single run, all.
    """

    config: Config
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The runs of a command line.

    Attributes:
        multirun: whether it is a sweep.
        jobs: the runs, in the order of the basic sweeper. Other sweepers choose values later: then these are
            samples that have each value of a choice, or the ends of an interval, once.
        complete: whether these are all the jobs.
        varying: the overrides' keys that have more than one value in the sweep.
        experiment: the experiment's option, if one was chosen.
        sweeper: the option of hydra/sweeper.
        launcher: the option of hydra/launcher.
        n_jobs: the number of runs.
        folder: Hydra's folder for the results; of a sweep with * for its id.
    """

    multirun: bool
    jobs: tuple[PlannedJob, ...]
    complete: bool
    varying: tuple[str, ...]
    experiment: str | None
    sweeper: str
    launcher: str
    n_jobs: int
    folder: str


def plan(overrides: Sequence[str], *, multirun: bool, search: Sequence[str] = ()) -> Plan:
    """Compose and check every job of a command line.

    Arguments:
        overrides: the arguments of `sweepgrad train`, without flags.
        multirun: whether --multirun was given; an experiment may request it too.
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: the errors of all jobs.
    """
    with composer_for(search) as hydra:
        return plan_with(hydra, overrides, multirun=multirun)


def plan_with(hydra: Hydra, overrides: Sequence[str], *, multirun: bool) -> Plan:
    """Compose and check as `plan` does, with a Hydra that may launch the jobs too, see `hydra_for`."""
    loader = hydra.config_loader
    assert isinstance(loader, SweepLoader)
    errors = Errors()
    given = errors.drop_wrong(loader, _parse(loader, overrides))
    parsed = given
    with errors.composing(lambda: _unknown_to_hydra(loader, parsed)):
        master = loader.load_configuration(
            CONFIG_NAME, _let_through(loader, parsed), RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    multirun = multirun or str(master.hydra.mode) == "RunMode.MULTIRUN"
    choices = master.hydra.runtime.choices
    sweeper, launcher = choices.get("hydra/sweeper"), choices.get("hydra/launcher")
    for group, option in (("hydra/sweeper", sweeper), ("hydra/launcher", launcher)):
        if option is None:
            errors.add(ConfigError(group, "must be one of its options"), "")
            errors.refuse()
    complete = not multirun or sweeper == "basic"
    if multirun:
        with errors.composing():
            loader.validate_sweep_overrides_legal(parsed, RunMode.MULTIRUN, from_shell=True)
        params = OmegaConf.select(master, "hydra.sweeper.params") or {}
        swept = errors.drop_wrong(loader, _parse(loader, [f"{k}={v}" for k, v in params.items()]))
        parsed = [override for override in swept + parsed if not override.is_hydra_override()]
    for override in () if multirun else parsed:
        if override.is_sweep_override():
            key = override.key_or_group
            errors.add(
                ConfigError(key, "several values need a sweep. Add --multirun (or -m)"),
                str(override.input_line),
            )
    for error in _importables(master):
        errors.add(error, "")
    if multirun:
        combinations = combinations_of(parsed) if complete else samples(parsed)
    elif any(override.is_sweep_override() for override in parsed):
        combinations = samples(parsed)
    else:
        combinations = [[str(override.input_line) for override in parsed]]
    jobs: dict[Config, list[str]] = {}
    folders: dict[str, list[str]] = {}
    for combination in combinations:
        here = _parse(loader, combination)
        composed = master
        if multirun or len(combinations) > 1:
            with errors.composing():
                composed = loader.load_sweep_config(master, _let_through(loader, here))
        try:
            config = checked(composed)
        except ConfigErrors as found:
            for error in found.errors:
                errors.add(error, origin(error, here, composed, loader))
            continue
        words = " ".join(combination)
        if config in jobs and complete:
            same = " ".join(jobs[config])
            problem = f"is the same run as {same}. Each run of a sweep must differ"
            errors.add(ConfigError(words, problem, certain=False), "")
        jobs.setdefault(config, combination)
        if multirun and complete and not numbered(master):
            with errors.composing():
                folder = folder_of(composed, len(folders))
            if folder in folders:
                problem = f"{folder!r} would be the folder of {words} and {' '.join(folders[folder])}"
                errors.add(ConfigError("hydra.sweep.subdir", problem, certain=False), "")
            folders.setdefault(folder, combination)
    if jobs:
        longest = max(jobs, key=lambda job: job.train.epochs)
        for error in refused(master, longest, multirun=multirun):
            errors.add(error, origin(error, given, master, loader))
    n_jobs = len(jobs) if complete else int(OmegaConf.select(master, "hydra.sweeper.trials", default=1))
    if not complete and n_jobs < 1:
        errors.add(ConfigError("hydra.sweeper.trials", f"must be at least 1, not {n_jobs}"), "")
    errors.refuse()
    varying = tuple(
        override.key_or_group
        for place, override in enumerate(_parse(loader, combinations[0]))
        if len({combination[place] for combination in combinations}) > 1
    )
    return Plan(
        multirun=multirun,
        jobs=tuple(PlannedJob(config, tuple(combination)) for config, combination in jobs.items()),
        complete=complete,
        varying=varying,
        experiment=choices.get("experiment"),
        sweeper=sweeper,
        launcher=launcher,
        n_jobs=n_jobs,
        folder=_folder(master, multirun=multirun),
    )


def _folder(master: DictConfig, *, multirun: bool) -> str:
    if not multirun:
        return str(master.hydra.run.dir)
    master = copy.deepcopy(master)
    master.sweep.id = "*"
    return str(master.hydra.sweep.dir)


def checked(composed: DictConfig) -> Config:
    """Return the typed configuration of a job that Hydra composed.

    Raises:
        ConfigErrors: as `sweepgrad.config.check.check`.
    """
    try:
        values = plain(composed)
    except OmegaConfBaseException as error:
        raise ConfigErrors([ConfigError(error.full_key or "", str(error.msg).splitlines()[0])]) from None
    return check(values)


def plain(composed: DictConfig) -> dict[str, Any]:
    """Return a composed configuration without Hydra's own keys, as resolved dicts, lists and values.

    Raises:
        OmegaConfBaseException: an interpolation refers to an unknown key.
    """
    return {
        str(key): OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
        for key, part in composed.items_ex(resolve=True)
        if key != "hydra"
    }


def _parse(loader: SweepLoader, overrides: Sequence[str]) -> list[Override]:
    try:
        parsed = loader.parse(overrides)
    except OverrideParseException as error:
        problem = str(error.message).splitlines()[0]
        raise UserError(f"{error.override}: {problem}\n{HOW_TO_OVERRIDE}") from None
    for override in parsed:
        if not override.key_or_group:
            raise UserError(f"{override.input_line}: has no key\n{HOW_TO_OVERRIDE}")
    return parsed


def _importables(composed: DictConfig) -> Iterator[ConfigError]:
    """Yield an error for each Python object that YAML would have Hydra import, except its own plugins."""
    found: list[tuple[str, object]] = [("hydra", OmegaConf.to_container(composed.hydra, resolve=False))]
    while found:
        key, value = found.pop()
        if isinstance(value, dict):
            found += [(f"{key}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            found += [(f"{key}.{place}", inner) for place, inner in enumerate(value)]
        elif key.endswith("._target_") and not str(value).startswith(_PLUGINS):
            yield ConfigError(key, f"{value} would be imported, but only Hydra's plugins may be. Remove it")


def _unknown_to_hydra(loader: SweepLoader, overrides: Sequence[Override]) -> Iterator[ConfigError]:
    """Yield an error for each override of a key below `hydra` that does not exist."""
    changes = [o for o in overrides if o.key_or_group.startswith("hydra.") and o.type == OverrideType.CHANGE]
    others = [override for override in overrides if override not in changes]
    try:
        master = loader.load_configuration(
            CONFIG_NAME, _let_through(loader, others), RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    except (HydraException, OmegaConfBaseException, YAMLError):
        return  # something else is wrong
    for override in changes:
        section, _, name = override.key_or_group.rpartition(".")
        parent = OmegaConf.select(master, section)
        if isinstance(parent, DictConfig) and name not in parent:
            known = [str(key) for key in parent if str(key) != "_target_"]
            hint = nearest(name, known, f"{section}.") or f" Known keys: {', '.join(known)}"
            yield ConfigError(override.key_or_group, f"unknown key.{hint}")


def _let_through(loader: SweepLoader, overrides: Sequence[Override]) -> list[str]:
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
