"""Where Hydra looks for YAML besides our own: in the folders that installed extensions ship."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from sweepgrad import extensions


class ExtensionsPath(SearchPathPlugin):
    """Adds the YAML of installed extensions to where Hydra looks, after our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in extensions.conf_folders():
            search_path.append("extension", f"file://{folder}")


def search_extensions() -> None:
    """Have this process's Hydra look into extensions too; Hydra programs of others do not."""
    Plugins.instance().register(ExtensionsPath)
