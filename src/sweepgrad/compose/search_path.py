"""The YAML folders of installed extensions, added to Hydra's search path."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from sweepgrad import extensions
from sweepgrad.compose import explain


class ExtensionsPath(SearchPathPlugin):
    """Add the YAML of installed extensions to the search path, after our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in extensions.conf_folders():
            search_path.append("extension", f"file://{folder}")


def search_extensions() -> None:
    """Have Hydra search extensions in this process; other Hydra programs do not."""
    Plugins.instance().register(ExtensionsPath)
    explain.register()
