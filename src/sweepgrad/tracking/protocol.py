"""The messages between the process that trains and the one that writes to MLflow: lines of JSON, checked.

Either process may be killed in the middle of a line, so a line that is not a message is reported and skipped.
"""

import json
from collections.abc import Callable, Iterator
from typing import IO, Any

from sweepgrad.bounded import reading

Message = dict[str, Any]

VERBS = ("begin", "send", "end")

_LINE = reading.Limits(size=1 << 20, values=1 << 20, depth=4)
_LONGEST_TEXT = 1 << 16  # characters; MLflow quotes whole answers of servers in its errors
_LONGEST_PATH = 1 << 13


def lines(stream: IO[bytes], refused: Callable[[str], None]) -> Iterator[Message]:
    """Yield the messages of a stream to its end.

    Arguments:
        refused: called with what is wrong with a line that is not a message.
    """
    while line := stream.readline(_LINE.size + 1):
        if len(line) > _LINE.size and not line.endswith(b"\n"):
            while (rest := stream.readline(_LINE.size)) and not rest.endswith(b"\n"):
                pass
            refused(f"a message of more than {_LINE.size} bytes")
            continue
        try:
            message = reading.parse(line, _LINE)
            if not isinstance(message, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if line.endswith(b"\n"):  # else the other process was killed
                refused(f"not a message: {error}")
            continue
        yield message


def line(message: Message) -> str:
    """Return a message as a line; long texts are shortened."""
    return json.dumps({key: _short(value) for key, value in message.items()}) + "\n"


def start(message: Message) -> dict[str, str]:
    """Return the first message to the writer: `uri`, `experiment` and `process`.

    Raises:
        ValueError: it is another.
    """
    if message.keys() != {"uri", "experiment", "process"} or not all(map(_is_text, message.values())):
        raise ValueError("the first message should name uri, experiment and process")
    return message


def task(message: Any) -> Message:
    """Return a message to the writer after the first: one of `VERBS` with a folder.

    Raises:
        ValueError: it is another.
    """
    if isinstance(message, dict) and len(message) == 1:
        ((verb, folder),) = message.items()
        if (
            verb in VERBS
            and isinstance(folder, str)
            and 0 < len(folder) <= _LONGEST_PATH
            and "\0" not in folder
        ):
            return message
    raise ValueError(f"a message should be one of {', '.join(VERBS)} with a folder")


def answer(message: Message) -> Message:
    """Return an answer of the writer.

    Raises:
        ValueError: it is another message.
    """
    keys = message.keys()
    if keys == {"say", "level"}:
        level = message["level"]
        fits = _is_text(message["say"]) and type(level) is int and 0 <= level <= 50
    elif keys == {"open"}:
        fits = message["open"] is None or _is_text(message["open"])
    elif keys == {"refused"}:
        fits = _is_text(message["refused"])
    elif keys == {"sent"}:
        fits = bool(task(message["sent"]))
    elif keys == {"unsent", "why"}:
        fits = bool(task(message["unsent"])) and (message["why"] is None or _is_text(message["why"]))
    else:
        fits = False
    if not fits:
        raise ValueError(f"no such answer: {', '.join(str(key)[:20] for key in list(keys)[:5])}")
    return message


def key(message: Message) -> str:
    """Return a text that identifies a task."""
    ((verb, folder),) = message.items()
    return f"{verb} {folder}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 2 * _LONGEST_TEXT


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]} …"
    return value
