"""Check a composed configuration against the schema, and report all errors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from sweepgrad import extensions
from sweepgrad.config import old_names
from sweepgrad.config.schema import Config, Halving, Select
from sweepgrad.config.suggest import nearest as nearest
from sweepgrad.config.suggest import nearest_keys
from sweepgrad.config.union import kinds_of
from sweepgrad.errors import UserError, shortened

_MOST = 50  # errors of a configuration that are described
_LONGEST = 200  # characters of a value in a message


@dataclass(frozen=True)
class ConfigError:
    """One configuration error.

    Attributes:
        key: the dotted key.
        problem: what is wrong, and what to do.
        certain: whether it is an error with every other value of the other keys.
    """

    key: str
    problem: str
    certain: bool = True


class ConfigErrors(Exception):
    """All errors of one configuration."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("; ".join(f"{error.key}: {error.problem}" for error in errors))
        self.errors = tuple(errors)


def check(values: Mapping[str, Any]) -> Config:
    """Return the typed configuration of a composed and resolved one.

    Arguments:
        values: plain dicts, lists and values.

    Raises:
        ConfigErrors: unknown keys, wrong types, values out of range and combinations without effect.
        UserError: an installed extension cannot be loaded.
    """
    _know_extensions()
    if missing := list(_missing(values)):
        raise ConfigErrors([ConfigError(key, f"is required. Add {key}=…", certain=False) for key in missing])
    if large := list(_large(values)):
        raise ConfigErrors([ConfigError(key, "is a whole number of more than 64 bits") for key in large])
    try:
        return Config.model_validate(_tuples(values))
    except ValidationError as error:
        errors = (found for it in error.errors() for found in _errors(values, it))
        raise ConfigErrors([*islice(errors, _MOST)]) from None


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
            raise UserError(f"the settings that an extension adds are invalid ({names}): {error}") from error


def _missing(values: Any, prefix: str = "") -> Iterator[str]:
    """Yield the keys that the YAML leaves to the user, by the value ???."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def _large(value: Any, key: str = "") -> Iterator[str]:
    """Yield the keys of whole numbers that Python might refuse to write into a message."""
    if isinstance(value, Mapping | list):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _large(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        yield key


def _tuples(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _tuples(value) for key, value in values.items()}
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _errors(values: Mapping[str, Any], details: Any) -> Iterator[ConfigError]:
    path = _config_path(values, details["loc"])
    if details["type"] == "extra_forbidden":
        for unknown in _leaves(path, details["input"]) if len(path) == 1 else [path]:
            yield _unknown(values, unknown)
    else:
        yield _invalid(path, details)


def _invalid(path: Sequence[str], details: Any) -> ConfigError:
    key, kind, given = ".".join(path), details["type"], details["input"]
    if kind == "missing":
        return ConfigError(key, "is missing", certain=False)
    if key in _KINDS and kind != "union_tag_invalid":  # it names no kind at all
        return _kindless(key, given)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details["ctx"]["discriminator"].strip("'")
        return ConfigError(
            f"{key}.{tag}", f"must be one of {details['ctx'].get('expected_tags', 'its options')}"
        )
    if kind == "value_error":
        message, of_section = details["msg"].removeprefix("Value error, "), isinstance(given, Mapping)
        if not key:  # about keys of several sections: the message begins with the one to change
            key, _, message = message.partition(": ")
        return ConfigError(key, message, certain=not of_section)
    if kind == "model_type" and key == "sweep.halving":
        return ConfigError(
            key, f"{given!r} should be null, or keys and values: 'sweep.halving={{first: 2, factor: 3}}'"
        )
    wanted = details["msg"].removeprefix("Input ").removeprefix("String ").replace("tuple", "list")
    shown = repr(list(given)) if isinstance(given, tuple) else repr(given)
    return ConfigError(key, f"{shortened(shown, _LONGEST)} {wanted}")


def _config_path(values: Mapping[str, Any], location: Sequence[str | int]) -> list[str]:
    """Return the keys of `location` without pydantic's names of union members."""
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
            path.append(step)  # of a kind that is given by its name alone
    return path


def _leaves(path: Sequence[str], value: Any) -> Iterator[list[str]]:
    """Yield the paths of the values below an unknown section."""
    if not isinstance(value, Mapping) or not value:
        yield [*path]
        return
    for name, inner in value.items():
        yield from _leaves([*path, str(name)], inner)


