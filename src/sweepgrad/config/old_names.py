"""Names that earlier versions wrote to files and stores, with today's names.

Both are read; only today's are written, and only they are accepted on the command line.
"""

from collections.abc import Mapping
from typing import Any

KEYS = {"split.turn": "split.outer_fold", "split.turns": "split.outer_folds"}
"""Keys of configurations, by dotted path."""

TAGS = {
    "sweepgrad.opening": "sweepgrad.test_evaluation",
    "sweepgrad.opened": "sweepgrad.test_evaluated_at",
    "sweepgrad.opened_for": "sweepgrad.test_evaluated_for",
    "sweepgrad.twins_across_parts": "sweepgrad.duplicates_across_parts",
}
TAG_BEGINNINGS = {"sweepgrad.opened.": "sweepgrad.test_evaluated."}
"""Tags of MLflow runs; a tag of the second kind ends with the beginning of an id."""

KINDS = {"opening": "test_evaluation"}
"""Values of the tag `sweepgrad.kind`."""

FILES = {"openings.jsonl": "test_evaluations.jsonl"}

CERTIFICATE = {
    "twins": "duplicates",
    "near_twins": "near_duplicates",
    "rows_with_twins": "rows_with_duplicates",
}
"""Keys of certificate.json, and of the same in a run's record."""


JUDGEMENTS = {
    "flattery": "optimism",
    "opening": "evaluated",
    "earlier_openings": "earlier_evaluations",
    "interrupted_openings": "interrupted_evaluations",
    "turns": "outer_folds",
}
"""Keys of card.json, of what it says of choice and decisions, and of evaluations."""


def judgement(values: Any) -> Any:
    """Return what a card, or the evaluation of a split, says under today's keys.

    What is no mapping is returned as it is.
    """
    if not isinstance(values, Mapping):
        return values
    found = {JUDGEMENTS.get(name, name): value for name, value in values.items()}
    for name in ("choice", "decisions"):
        if isinstance(inner := found.get(name), Mapping):
            found[name] = {JUDGEMENTS.get(key, key): value for key, value in inner.items()}
    return found


def key(name: str) -> str:
    """Return today's name of a configuration key."""
    return KEYS.get(name, name)


def config(values: Any) -> Any:
    """Return a stored configuration, nested by section, under today's keys.

    A value that is not a mapping is returned unchanged; the caller reports it.
    """
    if not isinstance(values, Mapping):
        return values
    found = dict(values)
    for old, new in KEYS.items():
        section, name = old.split(".")
        if isinstance(inner := found.get(section), Mapping) and name in inner:
            found[section] = {new.split(".")[1] if at == name else at: value for at, value in inner.items()}
    return found


def certificate(values: Any) -> Any:
    """Return a stored certificate under today's keys; a value that is not a mapping unchanged."""
    if not isinstance(values, Mapping):
        return values
    return {CERTIFICATE.get(name, name): value for name, value in values.items()}


def params(values: Mapping[str, str]) -> dict[str, str]:
    """Return the params of an MLflow run under today's names."""
    return {key(name): value for name, value in values.items()}


def tags(values: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of an MLflow run under today's names."""
    found = {_tag(name): value for name, value in values.items()}
    if (kind := found.get("sweepgrad.kind")) is not None:
        found["sweepgrad.kind"] = KINDS.get(kind, kind)
    return found


def spellings(new: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return all names under which a value may be stored, today's first."""
    return new, *(old for old, now in names.items() if now == new)


def _tag(name: str) -> str:
    for old, new in TAG_BEGINNINGS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return TAGS.get(name, name)
