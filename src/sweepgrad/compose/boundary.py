"""The boundary to Hydra, OmegaConf, ANTLR and PyYAML, where their exceptions become errors of the user.

They raise anything for bad input: TypeError, AssertionError, decimal.InvalidOperation. The same exceptions
raised by our own code are bugs, and stay what they are.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import antlr4  # type: ignore[import-untyped]
import hydra
import omegaconf
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.errors import UserError, shortened

_OURS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "hydra_plugins"))
_THEIRS = tuple(folder for module in (antlr4, hydra, omegaconf, yaml) for folder in module.__path__)
_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UserError)
# OmegaConf's words about its own classes, and ours. Each pattern is of a whole message, so that what the user
# wrote, which is quoted in it, stays as it is.
_SECTION, _LIST = "must be keys and values", "must be a list"
_CANNOT_MERGE = "Cannot merge DictConfig with ListConfig"  # it says so in both directions
_RESOLVING = re.compile(r"^\w+ raised while resolving interpolation: ")
_INTERNALS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"(\W?Environment variable '.*' not found\W?)", r"\1"),
        (r"Invalid type assigned: \w+ is not a subclass of \w+\. value: (.*)", rf"{_SECTION}, not \1"),
        (r"Cannot assign container '(.*)' of type '\w+' to .*", r"\1 has a wrong type"),
        (r"Cannot assign \w+ to .*", _SECTION),
        (r"Invalid value assigned: \w+ is not a ListConfig, list or tuple\.", _LIST),
        (r"Key '(.*)' (?:is not in struct|not in '\w+')", r"unknown key '\1'"),
        (r"Value ('.*') of type '\w+' (could not be .*)", r"\1 \2"),
        (r"(Value '.*') of type '[^']*' is incompatible with type hint '.*'", r"\1 has a wrong type"),
        (r"(Value '.*') is incompatible with type hint '.*'", r"\1 has a wrong type"),
        (r"Value ('.*' is not a valid bool) \(type \w+\)", r"\1"),
        (r"Value (.*) \(\w+\) is not a valid input for <enum '\w+'>", r"\1 is not one of its options"),
        (r"Cannot convert '\w+' to string: '(.*)'", r"must be a text, not \1"),
        (r"str expected, not DictConfig", "must be a text, not keys and values"),
        (r"str expected, not ListConfig", "must be a text, not a list"),
        (r"\w+ (?:\(DictConfig\)|in [\w-]+ mode) does not support deletion", "it cannot be removed"),
        (r"HydraConfig was not set", "settings of hydra have no values yet: write the value itself"),
        (r"\S*<lambda>\(\) (?:missing|takes) .*", "wrong number of arguments"),
    )
)
_NULL = re.compile(r"(?<=\btype ')NoneType(?=')|NoneType(?=' object)|\b(?:(?<=not )|(?<=Got ))NoneType\b")
_LONGEST = 500  # characters of a message


@contextmanager
def input_errors(hint: str = "") -> Iterator[None]:
    """Raise exceptions of the libraries about input as UserErrors; others pass unchanged.

    Arguments:
        hint: what to check, for exceptions that say little.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not about_input(error):
            raise
        raise UserError(message(error, hint)) from None


def about_input(error: BaseException) -> bool:
    """Return whether an exception is about input: one of the libraries' own, or raised by their code."""
    first = _first(error)
    return isinstance(first, _ERRORS) or _raised_by_libraries(first)


def message(error: BaseException, hint: str = "") -> str:
    """Return a message for the user."""
    first = _first(error)
    if isinstance(first, UserError):
        return str(first)
    if isinstance(error, _ERRORS):
        return shortened(_words(error), _LONGEST)
    why = shortened(_without_internals(str(error)) or type(error).__name__, 200)
    if isinstance(error, RecursionError):
        why = "it is nested too deeply, or refers to itself"
    return f"the configuration cannot be composed: {why}. {hint or 'Check the overrides and the YAML files'}"


def problem(error: OmegaConfBaseException) -> str:
    """Return the first line of what OmegaConf says, without its key and without names of its classes."""
    (line, *_) = str(error.msg or error).splitlines() or [type(error).__name__]
    if line == _CANNOT_MERGE:
        return _LIST if error.object_type is list else _SECTION
    return _without_internals(line)


def _without_internals(text: str) -> str:
    text = _RESOLVING.sub("", text)
    for internal, words in _INTERNALS:
        if whole := internal.fullmatch(text):
            return whole.expand(words)
    return _NULL.sub("null", text)


def _words(error: BaseException) -> str:
    """Return what a library says, and what OmegaConf said before, each without their internals."""
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {problem(error)}" if error.full_key else problem(error)
    cause = error.__cause__
    said = str(error)
    if not isinstance(cause, OmegaConfBaseException):
        return said
    inner = str(cause)
    said = said.replace(inner, "").rstrip(" :.")  # Hydra repeats it at times
    return f"{said}: {problem(cause)}" if said else _words(cause)


def _first(error: BaseException) -> BaseException:
    """Return the exception that an exception was raised for, if it was raised while handling another."""
    seen = {id(error)}
    while True:
        hidden = error.__suppress_context__ and not isinstance(error, OmegaConfBaseException)  # it hides all
        before = error.__cause__ or (None if hidden else error.__context__)
        if before is None or id(before) in seen:
            return error
        seen.add(id(before))
        error = before


def _raised_by_libraries(error: BaseException) -> bool:
    """Return whether the innermost call of one of the libraries or of our code is of a library."""
    files = []
    trace = error.__traceback__
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    for file in reversed(files):
        if file.startswith(_THEIRS):
            return True
        if file.startswith(_OURS):
            return False
    return False
