"""Finding what was trained before, so that it need not be trained again."""

import re
from collections.abc import Callable, Collection
from pathlib import Path

from sweepgrad import record as records

_HEAD = re.compile(rb'\{\s*"digest":\s*"([0-9a-f]{64})"')
_HEAD_BYTES = 100


def find(digests: Collection[str], folders: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """The folders below `folders` that hold results of these digests, whole and well, by digest.

    Of each record only the first bytes are read, unless it is one of those that are looked for.

    Arguments:
        say: told of each result that is damaged, which is then as if it were not there.
    """
    wanted, found = set(digests), dict[str, Path]()
    for path in sorted(folders.rglob(records.RECORD)) if wanted else ():
        try:
            with path.open("rb") as file:
                head = _HEAD.match(file.read(_HEAD_BYTES))
        except OSError:
            continue
        if head is None or (digest := head.group(1).decode()) not in wanted or digest in found:
            continue
        if whole(path.parent, say) is not None:
            found[digest] = path.parent
    return found


def whole(folder: Path, say: Callable[[str], None], *, stopped_too: bool = False) -> records.Record | None:
    """The record in a folder if training ended well there and all its files are as they were written.

    Arguments:
        say: told what is damaged.
        stopped_too: whether a run will do that halving has stopped.
    """
    try:
        record = records.read(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        say(f"{error}; it is trained again")
        return None
    if record.status != "FINISHED" or (record.stopped and not stopped_too):
        return None
    if problem := records.damage(folder, record):
        say(f"{problem}; it is trained again")
        return None
    return record
