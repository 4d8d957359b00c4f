"""Checking a composed configuration against the rules of `config.schema`, and wording what is wrong."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from sweepgrad import extensions
from sweepgrad.config import old_names
from sweepgrad.config.schema import Config, Halving, Select
from sweepgrad.config.union import kinds_of
from sweepgrad.errors import UserError


@dataclass(frozen=True)
class ConfigError:
    """One thing that is wrong: the dotted key, and what about it."""

    key: str
    problem: str


class ConfigErrors(Exception):
    """All faults of one configuration."""

    def __init__(self, faults: Sequence[ConfigError]) -> None:
        super().__init__("; ".join(f"{fault.key}: {fault.problem}" for fault in faults))
        self.faults = tuple(faults)


def check(values: Mapping[str, Any]) -> Config:
    """The typed configuration, from a composed and resolved one as plain dicts and lists.

    Raises:
        ConfigErrors: naming every unknown key, wrong type, value out of range and combination without sense.
        UserError: an installed extension cannot be loaded.
    """
    _know_extensions()
    if missing := list(_missing(values)):
        raise ConfigErrors([ConfigError(key, f"must be given: {key}=…") for key in missing])
    try:
        return Config.model_validate(_tuples(values))
    except ValidationError as error:
        raise ConfigErrors([_fault(values, details) for details in error.errors()]) from None


@cache
def _know_extensions() -> None:
    """Have `Config` accept the settings that installed extensions add."""
    try:
        extensions.load()
    except extensions.ExtensionError as error:
        raise UserError(str(error)) from None
    if extensions.installed():
        try:
            Config.model_rebuild(force=True)
        except Exception as error:
            names = ", ".join(sorted(extensions.digests()))
            raise UserError(f"settings that an extension adds are unfit ({names}): {error}") from error


def nearest(word: str, among: Sequence[str], prefix: str = "") -> str:
    """Return ' Did you mean X?' for the most similar of the words, with `prefix` before it; or nothing.

    A key of an earlier version means today's.
    """
    if f"{prefix}{word}" in old_names.KEYS:
        return f" Did you mean {old_names.key(f'{prefix}{word}')}?"
    close = difflib.get_close_matches(word, among, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def _missing(values: Any, prefix: str = "") -> Iterator[str]:
    """The keys that the YAML leaves to the user, by the value ???."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def _tuples(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _tuples(value) for key, value in values.items()}
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _fault(values: Mapping[str, Any], details: Any) -> ConfigError:
    path = _config_path(values, details["loc"])
    key, kind, given = ".".join(path), details["type"], details["input"]
    if kind == "extra_forbidden":
        return ConfigError(key, _unknown(values, path))
    if kind == "missing":
        return ConfigError(key, "is missing")
    if key in _KINDS and kind != "union_tag_invalid":  # it names no kind at all
        return _kindless(key, given)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details["ctx"]["discriminator"].strip("'")
        return ConfigError(
            f"{key}.{tag}", f"must be one of {details['ctx'].get('expected_tags', 'its options')}"
        )
    if kind == "value_error":
        message = details["msg"].removeprefix("Value error, ")
        if not key:  # about keys of several sections: the message begins with the one to change
            key, _, message = message.partition(": ")
        return ConfigError(key, message)
    if kind == "model_type" and key == "sweep.halving":
        return ConfigError(
            key, f"{given!r} should be null, or keys and values: 'sweep.halving={{first: 2, factor: 3}}'"
        )
    wanted = details["msg"].removeprefix("Input ").removeprefix("String ").replace("tuple", "list")
    shown = repr(list(given)) if isinstance(given, tuple) else repr(given)
    return ConfigError(key, f"{shown} {wanted}")


def _config_path(values: Mapping[str, Any], location: Sequence[str | int]) -> list[str]:
    """The keys of `location` without pydantic's names of union members."""
    path: list[str] = []
    at: Any = values
    for step in location:
        if isinstance(at, Mapping) and isinstance(step, str):
            kind = next((at[key] for key in _TAGS if key in at), None)
            if step not in at and path and len(location) > 1 and step == kind:
                continue
            path.append(step)
            at = at.get(step)
        elif isinstance(at, list | tuple) and isinstance(step, int) and step < len(at):
            path.append(str(step))
            at = at[step]
        elif isinstance(at, str) and isinstance(step, str) and step != at:
            path.append(step)  # of a kind that is given by its bare word
    return path


def _unknown(values: Mapping[str, Any], path: Sequence[str]) -> str:
    *sections, name = path
    if ".".join(sections) in _KINDS:
        return _unknown_of_kind(values, sections, name)
    if not sections:
        known = list(Config.model_fields)
    else:
        section = sections[0]
        options = _options(section)
        chosen = _chosen(section, values[section])
        known = list((Halving if sections == ["sweep", "halving"] else chosen).model_fields)
        elsewhere = next((option for option, other in options.items() if name in other.model_fields), None)
        if elsewhere is not None:
            option = values[section].get("name") or "csv"
            return f"is no key of {section}={option}; it belongs to {section}={elsewhere}."
    prefix = "".join(f"{section}." for section in sections)
    there = ", ".join(known)
    return f"is no key.{nearest(name, known, prefix) or f' There are: {there}.'}"


def _unknown_of_kind(values: Mapping[str, Any], sections: Sequence[str], name: str) -> str:
    tag, kinds = _KINDS[".".join(sections)]
    at: Any = values
    for section in sections:
        at = at[section]
    kind = at if isinstance(at, str) else str(at[tag])
    other = next((other for other, fields in kinds.items() if name in fields.model_fields), None)
    if other is not None:
        return f"has no effect with {tag}: {kind}; it belongs to {tag}: {other}."
    known = list(kinds[kind].model_fields)
    there = f" There are: {', '.join(known)}."
    return f"is no key.{nearest(name, known, '.'.join(sections) + '.') or there}"


def _kindless(key: str, given: Any) -> ConfigError:
    """The fault of a section that comes in kinds and does not say which it is."""
    tag, kinds = _KINDS[key]
    known = {tag, *(name for fields in kinds.values() for name in fields.model_fields)}
    wrong = next((name for name in given if name not in known), None) if isinstance(given, Mapping) else None
    if wrong is not None:
        return ConfigError(f"{key}.{wrong}", f"is no key.{nearest(str(wrong), sorted(known), f'{key}.')}")
    return ConfigError(f"{key}.{tag}", f"must be one of {', '.join(map(repr, kinds))}")


_TAGS = ("source", "name", "rule", "kind")

# Sections that come in kinds and stand within another; its own kinds are options of a group of YAML.
_KINDS: dict[str, tuple[str, Mapping[str, type[BaseModel]]]] = {
    f"select.{name}": kinds for name, field in Select.model_fields.items() if (kinds := kinds_of(field))
}
_FILES = {"file": "csv"}  # the YAML of a kind, where its name is another


def _options(section: str) -> dict[str, type[BaseModel]]:
    """The classes that check a section, by the option of its group; none where it has a single one."""
    found = kinds_of(Config.model_fields[section])
    return {} if found is None else {_FILES.get(name, name): kind for name, kind in found[1].items()}


def _chosen(section: str, values: Mapping[str, Any]) -> type[BaseModel]:
    """The class that checks a section, given what it says of itself."""
    field = Config.model_fields[section]
    if found := kinds_of(field):
        tag, kinds = found
        return kinds.get(str(values.get(tag)), next(iter(kinds.values())))
    assert isinstance(field.annotation, type)
    return field.annotation
