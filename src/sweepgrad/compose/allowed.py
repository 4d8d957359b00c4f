"""Allow only those settings of Hydra's own section that cannot run code or write files elsewhere.

Hydra instantiates what a `_target_` names, configures logging with any class and any file, imports the
packages of its search path, and sets environment variables. Here YAML is data: it may choose a launcher and
a sweeper by exact name, and nothing else.
"""

from collections.abc import Iterator, MutableSequence
from contextlib import suppress
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ConfigDefault
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.compose.boundary import problem
from sweepgrad.compose.hydra_settings import refuse_other_folder
from sweepgrad.compose.references import bounded
from sweepgrad.compose.yaml_files import Repository
from sweepgrad.config.check import ConfigError
from sweepgrad.config.section import path_text
from sweepgrad.errors import UserError

_TARGET = "_target_"
_PLUGINS = {"hydra.launcher": Launcher, "hydra.sweeper": Sweeper}
_SPECIAL = (
    "_args_",
    "_partial_",
)  # keys by which `instantiate` does something else than call a class by name
_PATHS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.sweeper.storage")
_MOST_INCLUDED = 10  # files, one in another
_LOGGING = ("hydra.hydra_logging", "hydra.job_logging")


class FileLoader(ConfigLoaderImpl):
    """A `ConfigLoaderImpl` with limits, that searches folders only: searching a package would import it."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self._safe: set[tuple[str, ...]] = set()  # options, and overrides of Hydra's keys, that were checked
        self._classes: dict[str, str | None] = {}

    def load_configuration(self, *arguments: Any, **settings: Any) -> DictConfig:
        with bounded():
            return super().load_configuration(*arguments, **settings)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a job, and refuse what is refused of the sweep: sweepers and launchers compose with it too.

        Raises:
            UserError: the job changes settings of Hydra's.
        """
        composed = super().load_sweep_config(master_config, sweep_overrides)
        of_hydra = [line for line in sweep_overrides if "hydra" in line]
        checked = (str(composed.hydra.runtime.choices), str(master_config.hydra.overrides.hydra), *of_hydra)
        if checked not in self._safe:
            with bounded():
                refuse_settings(composed, self)
            self._safe.add(checked)
        with bounded():
            refuse_other_folder(composed, master_config)
        return composed

    def class_of(self, option: str) -> str | None:
        """Return the class of an option of launchers or sweepers, such as hydra/launcher/threads.

        It is the `_target_` in the option's file, or in the last file of the same group that this includes.
        """
        if option not in self._classes:
            self._classes[option] = _class_of(self.repository, option, _MOST_INCLUDED)
        return self._classes[option]

    def _process_config_searchpath(
        self, config_name: str | None, parsed_overrides: list[Override], repo: CachingConfigRepository
    ) -> None:
        given: list[Any] = [o.value() for o in parsed_overrides if o.get_key_element() == "hydra.searchpath"]
        primary = repo.load_config(config_path=config_name) if config_name is not None else None
        if primary is not None and OmegaConf.is_dict(primary.config):
            given.append(OmegaConf.select(primary.config, "hydra.searchpath"))
        for paths in given:
            for path in paths if isinstance(paths, MutableSequence) else ():
                scheme, separator, _ = str(path).partition("://")
                if separator and scheme != "file":
                    raise UserError(
                        f"hydra.searchpath: {path} is not a folder. Use file://FOLDER, or --config-dir FOLDER"
                    )
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


