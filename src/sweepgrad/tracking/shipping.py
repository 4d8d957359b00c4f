"""The modules that are logged with a model, so that it loads where sweepgrad is not installed."""

from pathlib import Path

from sweepgrad.runs.imports import PACKAGE, closure

_SRC = Path(__file__).parents[2]
_LOADED_BY = "sweepgrad.tracking.pyfunc"

_ELSEWHERE = """
# Only the modules that a model needs are here; the others come from an installed sweepgrad, if there is one.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
"""


def modules() -> list[Path]:
    """Return the files of all modules that loading a model imports, except the module that MLflow keeps."""
    found = closure(_LOADED_BY, [_SRC / PACKAGE])
    kept = (name for name in found if not f"{_LOADED_BY}.".startswith(f"{name}.") or name == PACKAGE)
    return sorted(found[name] for name in kept)


def copy_into(folder: Path) -> Path:
    """Copy the modules below `folder` as a package `sweepgrad`, and return its folder."""
    for file in modules():
        copy = folder / file.relative_to(_SRC)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        copy.write_text(text + _ELSEWHERE * (file.name == "__init__.py"), encoding="utf-8")
    return folder / "sweepgrad"
