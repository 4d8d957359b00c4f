"""The boundary to Hydra, OmegaConf, ANTLR and PyYAML, where their exceptions become errors of the user.

They raise anything for bad input: TypeError, AssertionError, decimal.InvalidOperation. The same exceptions
raised by our own code are bugs, and stay what they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import antlr4  # type: ignore[import-untyped]
import hydra
import omegaconf
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.compose.limits import shortened
from sweepgrad.errors import UserError

_OURS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "hydra_plugins"))
_THEIRS = tuple(folder for module in (antlr4, hydra, omegaconf, yaml) for folder in module.__path__)
_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UserError)
_DETAILS = ("    object_type=", "    reference_type=")  # of OmegaConf, about its classes
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
        cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        lines = f"{error}{cause}".splitlines()
        return shortened("\n".join(line for line in lines if not line.startswith(_DETAILS)), _LONGEST)
    why = shortened(str(error) or type(error).__name__, 200)
    if isinstance(error, RecursionError):
        why = "it is nested too deeply, or refers to itself"
    return f"the configuration cannot be composed: {why}. {hint or 'Check the overrides and the YAML files'}"


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
