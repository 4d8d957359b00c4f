"""Digests of a table and its split, to detect that they have changed."""

from dataclasses import dataclass

from sweepgrad.errors import UserError


@dataclass(frozen=True)
class Digests:
    """SHA-256 of the table (see `Columns.digest`) and of the row indices of each part."""

    table: str
    train: str
    val: str
    test: str


def changed(found: Digests, expected: Digests) -> str:
    """Return how a table differs from the one with the expected digests; empty if it does not."""
    if found.table != expected.table:
        return "its contents have changed"
    return "" if found == expected else "it is split differently now"


def refuse_changed(source: str, found: Digests, expected: Digests, model: str) -> None:
    """Check that a table is the one that something was trained on.

    Arguments:
        model: what was trained, for messages.

    Raises:
        UserError: if it is not.
    """
    if how := changed(found, expected):
        raise UserError(
            f"{source} is not what {model} was trained on: {how}. Restore the old file, or train again"
        )
