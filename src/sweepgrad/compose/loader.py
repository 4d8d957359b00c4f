"""A config loader that composes the jobs of a sweep faster than Hydra's, with the same result.

Hydra reads and merges all YAML again for each job. This loader does so once for each choice of options and of
Hydra's own settings. A job is a copy of the result with the job's values set by Hydra's own function. If
setting them might read what Hydra fills in later, or if anything fails, Hydra composes the job itself.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf

from sweepgrad.compose.allowed import CheckedHydra, FileLoader
from sweepgrad.compose.copying import clone
from sweepgrad.compose.hydra_settings import is_of_hydra
from sweepgrad.compose.limits import check_overrides
from sweepgrad.compose.search_path import search_extensions
from sweepgrad.compose.yaml_files import CachingRepository
from sweepgrad.errors import UserError
from sweepgrad.paths import config_dir

CONFIG_NAME = "config"
_PLAIN_KEY = re.compile(r"[\w$-]+(\.[\w$-]+)*")

_LAUNCHING = RLock()  # `GlobalHydra` belongs to one thread at a time
_STARTING = Lock()
_users: list[Any] = []  # Hydra's version base before each Hydra that is in use, in any thread


@contextmanager
def hydra_for(search: Sequence[str] = ()) -> Iterator[Hydra]:
    """Yield a Hydra on our YAML, which `GlobalHydra` returns too until the context ends.

    One thread at a time; others wait. `composer_for` does not wait.

    Arguments:
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: a folder does not exist.
    """
    with _LAUNCHING, composer_for(search) as hydra:
        in_use = GlobalHydra.instance()
        before, in_use.hydra = in_use.hydra, None
        try:
            in_use.initialize(hydra)
            yield hydra
        finally:
            in_use.hydra = before


@contextmanager
def composer_for(search: Sequence[str] = ()) -> Iterator[Hydra]:
    """Yield a Hydra on our YAML that composes configurations, but cannot launch jobs.

    What it has composed is cached until the context ends: a file that changes during a sweep changes no job.

    Arguments:
        search: as for `hydra_for`.

    Raises:
        UserError: as `hydra_for`.
    """
    for folder in search:
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir {folder}: there is no such folder")
    base = version.VersionBase.instance()
    with _STARTING:
        search_extensions()
        search_path = create_config_search_path(str(config_dir()))
        for folder in search:
            url = f"file://{Path(folder).resolve()}"
            search_path.prepend("command-line", url, SearchPathQuery(provider="schema"))
        _users.append(base.version_base)  # of another Hydra application, from which we may be called
        version.setbase("1.3")
    try:
        with _STARTING:
            hydra = CheckedHydra(task_name="train", config_loader=SweepLoader(search_path))
        yield hydra
    finally:
        with _STARTING:
            before = _users.pop()
            if not _users:
                base.version_base = before


@dataclass(frozen=True)
class _Base:
    """The configuration composed from the overrides that select files, and from leading ones of Hydra's keys.

    Attributes:
        config: the configuration that is copied for each job, without Hydra's lists of overrides.
        separators: arguments for `get_overrides_dirname`.
    """

    config: DictConfig
    separators: dict[str, Any]


class SweepLoader(FileLoader):
    """A `FileLoader` that composes many similar jobs faster."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._parser = OverridesParser.create(self)
        self._parsed: dict[str, Override] = {}
        self._listed: dict[str, Node] = {}
        self._bases: dict[tuple[str | None, ...], _Base | None] = {}
        self._groups: dict[tuple[str | None, ...], dict[str, bool]] = {}
        self._options: dict[tuple[str, ObjectType | None], list[str]] = {}

    def parse(self, lines: Sequence[str]) -> list[Override]:
        """Return the overrides of lines, parsed once.

        Raises:
            OverrideParseException: a line is not an override.
            UserError: the lines exceed a limit.
        """
        check_overrides(lines)
        for line in lines:
            if line not in self._parsed:
                (self._parsed[line],) = self._parser.parse_overrides([line])
        return [self._parsed[line] for line in lines]

    def adding(self, override: Override) -> str:
        """Return the line of an override that changes a key or, if it is unknown, adds it."""
        line = f"++{override.input_line}"
        self._parsed.setdefault(line, replace(override, type=OverrideType.FORCE_ADD, input_line=line))
        return line

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name is not None or overrides:
            return super().get_group_options(group_name, results_filter, config_name, overrides)
        key = (group_name, results_filter)
        if key not in self._options:
            self._options[key] = self.repository.get_group_options(group_name, results_filter)
        return [*self._options[key]]

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingRepository]:
        parsed = self.parse(overrides)
        repository = CachingRepository(self.repository)
        self._process_config_searchpath(config_name, parsed, repository)
        return parsed, repository

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        if run_mode == RunMode.RUN:
            with suppress(Exception):  # Hydra will meet the same error, and report it
                config = self._from_base(config_name, overrides)
                if config is not None:
                    return config
        return super()._load_configuration_impl(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def _from_base(self, config_name: str | None, lines: list[str]) -> DictConfig | None:
        """Return the configuration, or None if only Hydra can compose it."""
        overrides = self.parse(lines)
        if any(override.is_sweep_override() for override in overrides):
            return None
        groups = self._groups_for(config_name, overrides)
        base_lines: list[str] = []
        values: list[Override] = []
        for line, override in zip(lines, overrides, strict=True):
            if self._selects_a_file(override, groups):
                base_lines.append(line)
            elif not is_of_hydra(override):
                values.append(override)
            elif not values:
                base_lines.append(line)
            else:  # it may depend on values that are set before it
                return None
        base = self._base(config_name, base_lines)
        if base is None:
            return None
        config: DictConfig = clone(base.config)
        for override in values:
            if _touches_other_keys(config, override):
                return None
            self._apply_overrides_to_config([override], config)
        hydra = config.hydra
        hydras, tasks = hydra.overrides.hydra, hydra.overrides.task
        for line, override in zip(lines, overrides, strict=True):
            self._list(line, hydras if override.is_hydra_override() else tasks)
        hydra.job.override_dirname = get_overrides_dirname(
            [override for override in overrides if not override.is_hydra_override()], **base.separators
        )
        return config

    def _list(self, line: str, lines: ListConfig) -> None:
        """Append a line. OmegaConf's own append takes longer than all other work for an override."""
        known = self._listed.get(line)
        content = lines.__dict__["_content"]
        if known is None:
            lines.append(line)
            self._listed[line] = clone(content[-1])
        else:
            node = clone(known, lines)
            node._set_key(len(content))
            content.append(node)

    def _groups_for(self, config_name: str | None, overrides: Sequence[Override]) -> dict[str, bool]:
        """Return whether each key is a group in the search path that the overrides set."""
        lines = [str(o.input_line) for o in overrides if o.get_key_element() == "hydra.searchpath"]
        groups = self._groups.setdefault((config_name, *lines), {})
        unknown = {override.key_or_group for override in overrides} - groups.keys()
        if unknown:
            _, repository = self._parse_overrides_and_create_caching_repo(config_name, lines)
            groups |= {key: repository.group_exists(key) for key in unknown}
        return groups

    @staticmethod
    def _selects_a_file(override: Override, groups: dict[str, bool]) -> bool:
        return groups[override.key_or_group] and not isinstance(override.value(), dict)

    def _base(self, config_name: str | None, lines: list[str]) -> _Base | None:
        key = (config_name, os.getcwd(), *lines)
        if key not in self._bases:
            config = super()._load_configuration_impl(config_name, lines, RunMode.RUN)
            self._bases[key] = _prepared(config, self.parse(lines))
        return self._bases[key]


def _prepared(composed: DictConfig, overrides: Sequence[Override]) -> _Base | None:
    """Return a base, or None if what Hydra fills in depends on more than the names of files."""
    hydra: Any = OmegaConf.to_container(composed, resolve=False)["hydra"]  # type: ignore[call-overload, index]
    named = hydra["job"]["config"]["override_dirname"]
    if "${" in str([hydra["overrides"], named]):
        return None
    for listed, of_hydra in ((composed.hydra.overrides.hydra, True), (composed.hydra.overrides.task, False)):
        n = sum(override.is_hydra_override() == of_hydra for override in overrides)
        content = listed.__dict__["_content"]
        del content[len(content) - n :]
    OmegaConf.clear_cache(composed)  # so that each job has its own `now`
    return _Base(composed, named)


def _touches_other_keys(config: DictConfig, override: Override) -> bool:
    """Return whether applying an override might read or write other keys, through an interpolation."""
    if not _PLAIN_KEY.fullmatch(override.key_or_group):
        return True
    *path, last = override.key_or_group.split(".")
    parent: Any = config
    for word in path:
        parent = _child(parent, word)
        if not isinstance(parent, Container):
            return isinstance(parent, Node) and parent._is_interpolation()
        if parent._is_interpolation():
            return True
    target, value = _child(parent, last), override.value()
    if isinstance(value, dict | list) or (override.is_delete() and value is not None):
        return "${" in str(override.input_line) or _interpolates(target)
    changes = override.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
    return not changes and target is not None and target._is_interpolation()


def _child(container: Container, word: str) -> Node | None:
    content = container.__dict__["_content"]
    if isinstance(container, ListConfig) and isinstance(content, list):
        place = int(word)
        return content[place] if place < len(content) else None
    return content.get(word) if isinstance(content, dict) else None


def _interpolates(node: Node | None) -> bool:
    if node is None:
        return False
    content = node.__dict__.get("_content")
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return node._is_interpolation() or any(map(_interpolates, below))
