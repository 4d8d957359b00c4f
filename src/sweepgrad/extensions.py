"""Registries of what a configuration may name, and the packages of others that add to them.

A package adds entries by an entry point of the group `sweepgrad.extensions`, which names a function without
arguments. It is called once in every process, when a registry is first looked at.
"""

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

GROUP = "sweepgrad.extensions"
OURS = "sweepgrad"

T = TypeVar("T")


class ExtensionError(Exception):
    """An installed extension cannot be used; `config.check` makes a `UserError` of it."""


class Registry(Mapping[str, T], Generic[T]):
    """Entries of one kind by their names, those of installed extensions among them.

    Looking at it loads the extensions, so a module must not do so while it is imported.

    Arguments:
        kind: what an entry is, for messages.
        entries: our own.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self._kind, self._entries = kind, dict(entries)
        self._owners = dict.fromkeys(entries, OURS)

    def add(self, name: str, entry: T) -> None:
        """Add an entry of an extension.

        Raises:
            ExtensionError: another package has taken the name.
        """
        if name in self._entries:
            raise ExtensionError(
                f"{self._kind} {name!r} is in both {self._owners[name]} and {_adding or 'this program'};"
                " rename one of them, or uninstall its package"
            )
        self._entries[name], self._owners[name] = entry, _adding or "this program"

    @property
    def known(self) -> Mapping[str, T]:
        """The entries so far, without loading extensions."""
        return self._entries

    def __getitem__(self, name: str) -> T:
        load()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        load()
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        load()
        return len(self._entries)


_lock = threading.RLock()
_loaded = False
_failure: ExtensionError | None = None
_adding = ""  # the package whose entry point is being called


def load() -> None:
    """Call every extension's entry point, unless this process has done so.

    Raises:
        ExtensionError: one fails, or takes a name that is taken. It is raised again each time: a process with
            half of its extensions would train something else.
    """
    global _loaded, _failure, _adding
    with _lock:
        if not _loaded:
            _loaded = True  # before: an extension that looks into a registry is not to be called again
            try:
                digests()  # of the code that is about to be imported, whatever becomes of its files later
                for point in installed():
                    _adding = _package(point)
                    _call(point)
            except ExtensionError as error:
                _failure = error
            except BaseException:  # Ctrl-C: half of them are there, and cannot be taken back
                _failure = ExtensionError("loading the extensions was interrupted: start again")
                raise
            finally:
                _adding = ""
    if _failure is not None:
        raise _failure


def _call(point: EntryPoint) -> None:
    try:
        point.load()()
    except ExtensionError:
        raise
    except Exception as error:
        said = f"{point.value}: {type(error).__name__}: {error}"
        raise ExtensionError(
            f"the extension {_package(point)} cannot be loaded ({said}); repair it, or uninstall it"
        ) from error


@cache
def installed() -> tuple[EntryPoint, ...]:
    """Return the entry points of the installed extensions, in the order of their packages' names."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (_package(point), point.name)))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


@cache
def digests() -> dict[str, str]:
    """Return the SHA-256 of each extension's Python source, by its package's name; nothing is run."""
    found = {}
    for package, roots in _roots().items():
        digest = sha256()
        for root in roots:
            for file in _sources(root):
                digest.update(f"{file.relative_to(root.parent).as_posix()}\0".encode())
                digest.update(file.read_bytes())
        found[package] = digest.hexdigest()
    return found


def _sources(root: Path) -> list[Path]:
    """Return the files of a package's code, compiled ones among them, or a module's own file."""
    return sorted(f for end in ("*.py", "*.so") for f in root.rglob(end)) if root.is_dir() else [root]


def conf_folders() -> tuple[Path, ...]:
    """Return the folders `conf` that extensions have in their packages: YAML of the options that they add."""
    folders = (root / "conf" for roots in _roots().values() for root in roots)
    return tuple(folder for folder in folders if folder.is_dir())


def _roots() -> dict[str, list[Path]]:
    """Return, by its package's name, the folders and single modules where an extension's code lies.

    One whose module is not found is left out: `load` says so.

    Raises:
        ExtensionError: its code lies in no file, so that nothing could tell when it changes.
    """
    found: dict[str, list[Path]] = {}
    for point in installed():
        root = _root(point)
        if root is not None and root not in (roots := found.setdefault(_package(point), [])):
            roots.append(root)
    return found


def _root(point: EntryPoint) -> Path | None:
    """Return the outermost package of an entry point, or its module; a namespace is passed over."""
    words = point.module.split(".")
    for end in range(1, len(words) + 1):
        try:
            spec = importlib.util.find_spec(".".join(words[:end]))
        except ImportError:
            return None
        if spec is None:
            return None
        if spec.origin is not None:
            file = Path(spec.origin)
            return file if spec.submodule_search_locations is None else file.parent
    raise ExtensionError(
        f"the extension {_package(point)} ({point.value}) names a namespace, which has no code"
    )
