"""The verb `sweepgrad ui`."""

import argparse

from sweepgrad.cli.verbs.stores import add_store, store_of
from sweepgrad.messages import show

HELP = "Open the runs in MLflow's web interface."
DESCRIPTION = """\
Start an MLflow server on the store and print links to all runs and to the latest sweep. Ctrl-C stops it."""
EXAMPLES = """\
examples:
  sweepgrad ui
  sweepgrad ui --port 5050"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    verb.add_argument("--port", type=int, help="port to listen on (default: the first free one from 5000)")
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    from sweepgrad.cli.ui import links, serve

    store = store_of(options)
    if store.uri.startswith("http"):  # a server is running
        for name, address in links(store, store.uri).items():
            show(f"{name}: {address}")
        return 0
    return serve(store, options.host, options.port)
