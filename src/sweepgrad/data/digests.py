"""Digests of a table and of its parts, by which it is known whether they are still what they were."""

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
    """Return, in words, how a table is not what it was when its digests were the expected; empty if it is."""
    if found.table != expected.table:
        return "its contents have changed"
    return "" if found == expected else "it is split differently now"


def refuse_changed(source: str, found: Digests, expected: Digests, whose: str) -> None:
    """See that a table is what something was trained on.

    Arguments:
        whose: what was trained, for people.

    Raises:
        UserError: it is not.
    """
    if how := changed(found, expected):
        raise UserError(
            f"{source} is not what {whose} was trained on: {how}. Put the old one back, or train anew"
        )
