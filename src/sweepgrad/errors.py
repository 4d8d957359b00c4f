"""The exceptions for bad input."""


class UserError(Exception):
    """Bad input: a configuration, a table or a store that cannot be used.

    The command line prints the message without a traceback and exits with code 2. The message names the
    file, the key and the remedy.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened; the kind of the error if it has no message."""
    line = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
    return line[:300]


def reason(error: OSError) -> str:
    """Return why a file could not be used, without its name."""
    return error.strerror or " ".join(map(str, error.args)) or type(error).__name__


class DamagedFile(UserError, ValueError):
    """A file or a message from outside that does not match its schema or exceeds its limits.

    It is a `ValueError` too, so that code that reads many files can skip one.
    """


def shortened(text: object, length: int = 60) -> str:
    """Return a text as it is shown in a message: its beginning, if it is long."""
    whole = str(text)
    return whole if len(whole) <= length else f"{whole[: length - 1]}…"
