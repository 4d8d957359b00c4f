"""Registries of the names that a configuration accepts, and the packages that add to them.

A package adds entries through an entry point of the group `sweepgrad.extensions`, which names a function
without arguments. It is called once in every process, when a registry is first read.
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
    """An installed extension cannot be used; `config.check` raises it as a `UserError`."""


class Registry(Mapping[str, T], Generic[T]):
    """Entries of one kind by name, including those of installed extensions.

    Reading a registry loads the extensions, so a module must not read one while it is imported.

    Arguments:
        kind: the kind of an entry, for messages.
        entries: the entries of this package.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self._kind, self._entries = kind, dict(entries)
        self._owners = dict.fromkeys(entries, OURS)

    def add(self, name: str, entry: T) -> None:
        """Add an entry of an extension.

        Raises:
            ExtensionError: another package has added the name.
        """
        if name in self._entries:
            raise ExtensionError(
                f"{self._kind} {name!r} is in both {self._owners[name]} and {_adding or 'this program'}."
                " Rename one of them, or uninstall its package"
            )
        self._entries[name], self._owners[name] = entry, _adding or "this program"

    def owner(self, name: str) -> str:
        """Return the package that has added an entry."""
        return self._owners[name]

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
    """Call every extension's entry point, once per process.

    Raises:
        ExtensionError: an extension fails, or adds a name that exists. It is raised by every call: a process
            without some of its extensions would train something else.
    """
    global _loaded, _failure, _adding
    with _lock:
        if not _loaded:
            _loaded = True  # before the calls: an extension may read a registry
            try:
                digests()  # of the code that is imported now, even if the files change later
                for point in installed():
                    _adding = _package(point)
                    _call(point)
            except ExtensionError as error:
                _failure = error
            except BaseException:  # Ctrl-C: some are loaded, and cannot be unloaded
                _failure = ExtensionError("loading the extensions was interrupted. Start the program again")
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
        cause = f"{point.value}: {type(error).__name__}: {error}"
        raise ExtensionError(
            f"the extension {_package(point)} cannot be loaded ({cause}). Repair or uninstall it"
        ) from error


@cache
def installed() -> tuple[EntryPoint, ...]:
    """Return the entry points of the installed extensions, ordered by the names of their packages."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (_package(point), point.name)))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


@cache
def digests() -> dict[str, str]:
    """Return the SHA-256 of each extension's source by the name of its package, without importing it."""
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
    """Return the source and compiled files of a package, or the file of a module."""
    return sorted(f for end in ("*.py", "*.so") for f in root.rglob(end)) if root.is_dir() else [root]


def conf_folders() -> tuple[Path, ...]:
    """Return the folders `conf` in the packages of extensions, with the YAML of their options."""
    folders = (root / "conf" for roots in _roots().values() for root in roots)
    return tuple(folder for folder in folders if folder.is_dir())


def _roots() -> dict[str, list[Path]]:
    """Return the folders and single modules of each extension's code, by the name of its package.

    An extension whose module is not found is left out; `load` reports it.

    Raises:
        ExtensionError: an extension has no files, so that a change of it could not be detected.
    """
    found: dict[str, list[Path]] = {}
    for point in installed():
        root = _root(point)
        if root is not None and root not in (roots := found.setdefault(_package(point), [])):
            roots.append(root)
    return found


def _root(point: EntryPoint) -> Path | None:
    """Return the outermost package of an entry point, or its module; namespace packages are skipped."""
    parts = point.module.split(".")
    for end in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except ImportError:
            return None
        if spec is None:
            return None
        if spec.origin is not None:
            file = Path(spec.origin)
            return file if spec.submodule_search_locations is None else file.parent
    raise ExtensionError(
        f"the extension {_package(point)} ({point.value}) names a namespace package, which has no code"
    )
