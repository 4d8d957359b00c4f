"""The modules that a model brings along, so that it loads where sweepgrad is not installed."""

import ast
from collections.abc import Iterator
from pathlib import Path

_SRC = Path(__file__).parents[2]
_LOADED_BY = "sweepgrad.tracking.pyfunc"

_ELSEWHERE = """
# Only what a model needs is here: the rest is where sweepgrad is installed, if it is.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
"""


def modules() -> list[Path]:
    """Return the files of all modules that loading a model imports, the model's own left out.

    They are what it imports, what these import, and so on, inside functions too, and the packages around.
    """
    found: dict[str, Path] = {}
    waiting = [_LOADED_BY]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = _file_of(name)
        tree = ast.parse(found[name].read_text(encoding="utf-8"))
        waiting += filter(_is_module, _imports(tree))
        if package := name.rpartition(".")[0]:
            waiting.append(package)
    kept = (name for name in found if not f"{_LOADED_BY}.".startswith(f"{name}.") or name == "sweepgrad")
    return sorted(found[name] for name in kept)


def copy_into(folder: Path) -> Path:
    """Leave the modules below `folder` as a package `sweepgrad`, and return its folder."""
    for file in modules():
        copy = folder / file.relative_to(_SRC)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        copy.write_text(text + _ELSEWHERE * (file.name == "__init__.py"), encoding="utf-8")
    return folder / "sweepgrad"


def _file_of(name: str) -> Path:
    path = _SRC.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return name.partition(".")[0] == "sweepgrad" and _file_of(name).is_file()


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports and does not import for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node)