class CheckedHydra(Hydra):
    """A Hydra that configures no logging, and refuses settings by which YAML could run code."""

    def compose_config(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        with_log_configuration: bool = False,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        composed = super().compose_config(
            config_name, overrides, run_mode, False, from_shell, validate_sweep_overrides
        )
        if config_name is not None:  # without a name these are Hydra's own defaults, for --hydra-help
            loader = self.config_loader
            assert isinstance(loader, FileLoader)
            refuse_settings(composed, loader)
        return composed


def refused_settings(composed: DictConfig, loader: FileLoader) -> Iterator[ConfigError]:
    """Yield an error for each of Hydra's settings that could run code, or write files of its own.

    Arguments:
        composed: a configuration with the section `hydra`, before Hydra instantiates anything.
        loader: knows the options of launchers and sweepers.
    """
    section = composed._get_node("hydra")
    if not isinstance(section, DictConfig) or section._is_interpolation():
        yield ConfigError("hydra", "must be a section of settings")
        return
    for key, node in _below("hydra", section):
        plugin, _, name = key.rpartition(".")
        if name == _TARGET and plugin not in _PLUGINS:
            yield ConfigError(
                key, f"{_shown(node)} would be imported, but only launchers and sweepers may be. Remove it"
            )
    for key, kind in _PLUGINS.items():
        yield from _plugin(composed, loader, key, kind)
    variables = "environment variables choose what programs run. Set them before the command"
    for key, why in (
        ("hydra.callbacks", "callbacks run code, which YAML may not"),
        ("hydra.job.env_copy", variables),  # Hydra adds them to the others
        ("hydra.job.env_set", variables),
        ("hydra.output_subdir", "a run's folder has its configuration, config.yaml. Remove it"),
    ):
        if _value(composed, key):
            yield ConfigError(key, f"is not supported: {why}")
    for key in _PATHS:
        with suppress(OmegaConfBaseException):  # what cannot be resolved is reported by its user
            text = str(OmegaConf.select(composed, key, default=""))
            try:
                path_text(text)
            except ValueError as error:
                yield ConfigError(key, str(error))
    for key in _LOGGING:
        if _value(composed, f"{key}.root") is not None:
            yield ConfigError(
                key, f"is not supported: sweepgrad prints its own progress. Use {key.replace('.', '/')}=none"
            )


def refuse_settings(composed: DictConfig, loader: FileLoader) -> None:
    """Raise a UserError for the errors of `refused_settings`."""
    problems = [f"{error.key}: {error.problem}" for error in refused_settings(composed, loader)]
    if problems:
        raise UserError("\n  ".join(["Hydra's settings; nothing was run", *problems]))


@cache
def plugins(kind: type) -> frozenset[str]:
    """Return the exact names of the classes of a kind of plugin that Hydra has discovered."""
    return frozenset(f"{each.__module__}.{each.__qualname__}" for each in Plugins.instance().discover(kind))


def _plugin(composed: DictConfig, loader: FileLoader, section: str, kind: type) -> Iterator[ConfigError]:
    """Yield errors for a launcher or a sweeper: its class, and values that are more than data."""
    group = section.replace(".", "/")
    option = composed.hydra.runtime.choices.get(group)
    node = OmegaConf.select(composed, section)
    if node is None:
        return  # reported with the options that exist
    if not isinstance(node, DictConfig):
        yield ConfigError(section, "must be one of its options")
        return
    if composed.hydra._get_node(section.rpartition(".")[2])._is_interpolation():
        yield ConfigError(section, "must be one of its options, not a reference to another section")
        return
    for key, each in _below(section, node):
        name = key.rpartition(".")[2]
        if key == f"{section}.{_TARGET}":
            target = each._value()
            if target not in plugins(kind):
                known = ", ".join(sorted(plugins(kind)))
                yield ConfigError(key, f"{_shown(each)} is not a {kind.__name__.lower()}. Installed: {known}")
            elif loader.class_of(f"{group}/{option}") != target:
                other = f"{_shown(each)} is not the class of {group}={option}. Remove it, or set {group}"
                yield ConfigError(key, other)
        elif name in _SPECIAL:
            yield ConfigError(key, "is not supported. Remove it")
        elif name == _TARGET:
            yield ConfigError(key, f"{_shown(each)} would be imported. Remove it")
        elif each._is_interpolation():
            try:
                found = each._dereference_node()
            except OmegaConfBaseException as error:
                yield ConfigError(key, problem(error))
                continue
            if isinstance(found, Container) or isinstance(found._value(), dict | list):
                yield ConfigError(key, "must be a value, not a reference to a section")


def _class_of(repository: ConfigRepository, path: str, most: int) -> str | None:
    found = repository.load_config(path)
    if found is None:
        return None
    node = found.config._get_node(_TARGET) if isinstance(found.config, DictConfig) else None
    if isinstance(node, Node):
        return str(node._value())
    for included in reversed(found.defaults_list or []):
        if most and isinstance(included, ConfigDefault) and not included.is_self():
            included.update_parent(path.rpartition("/")[0], "")
            if name := _class_of(repository, included.get_config_path(), most - 1):
                return name
    return None


def _below(section: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the keys and nodes below a section, without following references."""
    found: list[tuple[str, Node]] = [(section, node)]
    while found:
        key, each = found.pop()
        if key != section:
            yield key, each
        content = each.__dict__.get("_content")
        if isinstance(each, DictConfig) and isinstance(content, dict):
            found += [(f"{key}.{name}", inner) for name, inner in content.items()]
        elif isinstance(each, ListConfig) and isinstance(content, list):
            found += [(f"{key}.{place}", inner) for place, inner in enumerate(content)]


def _value(composed: DictConfig, key: str) -> object:
    """Return a setting, or a reference on the way to it: what that refers to may differ from job to job."""
    node: Any = composed
    for name in key.split("."):
        node = node._get_node(name) if isinstance(node, DictConfig) and not node._is_none() else None
        if node is not None and node._is_interpolation():
            return str(node._value())  # an empty section is false, a reference is not
    return None if node is None or node._is_none() or node._is_missing() else node


def _shown(node: Node) -> str:
    return str(node._value())[:200]
