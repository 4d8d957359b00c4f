"""Limits of overrides, YAML files and references, checked before anything is parsed or expanded.

Parsers and Hydra have none: a nested list ends in a RecursionError, and a few lines of YAML can stand for
more values than memory holds.
"""

import re
from collections.abc import Sequence

from sweepgrad.errors import UserError, shortened

MAX_OVERRIDES = 1_000
MAX_OVERRIDE_CHARACTERS = 20_000
MAX_CHARACTERS = 100_000  # of all overrides together
MAX_DEPTH = 32  # of brackets, sections, keys and references in references
MAX_FILE_BYTES = 1_000_000
MAX_FILE_NODES = 10_000  # values and keys of the YAML of a folder, with aliases expanded
MAX_STRING_CHARACTERS = 20_000
MAX_FILES = 1_000  # times that a composition reads a file of YAML
MAX_REFERENCES = 2_000  # cost of resolving the references of a configuration
MAX_JOBS = 10_000  # of a sweep, without --max-jobs
MOST_JOBS = 100_000  # with --max-jobs
MAX_WORKERS = 256  # threads, or processes of Dask on this machine
MAX_RANGE = 100_000  # values of a range of floats, which are listed

_BRACKET = re.compile(r"[(\[{]")
_TOKEN = re.compile(r"""\\.|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[(\[{]|[)\]}]""", re.DOTALL)


def check_overrides(lines: Sequence[str]) -> None:
    """Check the number, the length and the nesting of overrides.

    Raises:
        UserError: a limit is exceeded.
    """
    if len(lines) > MAX_OVERRIDES:
        raise UserError(
            f"{len(lines):,} overrides: at most {MAX_OVERRIDES:,} are read. Put them into a YAML file of"
            " --config-dir"
        )
    for line in lines:
        if len(line) > MAX_OVERRIDE_CHARACTERS:
            raise UserError(
                f"{shortened(line)}: has {len(line):,} characters, and an override may have"
                f" {MAX_OVERRIDE_CHARACTERS:,}. Put the value into a YAML file of --config-dir"
            )
        if line.partition("=")[0].count(".") >= MAX_DEPTH:
            raise UserError(f"{shortened(line)}: the key has more than {MAX_DEPTH} parts")
        if depth(line) > MAX_DEPTH:
            raise UserError(f"{shortened(line)}: brackets are nested more than {MAX_DEPTH} deep")
    if (total := sum(map(len, lines))) > MAX_CHARACTERS:
        raise UserError(
            f"the overrides have {total:,} characters, and may have {MAX_CHARACTERS:,}. Put long values into"
            " a YAML file of --config-dir"
        )


def depth(text: str) -> int:
    """Return how deep brackets are nested, or more; those in quotes do not count, if there are many."""
    if len(_BRACKET.findall(text)) <= MAX_DEPTH:  # nearly always: a bound will do
        return text.count("(") + text.count("[") + text.count("{")
    deepest = now = 0
    for token in _TOKEN.finditer(text):
        if token.group() in "([{":
            now += 1
            deepest = max(deepest, now)
        elif token.group() in ")]}":
            now = max(0, now - 1)
    return deepest
