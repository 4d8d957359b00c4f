"""Compositions kept for the whole process, and used again while the files they were made of are the same."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any

from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

_MOST = 300  # entries, of 0.1 MB each

_Question = tuple[str, ...]


class Repository(CachingConfigRepository):
    """The repository of one composition, which keeps what the composition asked it.

    Arguments:
        delegate: Hydra's repository.
        clone: the function that copies a configuration.

    Attributes:
        asked: the files and groups that were looked for, and what was found: the composition depends on it.
        known: whether it depends on nothing else.
    """

    def __init__(self, delegate: ConfigRepository, clone: Callable[[Any], Any]) -> None:
        self.delegate: ConfigRepository = copy.copy(delegate)  # it has no state but the list of sources
        self.cache = {}
        self.asked: dict[_Question, object] = {}
        self.known = True
        self._clone = clone

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        self.known = False
        super().initialize_sources(config_search_path)

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.cache:
            question = ("file", config_path)
            found = self.asked[question] = answer(self.delegate, question)
            loaded = self.delegate.load_config(config_path) if found is None else self._parsed(found)
            if loaded is not None and "${" in str(loaded.defaults_list):
                self.known = False  # a resolver may look anywhere
            self.cache[config_path] = loaded
        return self.cache[config_path]

    def _parsed(self, found: Any) -> ConfigResult | None:
        """Return what a file says, without parsing its content a second time in this process."""
        if found not in _parsed:
            config_path = found[2]
            loaded = self.delegate.load_config(config_path)
            if loaded is None or found[3] is None:
                return loaded
            _put(_parsed, found, self._copied(loaded))
            return loaded
        return self._copied(_parsed[found])

    def _copied(self, loaded: ConfigResult) -> ConfigResult:
        return replace(loaded, config=self._clone(loaded.config), header={**loaded.header})

    def group_exists(self, config_path: str) -> bool:
        return bool(self._ask("group", config_path))

    def config_exists(self, config_path: str) -> bool:
        return bool(self._ask("config", config_path))

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        self.known = False
        return super().get_group_options(group_name, results_filter)

    def _ask(self, *question: str) -> object:
        if question not in self.asked:
            self.asked[question] = answer(self.delegate, question)
        return self.asked[question]


def answer(repository: ConfigRepository, question: _Question) -> object:
    """Return what a repository finds now: for a file, where it is and its content."""
    kind, config_path = question
    if kind == "group":
        return repository.group_exists(config_path)
    if kind == "config":
        return repository.config_exists(config_path)
    source = repository._find_object_source(config_path, ObjectType.CONFIG)
    if source is None:
        return None
    return source.provider, f"{source.scheme()}://{source.path}", config_path, _content(source, config_path)


def _content(source: ConfigSource, config_path: str) -> bytes | None:
    name = source._normalize_file_name(config_path)
    if source.scheme() == "file":
        return Path(source.path, name).read_bytes()
    if source.scheme() == "pkg":
        return resources.files(source.path).joinpath(name).read_bytes()
    return None  # of Hydra's store: see `_key`


@dataclass(frozen=True)
class _Kept:
    """A composition.

    Attributes:
        asked: the files and groups it depends on, see `Repository`.
        store: what was registered in Hydra's store. The key holds only the ids, so the objects must live.
    """

    config: DictConfig
    asked: dict[_Question, object]
    store: Sequence[ConfigNode]


_parsed: dict[Any, ConfigResult] = {}
_kept: dict[Any, _Kept] = {}
_lock = Lock()


def composed(
    repository: ConfigRepository,
    lines: Sequence[str],
    settings: tuple[object, ...],
    clone: Callable[[Any], Any],
    compose: Callable[[], tuple[DictConfig, Repository]],
) -> DictConfig:
    """Return what `compose` does, from an earlier call in this process if it would be the same.

    Arguments:
        repository: Hydra's, before anything was composed.
        lines: the overrides.
        settings: what else the composition depends on, besides the files.
        clone: the function that copies a configuration.
        compose: Compose the configuration; also return the repository that was asked.
    """
    store = [*_nodes(ConfigStore.instance().repo)]
    sources = [(source.provider, source.scheme(), source.path) for source in repository.get_sources()]
    absolute = all(os.path.isabs(path) for _, scheme, path in sources if scheme == "file")
    if not absolute or "${" in str(lines):
        return compose()[0]
    key = (settings, *lines, *sources, *map(id, store))
    kept = _kept.get(key)
    if kept is not None and all(answer(repository, each) == found for each, found in kept.asked.items()):
        config: DictConfig = clone(kept.config)
        config.hydra.runtime.cwd = os.getcwd()
        return config
    config, asked = compose()
    if asked.known and not config.hydra.job.env_copy:
        copied = clone(config)
        OmegaConf.clear_cache(copied)  # `now` is to be each configuration's own
        _put(_kept, key, _Kept(copied, asked.asked, store))
    return config


def _nodes(repo: dict[str, Any]) -> Iterator[ConfigNode]:
    for child in repo.values():
        if isinstance(child, dict):
            yield from _nodes(child)
        else:
            yield child


def _put(cache: dict[Any, Any], key: Any, value: Any) -> None:
    with _lock:
        if len(cache) >= _MOST:
            del cache[next(iter(cache))]  # the oldest
        cache[key] = value
