"""The one exception that means "what you asked for cannot be done as asked"; and naming files in others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Bad input: a configuration, a table or a store that does not fit.

    The command line prints the message, without a traceback, and exits with code 2. So the message names
    the file, the key and the remedy.
    """


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError say what could not be written: one about a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
