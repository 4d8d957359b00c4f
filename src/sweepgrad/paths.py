"""Where things are. What is shipped is beside `src/` in a checkout, and inside an installed package."""

import os
import sys
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """The folder of the shipped YAML."""
    return _shipped("conf", "conf")


def data_dir() -> Path:
    """The folder of the shipped tables."""
    return _shipped("data", "bundled_data")


def cache_dir() -> Path:
    """The user's folder for what can be made again; it may not be there yet."""
    if told := os.environ.get("XDG_CACHE_HOME"):
        return Path(told, "sweepgrad")
    try:
        home = Path.home()
    except RuntimeError:  # a user without one, as in some containers
        return Path(tempfile.gettempdir(), f"sweepgrad-{os.getuid()}")
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "sweepgrad"


def _shipped(in_checkout: str, in_package: str) -> Path:
    installed = _PACKAGE / in_package
    return installed if installed.is_dir() else _PACKAGE.parents[1] / in_checkout
