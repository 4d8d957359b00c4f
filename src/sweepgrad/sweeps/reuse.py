"""Find the results of earlier runs, so that they are not trained again."""

import logging
import re
from collections.abc import Collection
from pathlib import Path

from sweepgrad.bounded import reading
from sweepgrad.errors import DamagedFile
from sweepgrad.runs import folders
from sweepgrad.runs import record as records

log = logging.getLogger(__name__)

_HEAD = re.compile(rb'\{\s*"digest":\s*"([0-9a-f]{64})"')
_HEAD_BYTES = 100


Index = dict[str, list[Path]]
"""Folders of results by the digest in their records; the results are not checked yet."""


def index(folders: Path) -> Index:
    """Return the results below a folder, from the first bytes of their records."""
    found: Index = {}
    for path in sorted(folders.rglob(records.RECORD)):
        try:
            head = _HEAD.match(reading.beginning(path, _HEAD_BYTES))
        except (OSError, DamagedFile):
            continue
        if head is not None:
            found.setdefault(head.group(1).decode(), []).append(path.parent)
    return found


def find(digests: Collection[str], known: Index) -> dict[str, Path]:
    """Return a folder for each digest that has an intact result of a finished run."""
    found = {}
    for digest in digests:
        for folder in known.get(digest, ()):
            if whole(folder) is not None:
                found[digest] = folder
                break
    return found


def whole(folder: Path, *, stopped_too: bool = False) -> records.Record | None:
    """Return the record in a folder if the run finished, and it and its files are unchanged; else None.

    Arguments:
        stopped_too: whether to accept a run that halving has stopped.
    """
    try:
        record = records.read(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning(f"{error}; the run is trained again")
        return None
    if record.status != "FINISHED" or (record.stopped and not stopped_too):
        return None
    if records.VALIDATION not in record.files:  # nothing in it can be checked
        log.warning(f"{folder} is of a version before validation scores were kept; the run is trained again")
        return None
    if problem := folders.damage(folder, record):
        log.warning(f"{problem}; the run is trained again")
        return None
    return record
