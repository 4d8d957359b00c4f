"""Before any work starts: compose every job as Hydra will, and find everything that is wrong with them.

Hydra by itself stops at the first fault, and answers an unknown key with "append with +". Here each job is
composed with its unknown keys let through, so that `sweepgrad.faults` sees them all, and each
fault is told with the file or override that it came from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweepgrad.config import Config
from sweepgrad.errors import UserError
from sweepgrad.faults import ConfigFaults, Fault, check, nearest
from sweepgrad.home import config_dir

CONFIG_NAME = "config"
_PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.")
_HOW_TO_OVERRIDE = (
    "Overrides are written key=value, without spaces around the =. A value with blanks, commas or letters"
    " beyond ASCII goes into double quotes, and the whole into single ones for the shell: 'key=\"größe\"'."
)
GROUPS = ("data", "model", "optimizer", "schedule", "experiment")  # the folders of conf/


@dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        multirun: whether it is a sweep.
        jobs: the configuration of each run, in the order in which they will run.
        varying: the overrides' keys that have more than one value in the sweep.
        experiment: the experiment's option, if one was chosen.
    """

    multirun: bool
    jobs: tuple[Config, ...]
    varying: tuple[str, ...]
    experiment: str | None


def plan(overrides: Sequence[str], *, multirun: bool, search: Sequence[str] = ()) -> Plan:
    """Compose and check every job of a command line.

    Arguments:
        overrides: what follows `sweepgrad train`, without flags.
        multirun: whether --multirun was given; an experiment may ask for it too.
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: naming all faults of all jobs.
    """
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
        _search_also(search)
        parsed = _parse(overrides)
        _refuse([_in_command_line(fault, parsed) for fault in _for_us_to_set(parsed)])
        _refuse([_in_command_line(fault, parsed) for fault in _unknown_options(parsed)])
        master = _compose(_let_through(parsed), RunMode.MULTIRUN)
        multirun = multirun or str(master.hydra.mode) == "RunMode.MULTIRUN"
        if multirun:
            parsed = _parse([f"{k}={v}" for k, v in (master.hydra.sweeper.params or {}).items()]) + parsed
            parsed = [o for o in parsed if not _is_hydras_own(o)]
            _refuse([_in_command_line(fault, parsed) for fault in _unknown_options(parsed)])
        elif sweeps := [str(o.input_line) for o in parsed if o.is_sweep_override()]:
            raise UserError(f"{' '.join(sweeps)} asks for several runs: add --multirun (or -m).")
        _refuse(list(_importables(master)))
        combinations = _combinations(parsed)
        jobs: dict[Config, list[str]] = {}
        faults: list[str] = []
        for combination in combinations:
            here = _parse(combination)
            composed = _compose(_let_through(here), RunMode.RUN) if multirun else master
            try:
                config = checked(composed)
            except ConfigFaults as error:
                faults += [_with_origin(fault, here, composed, search) for fault in error.faults]
                continue
            if config in jobs:
                same = " ".join(jobs[config])
                faults.append(f"{' '.join(combination)}: is the same run as {same}; a sweep has each once")
            jobs.setdefault(config, combination)
        _refuse(faults)
        varying = tuple(
            o.key_or_group
            for place, o in enumerate(_parse(combinations[0]))
            if len({combination[place] for combination in combinations}) > 1
        )
        return Plan(multirun, tuple(jobs), varying, master.hydra.runtime.choices.get("experiment"))


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


def checked(composed: DictConfig) -> Config:
    """The typed configuration of a job that Hydra composed.

    Raises:
        ConfigFaults: as `sweepgrad.faults.check`.
    """
    try:
        values = {
            str(key): OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
            for key, part in composed.items_ex(resolve=True)
            if key != "hydra"
        }
    except OmegaConfBaseException as error:
        raise ConfigFaults([Fault(error.full_key or "", str(error.msg).splitlines()[0])]) from None
    return check(values)


def _compose(overrides: Sequence[str], mode: RunMode) -> DictConfig:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    try:
        return hydra.compose_config(
            config_name=CONFIG_NAME,
            overrides=list(overrides),
            run_mode=mode,
            from_shell=False,
            with_log_configuration=False,
            validate_sweep_overrides=False,
        )
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, AssertionError) as error:
        cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        raise UserError(f"{error}{cause}") from None


def _parse(overrides: Sequence[str]) -> list[Override]:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    try:
        parsed = OverridesParser.create(hydra.config_loader).parse_overrides(list(overrides))
    except OverrideParseException as error:
        problem = str(error.message).splitlines()[0]
        raise UserError(f"{error.override}: {problem}\n{_HOW_TO_OVERRIDE}") from None
    for override in parsed:
        if not override.key_or_group:
            raise UserError(f"{override.input_line}: names no key\n{_HOW_TO_OVERRIDE}")
    return parsed


