"""The lab's configurations: a YAML file in `experiment/lab/` names a question, and has its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from sweepgrad.compose.loader import SweepLoader, hydra_for
from sweepgrad.compose.plan import plain
from sweepgrad.config.check import nearest
from sweepgrad.config.section import Section
from sweepgrad.errors import UserError
from sweepgrad.lab.finding import Finding

GROUP = "experiment/lab"
QUESTIONS = ("sgd", "backprop", "gradients", "bias_variance", "twice", "spotify", "scale")
"""The modules of this package that answer one, in the order of the assignment."""


@dataclass(frozen=True)
class Lab:
    """What an experiment finds in the lab.

    Attributes:
        uri: of the MLflow store.
    """

    uri: str


class Question(Protocol):
    """What such a module has.

    Attributes:
        Settings: the section that its YAML is, besides `question`.
        answer: takes the settings.
    """

    Settings: type[Section]
    answer: Callable[[Any, Lab], Finding]


def question(name: str) -> Question:
    """The module that answers a question."""
    return cast(Question, import_module(f"sweepgrad.lab.{name}"))


def names(search: Sequence[str] = ()) -> list[str]:
    """The YAML files of the lab: ours in the order of QUESTIONS, then those in further folders."""
    with hydra_for(search) as hydra:
        found = hydra.config_loader.get_group_options(GROUP)
    ours = [name for name in QUESTIONS if name in found]
    return ours + [name for name in found if name not in ours]


def titles(of: Sequence[str], search: Sequence[str] = ()) -> dict[str, str]:
    """What each YAML file of these names asks: the first line of its comment."""
    with hydra_for(search) as hydra:
        sources = [source for source in hydra.config_loader.get_sources() if source.scheme() == "file"]
    said = {}
    for name in of:
        files = (Path(source.path, GROUP, f"{name}.yaml") for source in sources)
        text = next(file for file in files if file.is_file()).read_text(encoding="utf-8")
        comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        said[name] = next((line for line in comments if line and not line.startswith("@")), "")
    return said


def settings(name: str, overrides: Sequence[str], search: Sequence[str] = ()) -> tuple[str, Section]:
    """What a YAML file of the lab asks, with overrides: the question, and its settings.

    Arguments:
        name: of the file, without ending.
        overrides: KEY=VALUE, as for `sweepgrad train`.
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: there is no such file, or naming all that is wrong with what it says.
    """
    with hydra_for(search) as hydra:
        loader = hydra.config_loader
        assert isinstance(loader, SweepLoader)
        known = loader.get_group_options(GROUP)
        if name not in known:
            raise UserError(
                f"the lab has no {name!r}.{nearest(name, known)} There are: {', '.join(known)}; and all"
            )
        try:
            parsed = loader.parse(overrides)
            lines = [loader.adding(override) for override in parsed]
            if several := [str(override.input_line) for override in parsed if override.is_sweep_override()]:
                raise UserError(
                    f"{' '.join(several)}: a question is asked with one value; a list goes into []"
                )
            composed = loader.load_configuration(f"{GROUP}/{name}", lines, RunMode.RUN)
            values = plain(composed)
        except OverrideParseException as error:
            raise UserError(f"{error.override}: {str(error.message).splitlines()[0]}") from None
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise UserError(f"{GROUP}/{name}.yaml: {error}") from None
    asked = values.pop("question", None)
    if asked not in QUESTIONS:
        raise UserError(f"{GROUP}/{name}.yaml: question: {asked!r} is none of {', '.join(QUESTIONS)}")
    section = question(asked).Settings
    try:
        return asked, section.model_validate(_tuples(values))
    except ValidationError as error:
        faults = [_fault(details, section, name, overrides) for details in error.errors()]
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise UserError("\n  ".join([f"{count} in the configuration; nothing was run.", *faults]))


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _fault(details: Any, section: type[Section], name: str, overrides: Sequence[str]) -> str:
    """What pydantic found, in our words: key, problem and origin."""
    key, message = ".".join(map(str, details["loc"])), details["msg"].removeprefix("Value error, ")
    if not key:  # about several keys: the message begins with the one to change
        key, _, message = message.partition(": ")
    keys = (f"{key}=", f"{key.partition('.')[0]}=")
    said = next((line for line in reversed(overrides) if line.lstrip("+").startswith(keys)), None)
    origin = f"[from {said or f'{GROUP}/{name}.yaml'}]"
    if details["type"] == "extra_forbidden":
        known = ["question", *section.model_fields]
        there = f" There are: {', '.join(known)}."
        return f"{key}: is no key.{nearest(key, known) or there} {origin}"
    if details["type"] == "missing":
        return f"{key}: is missing {origin}"
    if details["type"] == "value_error":
        return f"{key}: {message} {origin}"
    given = details["input"]
    shown = repr(list(given)) if isinstance(given, tuple) else repr(given)
    wanted = message.removeprefix("Input ").replace("tuple", "list").replace("Tuple ", "")
    return f"{key}: {shown} {wanted} {origin}"
