"""YAML files, read within limits: size, nesting, number of values with aliases expanded.

They are checked while the tree is composed, before any value is made of it. Hydra's own file source has no
limits, so `Repository` replaces it.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.bounded import reading
from sweepgrad.compose import limits
from sweepgrad.compose.boundary import message
from sweepgrad.compose.copying import clone
from sweepgrad.compose.limits import MAX_DEPTH, MAX_FILE_BYTES, MAX_FILE_NODES, MAX_FILES
from sweepgrad.errors import DamagedFile, UserError, shortened

_LONGEST_NUMBER = 100  # characters of a whole number of 64 bits, in any notation


class Repository(ConfigRepository):
    """Hydra's repository of YAML files, with limits on each file."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        super().initialize_sources(config_search_path)
        self.sources = [
            FileSource(source.provider, source.path) if source.scheme() == "file" else source
            for source in self.sources
        ]


class CachingRepository(CachingConfigRepository):
    """Hydra's cache of a composition, with a limit on the number of files that defaults lists ask for."""

    def __init__(self, delegate: ConfigRepository) -> None:
        own = copy.copy(delegate)  # Hydra's deep copy takes a tenth of a composition
        own.sources = [copy.copy(source) for source in delegate.sources]
        self.delegate, self.cache = own, {}
        self._n_asked = 0

    def load_config(self, config_path: str) -> ConfigResult | None:
        self._n_asked += 1
        if self._n_asked > MAX_FILES:
            raise UserError(
                f"{config_path}.yaml: the defaults lists ask for more than {MAX_FILES:,} files. Remove files"
                " that include each other"
            )
        return super().load_config(config_path)


