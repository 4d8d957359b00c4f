"""What verbs that take a configuration, as `sweepgrad train` does, have in common."""

import argparse


def add_overrides(verb: argparse.ArgumentParser, help_: str = "as for train, such as model=wide") -> None:
    """The arguments KEY=VALUE and --config-dir."""
    verb.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=help_)
    verb.add_argument("--config-dir", metavar="FOLDER", help="more YAML, as for train")


def search_of(options: argparse.Namespace) -> list[str]:
    """The folders of --config-dir, as `plan.plan` takes them."""
    return [options.config_dir] if options.config_dir else []