def _unknown(values: Mapping[str, Any], path: Sequence[str]) -> ConfigError:
    *sections, name = path
    key, section = ".".join(path), ".".join(sections)
    if key in old_names.KEYS:
        return ConfigError(key, f"was renamed. Use {old_names.key(key)}")
    if section in _KINDS:
        tag, kinds = _KINDS[section]
        kind = _kind_of(_at(values, sections), tag)
        known = list(kinds[kind].model_fields)
        if others := [other for other, fields in kinds.items() if name in fields.model_fields]:
            return ConfigError(
                key,
                f"has no effect with {tag}: {kind}. Use it with {tag}: {' or '.join(others)}",
                certain=False,
            )
    elif not sections or sections[0] not in Config.model_fields:
        known = list(Config.model_fields)
    else:
        others = [f"{section}={other}" for other, it in _options(section).items() if name in it.model_fields]
        if others:
            option = values[section].get("name") or "csv"
            return ConfigError(
                key,
                f"unknown key of {section}={option}. Use it with {' or '.join(others)}",
                certain=False,
            )
        inside = Halving if sections == ["sweep", "halving"] else _chosen(sections[0], values[sections[0]])
        known = list(inside.model_fields)
    hint = nearest_keys(key, _all_keys(values)) or f" Known keys: {', '.join(known)}"
    return ConfigError(key, f"unknown key.{hint}")


def _all_keys(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every key, those of the chosen options first, with the option that it needs or ""."""
    for section, field in Config.model_fields.items():
        yield section, ""
        if (found := kinds_of(field)) is None and not _is_section(field.annotation):
            continue
        chosen = _chosen(section, values.get(section, {}))
        for name in chosen.model_fields:
            yield f"{section}.{name}", ""
        for kind, fields in _options(section).items() if found else ():
            for name in fields.model_fields.keys() - chosen.model_fields.keys():
                yield f"{section}.{name}", f"with {section}={kind}"
    for name in Halving.model_fields:
        yield f"sweep.halving.{name}", ""
    for section, (tag, kinds) in _KINDS.items():
        for kind, fields in kinds.items():
            for name in fields.model_fields:
                yield f"{section}.{name}", "" if name == tag else f"with {tag}: {kind}"


def fields_of(section: str, values: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys of a section with the given values, each with its description; or `seed` alone."""
    field = Config.model_fields.get(section)
    if field is not None and kinds_of(field) is None and not _is_section(field.annotation):
        yield section, field.description or ""
    elif field is not None:
        _know_extensions()
        for name, inner in _chosen(section, values).model_fields.items():
            yield f"{section}.{name}", inner.description or ""


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    at: Any = values
    for step in path:
        at = at[step]
    return at


def _kind_of(given: Any, tag: str) -> str:
    return given if isinstance(given, str) else str(given[tag])


def _kindless(key: str, given: Any) -> ConfigError:
    """Return the error of a section of several kinds that names none of them."""
    tag, kinds = _KINDS[key]
    known = {tag, *(name for fields in kinds.values() for name in fields.model_fields)}
    wrong = next((name for name in given if name not in known), None) if isinstance(given, Mapping) else None
    if wrong is not None:
        return ConfigError(f"{key}.{wrong}", f"unknown key.{nearest(str(wrong), sorted(known), f'{key}.')}")
    return ConfigError(f"{key}.{tag}", f"must be one of {', '.join(map(repr, kinds))}")


_TAGS = ("source", "name", "rule", "kind")

# Sections of several kinds within another section; the kinds of whole sections are options of config groups.
_KINDS: dict[str, tuple[str, Mapping[str, type[BaseModel]]]] = {
    f"select.{name}": kinds for name, field in Select.model_fields.items() if (kinds := kinds_of(field))
}
_FILES = {"file": "csv"}  # the option of a kind, where it has another name


def _options(section: str) -> dict[str, type[BaseModel]]:
    """Return the class of each option of a section's group; none for a section with a single class."""
    found = kinds_of(Config.model_fields[section]) if section in Config.model_fields else None
    return {} if found is None else {_FILES.get(name, name): kind for name, kind in found[1].items()}


def _chosen(section: str, values: Any) -> type[BaseModel]:
    """Return the class of a section with the given values."""
    field = Config.model_fields[section]
    if found := kinds_of(field):
        tag, kinds = found
        name = str(values.get(tag)) if isinstance(values, Mapping) else ""
        return kinds.get(name, next(iter(kinds.values())))
    assert isinstance(field.annotation, type)
    return field.annotation
