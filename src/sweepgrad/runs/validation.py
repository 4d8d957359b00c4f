"""Messages of validation errors in files."""

from pydantic import ValidationError

_MOST = 3  # errors that are listed


def described(error: ValueError) -> str:
    """Return the first errors of a file in one line, each with its key."""
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_input=False)
    lines = [
        ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in details[:_MOST]
    ]
    more = f"; and {len(details) - _MOST} more" if len(details) > _MOST else ""
    return "; ".join(lines) + more
