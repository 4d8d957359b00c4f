"""Compose every job of a command line as Hydra will, and find all errors before any work starts.

Hydra alone stops at the first error, and answers an unknown key with "append with +". Here each job is
composed with its unknown keys, so that `sweepgrad.config.check` finds all of them, and each error is reported
with the file or override that it comes from.
"""

import copy
import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.compose.allowed import refused_settings
from sweepgrad.compose.boundary import input_errors, problem
from sweepgrad.compose.grid import check_count, check_ranges, combinations_of, count, samples
from sweepgrad.compose.hydra_settings import address_of, folder_of, is_of_hydra, numbered, without_effect
from sweepgrad.compose.limits import MAX_JOBS
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, composer_for
from sweepgrad.compose.options import GROUPS as GROUPS
from sweepgrad.compose.origin import origin
from sweepgrad.compose.overrides import let_through, parse, unknown_to_hydra, wrong_alone
from sweepgrad.compose.references import bounded
from sweepgrad.compose.report import Errors
from sweepgrad.config.check import ConfigError, ConfigErrors, check
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError, shortened
from sweepgrad.messages import ProgressLog

log = logging.getLogger(__name__)

_SAMPLED_FIRST = 1_000  # sweeps with more jobs have samples checked first, to refuse them sooner


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
        address: the address of the Dask scheduler, if there is one.
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
    address: str | None
    n_jobs: int
    folder: str


def plan(
    overrides: Sequence[str], *, multirun: bool, search: Sequence[str] = (), max_jobs: int = MAX_JOBS
) -> Plan:
    """Compose and check every job of a command line.

    Arguments:
        overrides: the arguments of `sweepgrad train`, without flags.
        multirun: whether --multirun was given; an experiment may request it too.
        search: further folders of YAML, as given by --config-dir.
        max_jobs: the largest number of runs that is allowed.

    Raises:
        UserError: the errors of all jobs.
    """
    with composer_for(search) as hydra:
        return plan_with(hydra, overrides, multirun=multirun, max_jobs=max_jobs)


def plan_with(hydra: Hydra, overrides: Sequence[str], *, multirun: bool, max_jobs: int = MAX_JOBS) -> Plan:
    """Compose and check as `plan` does, with a Hydra that may launch the jobs too, see `hydra_for`."""
    with input_errors(), bounded():
        return _planned(hydra, overrides, multirun, max_jobs)


