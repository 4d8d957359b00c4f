"""Before any work starts: compose every job as Hydra will, and find everything that is wrong with them.

Hydra by itself stops at the first fault, and answers an unknown key with "append with +". Here each job is
composed with its unknown keys let through, so that `sweepgrad.config.check` sees them all, and each
fault is told with the file or override that it came from.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, hydra_for
from sweepgrad.compose.origin import in_command_line, with_origin
from sweepgrad.config.check import ConfigError, ConfigErrors, check, nearest
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError

_PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.")
_HOW_TO_OVERRIDE = (
    "Overrides are written key=value, without spaces around the =. A value with blanks, commas or letters"
    " beyond ASCII goes into double quotes, and the whole into single ones for the shell: 'key=\"größe\"'."
)
GROUPS = ("data", "model", "optimizer", "schedule", "experiment")  # the folders of conf/


@dataclass(frozen=True)
class PlannedJob:
    """A run to be.

    Attributes:
        config: its configuration, without the sweep's id.
        overrides: what Hydra's basic sweeper will hand to the launcher; of a run on its own, those given.
    """

    config: Config
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        multirun: whether it is a sweep.
        jobs: the runs, in the order of the basic sweeper. Other sweepers choose values as they go: then these
            are samples, which have each of the values to choose from, or the ends of their interval, once.
        complete: whether these are all the jobs.
        varying: the overrides' keys that have more than one value in the sweep.
        experiment: the experiment's option, if one was chosen.
        sweeper: the option of hydra/sweeper.
        launcher: the option of hydra/launcher.
        n_jobs: how many runs there will be.
        folder: where Hydra is told to keep them; of a sweep with * where its id goes.
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
        overrides: what follows `sweepgrad train`, without flags.
        multirun: whether --multirun was given; an experiment may ask for it too.
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: naming all faults of all jobs.
    """
    with hydra_for(search) as hydra:
        return plan_with(hydra, overrides, multirun=multirun)


