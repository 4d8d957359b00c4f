"""Where the shipped configurations and data are: beside `src/` in a checkout, inside an installed package."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """The folder of the shipped YAML."""
    return _shipped("conf", "conf")


def data_dir() -> Path:
    """The folder of the shipped tables."""
    return _shipped("data", "bundled_data")


def _shipped(in_checkout: str, in_package: str) -> Path:
    installed = _PACKAGE / in_package
    return installed if installed.is_dir() else _PACKAGE.parents[1] / in_checkout


def cache_dir() -> Path:
    """The user's folder for what can be made again: $XDG_CACHE_HOME/sweepgrad, or ~/.cache/sweepgrad."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "sweepgrad"
