"""The modules of sweepgrad that a module imports, directly or through others, read from the source."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

PACKAGE = "sweepgrad"

_parsing = Lock()  # CPython 3.11 raises SystemError where two threads parse at the same time (gh-106905)


def closure(name: str, places: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a module and of all modules that it imports, by name.

    Imports inside functions count, as do the packages around each module; imports for type checkers do not.

    Arguments:
        name: dotted, such as "sweepgrad.training.loop".
        places: folders of the package; a module's file is taken from the first that has it, as Python does.

    Raises:
        OSError: a file cannot be read.
    """
    found: dict[str, Path] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found or (file := _file_of(module, places)) is None:
            continue
        found[module] = file
        waiting += (each for each in _imported(file) if each not in found)
        if package := module.rpartition(".")[0]:
            waiting.append(package)
    return found


def _file_of(name: str, places: Sequence[Path]) -> Path | None:
    """Return None for what is not a module of the package."""
    top, *parts = name.split(".")
    if top != PACKAGE:
        return None
    for place in places:
        path = place.joinpath(*parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


@cache  # parsing takes most of the time
def _imported(file: Path) -> tuple[str, ...]:
    with _parsing:
        try:
            tree = ast.parse(file.read_bytes())
        except SystemError:  # another library parsed in another thread
            tree = ast.parse(file.read_bytes())
    return tuple(_imports(tree.body))


def _imports(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Yield everything that the statements import; it may be a module, or a name in one."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and node.module.partition(".")[0] == PACKAGE:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _imports(node.orelse)
        else:  # only statements are visited: expressions import nothing, and are most of a tree
            for block in ("body", "orelse", "handlers", "finalbody", "cases"):
                yield from _imports(getattr(node, block, ()))