class FileSource(FileConfigSource):
    """Hydra's source of the YAML files of a folder, which reads them within limits."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._n_nodes = 0

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path)).resolve()
        if not path.exists():
            raise ConfigLoadError(f"Config not found : {path}")
        status = path.stat()
        version = (path, status.st_mtime_ns, status.st_size)
        _, n_nodes, head = _loaded(*version)
        self._n_nodes += n_nodes
        if self._n_nodes > MAX_FILE_NODES:
            raise UserError(f"{self.path}: its YAML files have more than {MAX_FILE_NODES:,} values together")
        config = clone(_config(*version))  # Hydra changes it
        header = self._get_header_dict(head)
        return ConfigResult(
            config=config, path=f"{self.scheme()}://{self.path}", provider=self.provider, header=header
        )


class Loaded(NamedTuple):
    """The contents of a YAML file, shared by all who load it.

    Attributes:
        content: dicts, lists and values.
        n_nodes: their number, those of an alias counted each time that it is used.
        head: the beginning of the text, where Hydra looks for @package.
    """

    content: dict[Any, Any] | list[Any] | str | None
    n_nodes: int
    head: str


def load(path: Path) -> Loaded:
    """Return the contents of a YAML file.

    Raises:
        UserError: the file exceeds a limit, or is no text.
        YAMLError: it is no YAML.
    """
    status = path.stat()
    return _loaded(path, status.st_mtime_ns, status.st_size)


def read_text(path: Path) -> str:
    """Return the text of a YAML file.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{_shown(path)}: is larger than {MAX_FILE_BYTES / 1e6:g} MB, the limit of YAML")
        return reading.read(path, MAX_FILE_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(f"{_shown(path)}: cannot be read: {error.strerror}") from None
    except DamagedFile as error:
        raise UserError(f"{_shown(path)}: {error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{_shown(path)}: is not UTF-8 text, at byte {error.start}") from None


@lru_cache(maxsize=64)  # a composition reads each file twice, and each error asks which file it comes from
def _loaded(path: Path, modified: int, size: int) -> Loaded:
    text, name = read_text(path), str(path)
    loader = _Loader(text, _shown(Path(name)))
    try:
        content = loader.get_single_data()
    except (ValueError, OverflowError) as error:  # of a number, such as one with 5,000 digits
        raise UserError(f"{loader.name}: {shortened(error, 200)}") from None
    finally:
        loader.dispose()
    if content is not None and not isinstance(content, dict | list | str):
        raise UserError(f"{loader.name}: must be keys and values, not {shortened(content)!r}")
    return Loaded(content, loader.n_nodes, text[:512])


@lru_cache(maxsize=64)  # a clone takes a tenth of the time
def _config(path: Path, modified: int, size: int) -> Any:
    content = _loaded(path, modified, size).content
    # A text alone is a key without a value to Hydra. `create` would parse it as YAML, without limits.
    values = {content: None} if isinstance(content, str) else {} if content is None else content
    try:
        return OmegaConf.create(values)
    except OmegaConfBaseException as error:  # such as a key that is null, or a set
        raise UserError(f"{_shown(path)}: {message(error)}") from None


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def parse(text: str, name: str) -> Any:
    """Return the value of a YAML text by YAML's own rules, as `config.yaml` of a run is written.

    OmegaConf's rules differ in numbers: `1e3` is a text in YAML.

    Arguments:
        name: a name for messages.

    Raises:
        UserError: it exceeds a limit, or is not valid YAML.
    """
    try:
        loader = _PlainLoader(text, name)
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as a number with 5,000 digits
        raise UserError(f"{name}: {shortened(error, 200)}") from None


class _Limited(yaml.SafeLoader):
    """A loader with limits that are checked node by node.

    Attributes:
        n_nodes: the nodes so far, those of an alias counted each time that it is used.
    """

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name
        self.n_nodes = 0
        self._depth = 0
        self._deepest = 0  # of the node that is being composed, below the root
        self._complete: dict[str, tuple[int, int]] = {}  # the nodes and the height of each anchor

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            if event.anchor in self.anchors and event.anchor not in self._complete:
                self._refuse(event, f"*{event.anchor} contains itself")
            size, height = self._complete.get(event.anchor, (0, 0))
            self._count(event, size, height)
        else:
            self._count(event, 1, 1)
        before, outer = self.n_nodes, self._deepest
        self._depth += 1
        self._deepest = self._depth
        node = super().compose_node(parent, index)
        assert node is not None
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self._complete[event.anchor] = self.n_nodes - before + 1, self._deepest - self._depth + 1
        self._depth -= 1
        self._deepest = max(outer, self._deepest)
        return node

    def _count(self, event: Any, size: int, height: int) -> None:
        self.n_nodes += size
        if self.n_nodes > MAX_FILE_NODES:
            self._refuse(event, f"has more than {MAX_FILE_NODES:,} values, with aliases expanded")
        self._deepest = max(self._deepest, self._depth + height)
        if self._depth + height > MAX_DEPTH:
            self._refuse(event, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > limits.MAX_STRING_CHARACTERS:
            self._refuse(event, f"has a text of {len(event.value):,} characters")
        if isinstance(event, yaml.ScalarEvent) and event.value.count("${") > MAX_DEPTH:
            self._refuse(event, f"has more than {MAX_DEPTH} references in a text")

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """Return a whole number; Python can hold larger ones, but not always write them."""
        number = self.construct_yaml_int(node) if len(node.value) <= _LONGEST_NUMBER else None
        if number is None or not -(2**63) <= number < 2**64:
            self._refuse(node, f"{shortened(node.value)} is a whole number of more than 64 bits")
        assert number is not None
        return number

    def _refuse(self, event: Any, problem: str) -> None:
        raise UserError(f"{self.name}, line {event.start_mark.line + 1}: {problem}")


class _PlainLoader(_Limited):
    """YAML's own loader with limits."""


class _Loader(_Limited, get_yaml_loader()):  # type: ignore[misc]  # it is made by a function
    """OmegaConf's loader with limits."""


for _each in (_PlainLoader, _Loader):
    _each.add_constructor("tag:yaml.org,2002:int", _Limited.whole_number)