def plan_with(hydra: Hydra, overrides: Sequence[str], *, multirun: bool) -> Plan:
    """As `plan`, with the Hydra of a `hydra_for`, which then launches the jobs sooner."""
    loader = hydra.config_loader
    assert isinstance(loader, SweepLoader)
    parsed = _parse(loader, overrides)
    _refuse([in_command_line(fault, parsed) for fault in _not_for_users(parsed)])
    _refuse([in_command_line(fault, parsed) for fault in _unknown_options(loader, parsed)])
    with _in_our_words():
        master = loader.load_configuration(
            CONFIG_NAME, _let_through(loader, parsed), RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    multirun = multirun or str(master.hydra.mode) == "RunMode.MULTIRUN"
    choices = master.hydra.runtime.choices
    sweeper, launcher = choices.get("hydra/sweeper"), choices.get("hydra/launcher")
    if sweeper is None or launcher is None:
        raise UserError("hydra/sweeper and hydra/launcher must each be one of their options")
    complete = not multirun or sweeper == "basic"
    if multirun:
        with _in_our_words():
            loader.validate_sweep_overrides_legal(parsed, RunMode.MULTIRUN, from_shell=True)
        params = OmegaConf.select(master, "hydra.sweeper.params") or {}
        parsed = _parse(loader, [f"{k}={v}" for k, v in params.items()]) + parsed
        parsed = [override for override in parsed if not override.is_hydra_override()]
        _refuse([in_command_line(fault, parsed) for fault in _unknown_options(loader, parsed)])
    elif sweeps := [str(o.input_line) for o in parsed if o.is_sweep_override()]:
        raise UserError(f"{' '.join(sweeps)} asks for several runs: add --multirun (or -m).")
    _refuse(list(_importables(master)))
    if multirun:
        combinations = combinations_of(parsed) if complete else samples(parsed)
    else:
        combinations = [[str(override.input_line) for override in parsed]]
    jobs: dict[Config, list[str]] = {}
    folders: dict[str, list[str]] = {}
    faults: list[str] = []
    for combination in combinations:
        here = _parse(loader, combination)
        composed = master
        if multirun:
            with _in_our_words():
                composed = loader.load_sweep_config(master, _let_through(loader, here))
        try:
            config = checked(composed)
        except ConfigErrors as error:
            faults += [with_origin(fault, here, composed, loader) for fault in error.faults]
            continue
        if config in jobs and complete:
            same = " ".join(jobs[config])
            faults.append(f"{' '.join(combination)}: is the same run as {same}; a sweep has each once")
        jobs.setdefault(config, combination)
        if multirun and complete and not numbered(master):
            with _in_our_words():
                folder = folder_of(composed, len(folders))
            if folder in folders:
                both = f"{' '.join(combination)} and {' '.join(folders[folder])}"
                faults.append(f"hydra.sweep.subdir: {folder!r} would be the folder of {both}")
            folders.setdefault(folder, combination)
    _refuse(faults)
    _refuse(list(refused(master, max(jobs, key=lambda job: job.train.epochs), multirun=multirun)))
    varying = tuple(
        override.key_or_group
        for place, override in enumerate(_parse(loader, combinations[0]))
        if len({combination[place] for combination in combinations}) > 1
    )
    planned = tuple(PlannedJob(config, tuple(combination)) for config, combination in jobs.items())
    n_jobs = len(planned) if complete else int(OmegaConf.select(master, "hydra.sweeper.trials", default=1))
    if n_jobs < 1:
        _refuse([f"hydra.sweeper.trials: must be at least 1, not {n_jobs}"])
    return Plan(
        multirun=multirun,
        jobs=planned,
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
    """The typed configuration of a job that Hydra composed.

    Raises:
        ConfigErrors: as `sweepgrad.config.check.check`.
    """
    try:
        values = plain(composed)
    except OmegaConfBaseException as error:
        raise ConfigErrors([ConfigError(error.full_key or "", str(error.msg).splitlines()[0])]) from None
    return check(values)


def plain(composed: DictConfig) -> dict[str, Any]:
    """What Hydra composed, without what is Hydra's own, as plain and resolved dicts, lists and values.

    Raises:
        OmegaConfBaseException: something is referred to that is not there.
    """
    return {
        str(key): OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
        for key, part in composed.items_ex(resolve=True)
        if key != "hydra"
    }


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Make what Hydra raises while composing a UserError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, AssertionError) as error:
        cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        raise UserError(f"{error}{cause}") from None


def _parse(loader: SweepLoader, overrides: Sequence[str]) -> list[Override]:
    try:
        parsed = loader.parse(overrides)
    except OverrideParseException as error:
        problem = str(error.message).splitlines()[0]
        raise UserError(f"{error.override}: {problem}\n{_HOW_TO_OVERRIDE}") from None
    for override in parsed:
        if not override.key_or_group:
            raise UserError(f"{override.input_line}: names no key\n{_HOW_TO_OVERRIDE}")
    return parsed


def _not_for_users(overrides: Sequence[Override]) -> Iterator[ConfigError]:
    for override in overrides:
        if override.key_or_group in ("sweep", "sweep.id"):
            yield ConfigError(override.key_or_group, "only --multirun sets it.")


def _importables(composed: DictConfig) -> Iterator[str]:
    """Python that YAML would have Hydra import: no configuration of ours needs any but its own plugins."""
    found: list[tuple[str, object]] = [("hydra", OmegaConf.to_container(composed.hydra, resolve=False))]
    while found:
        key, value = found.pop()
        if isinstance(value, dict):
            found += [(f"{key}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            found += [(f"{key}.{place}", inner) for place, inner in enumerate(value)]
        elif key.endswith("._target_") and not str(value).startswith(_PLUGINS):
            yield f"{key}: {value} would be imported, and only Hydra's plugins may be."


def _unknown_options(loader: SweepLoader, overrides: Sequence[Override]) -> Iterator[ConfigError]:
    for override in overrides:
        options = loader.get_group_options(override.key_or_group)
        if not options:
            continue
        values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
        for value in values:
            chosen = "null" if value is None else str(value)
            none_will_do = override.key_or_group not in GROUPS or override.key_or_group == "experiment"
            if chosen in options or isinstance(value, list) or (chosen == "null" and none_will_do):
                continue
            group, _, name = chosen.rpartition("/")
            if name in loader.get_group_options(f"{override.key_or_group}/{group}"):
                yield ConfigError(
                    override.key_or_group, f"{chosen!r} is a question: ask it with sweepgrad {group} {name}"
                )
                continue
            yield ConfigError(
                override.key_or_group,
                f"{chosen!r} is no option.{nearest(chosen, options)} There are: {', '.join(options)}.",
            )


def _let_through(loader: SweepLoader, overrides: Sequence[Override]) -> list[str]:
    """The overrides, with each that changes a key made to add it if it is not there."""
    return [
        loader.adding(override)
        if override.type == OverrideType.CHANGE
        and not override.key_or_group.startswith("hydra.")
        and not loader.get_group_options(override.key_or_group)
        and not override.is_sweep_override()
        else str(override.input_line)
        for override in overrides
    ]


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        distinct = list(dict.fromkeys(faults))
        count = "1 fault" if len(distinct) == 1 else f"{len(distinct)} faults"
        lines = "".join(f"\n  {fault}" for fault in distinct)
        raise UserError(f"{count} in the configuration; nothing was run.{lines}")