def _planned(hydra: Hydra, overrides: Sequence[str], multirun: bool, max_jobs: int) -> Plan:
    loader = hydra.config_loader
    assert isinstance(loader, SweepLoader)
    errors = Errors()
    parsed = parse(loader, overrides)
    check_ranges(parsed)
    parsed = given = errors.drop_wrong(loader, parsed)
    lines = let_through(loader, given)
    # What a single run is composed from is kept by the loader, and Hydra then starts with it.
    mode = RunMode.MULTIRUN if multirun or any(each.is_sweep_override() for each in given) else RunMode.RUN
    with errors.composing(lambda: unknown_to_hydra(loader, given), lambda: wrong_alone(loader, given)):
        master = None
        if mode is RunMode.RUN:
            with suppress(Exception):  # the same error, or none, as of a sweep
                master = loader.load_configuration(CONFIG_NAME, lines, mode, validate_sweep_overrides=False)
        if master is None or str(OmegaConf.select(master, "hydra.mode")) == str(RunMode.MULTIRUN):
            mode = RunMode.MULTIRUN
            master = loader.load_configuration(CONFIG_NAME, lines, mode, validate_sweep_overrides=False)
    if refused := list(refused_settings(master, loader)):  # what follows reads these settings
        for error in refused:
            errors.add(error, "")
        errors.refuse()
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
        swept = parse(loader, _params(master))
        for override in [*swept, *(each for each in parsed if each.is_sweep_override())]:
            if is_of_hydra(override):  # the sweeper would pass it on to each job
                line = str(override.input_line)
                errors.add(
                    ConfigError(
                        override.key_or_group,
                        "does not vary within a sweep. Set it outside hydra.sweeper.params, to one value",
                    ),
                    line,
                )
        errors.refuse()
        check_ranges(swept)
        swept = errors.drop_wrong(loader, swept)
        parsed = [override for override in swept + parsed if not override.is_hydra_override()]
    for override in () if multirun else parsed:
        if override.is_sweep_override():
            key = override.key_or_group
            errors.add(
                ConfigError(key, "several values need a sweep. Add --multirun (or -m)"),
                str(override.input_line),
            )
    if multirun:
        if complete:
            check_count(count(parsed), max_jobs)
        combinations = combinations_of(parsed) if complete else samples(parsed)
    elif any(override.is_sweep_override() for override in parsed):
        combinations = samples(parsed)
    else:
        combinations = [[str(override.input_line) for override in parsed]]

    progress, n_checked = ProgressLog(log, "planning"), itertools.count()

    def configured(combination: Sequence[str]) -> tuple[DictConfig, Config | None]:
        """Compose and check a job; its configuration is None if it has errors."""
        progress.tell(f"{next(n_checked):,} configurations checked, for {len(combinations):,} runs")
        here, composed = parse(loader, combination), master
        if multirun or len(combinations) > 1:
            with errors.composing():
                composed = loader.load_sweep_config(master, let_through(loader, here))
        try:
            return composed, checked(composed)
        except ConfigErrors as found:
            errors.add_all(found.errors, partial(origin, overrides=here, composed=composed, loader=loader))
            return composed, None

    if len(combinations) > _SAMPLED_FIRST:
        for sample in samples(parsed):
            if not errors.enough:
                configured(sample)
        errors.refuse()
    jobs: dict[Config, list[str]] = {}
    folders: dict[str, list[str]] = {}
    for combination in combinations:
        if errors.enough:
            break
        composed, config = configured(combination)
        if config is None:
            continue
        words = " ".join(combination)
        if config in jobs and complete:
            same = " ".join(jobs[config])
            twice = f"is the same run as {same}. Each run of a sweep must differ"
            errors.add(ConfigError(words, twice, certain=False), "")
        jobs.setdefault(config, combination)
        if multirun and complete and not numbered(master):
            with errors.composing():
                folder = folder_of(composed, len(folders))
            if folder in folders:
                twice = f"{folder!r} would be the folder of {words} and {' '.join(folders[folder])}"
                errors.add(ConfigError("hydra.sweep.subdir", twice, certain=False), "")
            folders.setdefault(folder, combination)
    if jobs:
        longest = max(jobs, key=lambda job: job.train.epochs)
        for error in without_effect(master, longest, multirun=multirun):
            errors.add(error, origin(error, given, master, loader))
    n_jobs = len(jobs)
    if not complete:
        n_jobs = OmegaConf.select(master, "hydra.sweeper.trials", default=1)
        if not isinstance(n_jobs, int) or n_jobs < 1:
            errors.add(ConfigError("hydra.sweeper.trials", f"must be at least 1, not {n_jobs}"), "")
    errors.refuse()
    check_count(n_jobs, max_jobs)
    varying = tuple(
        override.key_or_group
        for place, override in enumerate(parse(loader, combinations[0]))
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
        address=address_of(master) if multirun and launcher == "dask" else None,
        n_jobs=n_jobs,
        folder=_folder(master, multirun=multirun),
    )


def _params(master: DictConfig) -> list[str]:
    """Return the overrides of hydra.sweeper.params."""
    params = OmegaConf.select(master, "hydra.sweeper.params") or {}
    if not isinstance(params, Mapping):
        raise UserError(f"hydra.sweeper.params: must be keys and values, not {shortened(params)!r}")
    return [f"{key}={value}" for key, value in params.items()]


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
        raise ConfigErrors([ConfigError(error.full_key or "", problem(error))]) from None
    return check(values)


def plain(composed: DictConfig) -> dict[str, Any]:
    """Return a composed configuration without Hydra's own keys, as resolved dicts, lists and values.

    Raises:
        OmegaConfBaseException: an interpolation refers to an unknown key.
    """
    with bounded():
        return {
            str(key): OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
            for key, part in composed.items_ex(resolve=True)
            if key != "hydra"
        }