def _search_also(folders: Sequence[str]) -> None:
    """As --config-dir does: after our own folder."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    loader = hydra.config_loader
    assert isinstance(loader, ConfigLoaderImpl)
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir {folder}: there is no such folder")
        loader.get_search_path().prepend("command-line", _as_url(folder), SearchPathQuery(provider="schema"))
    loader.repository.initialize_sources(loader.get_search_path())


def _for_us_to_set(overrides: Sequence[Override]) -> Iterator[Fault]:
    for override in overrides:
        if override.key_or_group.partition(".")[0] == "sweep":
            yield Fault(override.key_or_group, "only --multirun sets it.")


def _is_hydras_own(override: Override) -> bool:
    """Whether it is about the launch and says nothing about a job's configuration."""
    key = override.key_or_group
    return key.startswith(("hydra.", "hydra/")) and key != "hydra.searchpath"


def _options(group: str) -> list[str]:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return list(hydra.config_loader.get_group_options(group))


def _unknown_options(overrides: Sequence[Override]) -> Iterator[Fault]:
    for override in overrides:
        options = _options(override.key_or_group)
        if not options:
            continue
        values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
        for value in values:
            chosen = "null" if value is None else str(value)
            none_will_do = override.key_or_group not in GROUPS or override.key_or_group == "experiment"
            if chosen in options or isinstance(value, list) or (chosen == "null" and none_will_do):
                continue
            yield Fault(
                override.key_or_group,
                f"{chosen!r} is no option.{nearest(chosen, options)} There are: {', '.join(options)}.",
            )


def _let_through(overrides: Sequence[Override]) -> list[str]:
    """The overrides, with each that changes a key made to add it if it is not there."""
    return [
        f"++{o.input_line}"
        if o.type == OverrideType.CHANGE
        and not o.key_or_group.startswith("hydra.")
        and not _options(o.key_or_group)
        and not o.is_sweep_override()
        else str(o.input_line)
        for o in overrides
    ]


def _combinations(overrides: Sequence[Override]) -> list[list[str]]:
    try:
        (batch,) = BasicSweeper.split_arguments(list(overrides), None)
    except HydraException as error:
        raise UserError(f"{error}. Sweep over a list, a range() or a choice() instead.") from None
    return batch


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        distinct = list(dict.fromkeys(faults))
        count = "1 fault" if len(distinct) == 1 else f"{len(distinct)} faults"
        lines = "".join(f"\n  {fault}" for fault in distinct)
        raise UserError(f"{count} in the configuration; nothing was run.{lines}")


def _in_command_line(fault: Fault, overrides: Sequence[Override]) -> str:
    source = next((o.input_line for o in overrides if o.key_or_group == fault.key), "")
    return f"{fault.key}: {fault.problem} [from {source}]"


def _with_origin(
    fault: Fault, overrides: Sequence[Override], composed: DictConfig, search: Sequence[str]
) -> str:
    said_here = [str(o.input_line).removeprefix("++") for o in overrides if _concerns(o, fault.key)]
    if said_here:
        return f"{fault.key}: {fault.problem} [from {' '.join(said_here)}]"
    if fault.key and (file := _file_that_says(fault.key, composed, search)):
        return f"{fault.key}: {fault.problem} [from {file}]"
    return f"{fault.key}: {fault.problem}"


def _concerns(override: Override, key: str) -> bool:
    """Whether an override sets `key`, a part of it, or a whole that it is part of."""
    said = f"{override.key_or_group}."
    chooses_a_file = bool(_options(override.key_or_group))
    return said.startswith(f"{key}.") or (f"{key}.".startswith(said) and not chooses_a_file)


def _file_that_says(key: str, composed: DictConfig, search: Sequence[str]) -> str | None:
    """The composed file that has the last word on `key`: an experiment's, a group's, or config.yaml."""
    chosen = {
        group: option
        for group, option in composed.hydra.runtime.choices.items()
        if option is not None and not group.startswith("hydra/")
    }
    files = [(f"experiment/{option}.yaml", "") for group, option in chosen.items() if group == "experiment"]
    files += [(f"{group}/{option}.yaml", f"{group}.") for group, option in chosen.items()]
    for file, prefix in [*files, (f"{CONFIG_NAME}.yaml", "")]:
        folders = (str(config_dir()), *search)
        found = [path for folder in folders if (path := Path(folder) / file).is_file()]
        if found and key.startswith(prefix):
            said = OmegaConf.load(found[0])
            if OmegaConf.select(said, key.removeprefix(prefix)) is not None:
                return _readable(found[0])
    return None


def _readable(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _as_url(folder: str) -> str:
    return f"file://{Path(folder).resolve()}"
