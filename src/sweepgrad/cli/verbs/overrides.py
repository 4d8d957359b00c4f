"""The arguments of verbs that take a configuration, as `sweepgrad train` does."""

import argparse


def add_overrides(
    verb: argparse.ArgumentParser, help_: str = "overrides as for train, such as model=wide"
) -> None:
    """Add the arguments KEY=VALUE and --config-dir."""
    verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=help_)
    verb.add_argument("--config-dir", metavar="FOLDER", help="folder with more YAML files, as for train")


def search_of(options: argparse.Namespace) -> list[str]:
    """Return the folders of --config-dir, for `plan.plan`."""
    return [options.config_dir] if options.config_dir else []
