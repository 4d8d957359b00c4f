"""Paths of the shipped files: beside `src/` in a checkout, inside the package when installed."""

import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """Return the folder of the shipped YAML."""
    return _shipped("conf", "conf")


def data_dir() -> Path:
    """Return the folder of the shipped tables."""
    return _shipped("data", "bundled_data")


def cache_dir() -> Path:
    """Return the user's cache folder, which may not exist yet."""
    from platformdirs import user_cache_path  # imported late, since --help does not need it

    if not os.environ.get("XDG_CACHE_HOME"):
        try:
            Path.home()
        except RuntimeError:  # a user without a home folder, as in some containers
            return Path(tempfile.gettempdir(), f"sweepgrad-{os.getuid()}")
    return user_cache_path("sweepgrad", appauthor=False)


def _shipped(in_checkout: str, in_package: str) -> Path:
    installed = _PACKAGE / in_package
    return installed if installed.is_dir() else _PACKAGE.parents[1] / in_checkout
