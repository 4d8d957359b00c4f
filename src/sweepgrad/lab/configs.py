"""The lab's configurations: each YAML file in `experiment/lab/` names a question and has its settings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from hydra.types import RunMode
from pydantic import ValidationError

from sweepgrad.compose.boundary import input_errors
from sweepgrad.compose.loader import SweepLoader, hydra_for
from sweepgrad.compose.overrides import parse
from sweepgrad.compose.plan import plain
from sweepgrad.compose.yaml_files import read_text
from sweepgrad.config.check import nearest
from sweepgrad.config.section import Section
from sweepgrad.errors import UserError
from sweepgrad.extensions import Registry
from sweepgrad.lab import questions
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Finding

GROUP = "experiment/lab"
QUESTIONS: Registry[str] = Registry(
    "question of the lab",
    {module.name: f"{questions.__name__}.{module.name}" for module in iter_modules(questions.__path__)},
)
"""The modules that answer questions, by name: those of `lab.questions`, and those of extensions."""
_TITLE = re.compile(r"(?:(\d[^\s:]*): )?(.*)")


class Question(Protocol):
    """A module that answers a question.

    Attributes:
        Settings: the keys of its YAML, besides `question`.
        answer: takes the settings and returns the finding.
    """

    Settings: type[Section]
    answer: Callable[[Any, Lab], Finding]


def question(name: str) -> Question:
    """Return the module that answers a question."""
    return cast(Question, import_module(QUESTIONS[name]))


@dataclass(frozen=True)
class Title:
    """The first line of a YAML file's comment, such as `# 4(i): Where does the error come from?`.

    Attributes:
        number: of the question in the assignment, such as 4(i); empty for others.
        text: the question.
    """

    number: str
    text: str


def titles(search: Sequence[str] = ()) -> dict[str, Title]:
    """Return the questions by the names of their YAML files: by number, then those without one by name."""
    with hydra_for(search) as hydra:
        names = hydra.config_loader.get_group_options(GROUP)
        sources = [source for source in hydra.config_loader.get_sources() if source.scheme() == "file"]
    found = {}
    for name in names:
        files = (Path(source.path, GROUP, f"{name}.yaml") for source in sources)
        text = read_text(next(file for file in files if file.is_file()))
        comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        match = _TITLE.fullmatch(next((line for line in comments if line and not line.startswith("@")), ""))
        assert match is not None  # it matches any line
        found[name] = Title(match[1] or "", match[2])
    return dict(sorted(found.items(), key=lambda item: (item[1].number or "~", item[0])))


def settings(name: str, overrides: Sequence[str], search: Sequence[str] = ()) -> tuple[str, Section]:
    """Return the question and the settings of a YAML file of the lab, with overrides.

    Arguments:
        name: of the file, without suffix.
        overrides: KEY=VALUE, as for `sweepgrad train`.
        search: further folders of YAML, as given by --config-dir.

    Raises:
        UserError: there is no such file, or the configuration has errors; all are listed.
    """
    with hydra_for(search) as hydra:
        loader = hydra.config_loader
        assert isinstance(loader, SweepLoader)
        known = loader.get_group_options(GROUP)
        if name not in known and name in QUESTIONS:
            raise UserError(
                f"{name} is registered by {QUESTIONS.owner(name)}, but its {GROUP}/{name}.yaml is not installed"
            )
        if name not in known:
            raise UserError(
                f"unknown question {name!r}.{nearest(name, known)} The questions are {', '.join(known)}"
            )
        with input_errors():
            parsed = parse(loader, overrides)
            lines = [loader.adding(override) for override in parsed]
            if several := [str(override.input_line) for override in parsed if override.is_sweep_override()]:
                raise UserError(f"{' '.join(several)}: give a single value for each key; put lists into []")
            composed = loader.load_configuration(f"{GROUP}/{name}", lines, RunMode.RUN)
            values = plain(composed)
    asked = values.pop("question", None)
    if asked not in QUESTIONS:
        raise UserError(
            f"question: unknown question {asked!r}; use one of {', '.join(QUESTIONS)} [from {GROUP}/{name}.yaml]"
        )
    section = question(asked).Settings
    try:
        return asked, section.model_validate(_tuples(values))
    except ValidationError as error:
        details = error.errors()
        inner = {where["loc"][0] for where in details if len(where["loc"]) > 1}
        problems = [
            _problem(each, section, name, overrides)
            for each in details
            # Elements with errors are not counted, so that a list with them seems too short.
            if not (each["type"] == "too_short" and len(each["loc"]) == 1 and each["loc"][0] in inner)
        ]
    count = "1 configuration error" if len(problems) == 1 else f"{len(problems)} configuration errors"
    raise UserError("\n  ".join([f"{count}; nothing was run.", *problems]))


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _problem(details: Any, section: type[Section], name: str, overrides: Sequence[str]) -> str:
    """Describe an error of pydantic: key, problem and origin."""
    key, message = ".".join(map(str, details["loc"])), details["msg"].removeprefix("Value error, ")
    if not key:  # about several keys: the message begins with the one to change
        key, _, message = message.partition(": ")
    keys = (f"{key}=", f"{key.partition('.')[0]}=")
    override = next((line for line in reversed(overrides) if line.lstrip("+").startswith(keys)), None)
    origin = f"[from {override or f'{GROUP}/{name}.yaml'}]"
    if details["type"] == "extra_forbidden":
        known = ["question", *section.model_fields]
        all_keys = f" The keys are {', '.join(known)}."
        return f"{key}: unknown key.{nearest(key, known) or all_keys} {origin}"
    if details["type"] == "missing":
        return f"{key}: is missing {origin}"
    if details["type"] == "value_error":
        return f"{key}: {message} {origin}"
    given = details["input"]
    shown = repr(list(given)) if isinstance(given, tuple) else repr(given)
    wanted = message.removeprefix("Input ").replace("tuple", "list").replace("Tuple ", "")
    return f"{key}: {shown} {wanted} {origin}"
