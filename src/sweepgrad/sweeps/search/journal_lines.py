"""Check the file of a study, line by line, before Optuna reads it and before anything in it is changed.

The file may have been named by accident (`hydra.sweeper.study=notes`), or come from others. Values of its
trials become overrides, so each must be a value of the search space.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from sweepgrad.bounded import reading
from sweepgrad.bounded.reading import Limits
from sweepgrad.errors import DamagedFile, UserError
from sweepgrad.sweeps.search.space import Choices, Dimension, Interval, Space, Steps
from sweepgrad.sweeps.search.suggest import text

SIZE = 1 << 27  # bytes of a study; a trial has some thousand
LINE = Limits(size=1 << 22, values=1 << 18, depth=8)
_LISTED, _SHOWN = 3, 60  # keys in a message, and characters of one
_BEGINS = b'{"op_code":0,'  # the first line of a study, as Optuna writes it


def _number(value: object) -> object:
    """Require a float, since integers of JSON may have any number of digits."""
    if not isinstance(value, float) or isnan(value):
        raise ValueError("should be a number with a decimal point")
    return value


_Id = Annotated[str, Field(max_length=200)]
_Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}([+-]\d\d:\d\d)?$")]
_Index = Annotated[int, Field(ge=0, lt=1 << 31)]
_Value = Annotated[float, BeforeValidator(_number)]
_Texts = dict[str, str]
_Nothing = Annotated[dict[str, Any], Field(max_length=0)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    worker_id: _Id


class _Study(_Line):
    op_code: Literal[0]
    study_name: str
    directions: Annotated[list[Literal[1, 2]], Field(min_length=1, max_length=1)]


class _SettingOf(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    setting: _Texts


class _Setting(_Line):
    op_code: Literal[2]
    study_id: Literal[0]
    user_attr: _SettingOf


class _PointOf(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    point: _Texts


class Suggested(_Line):
    """A suggestion as Optuna writes it: the values of its dimensions in Optuna's own form, and as text."""

    op_code: Literal[4]
    study_id: Literal[0]
    datetime_start: _Date
    state: Literal[0]
    value: None
    values: None
    distributions: _Texts
    params: dict[str, Annotated[float, Field(ge=-1e308, le=1e308)]]
    user_attrs: _PointOf
    system_attrs: _Nothing
    intermediate_values: _Nothing


class _Told(_Line):
    op_code: Literal[6]
    trial_id: _Index
    state: Literal[1, 3]
    values: Annotated[list[_Value], Field(min_length=1, max_length=1)] | None
    datetime_complete: _Date


@dataclass
class Lines:
    """The lines of a study.

    Attributes:
        size: bytes of the complete lines; an incomplete one may follow, of a process that was killed.
        name: of the study; None in an empty file.
        setting: everything besides the plan that results depend on; None if it is not written yet.
    """

    size: int = 0
    name: str | None = None
    setting: dict[str, str] | None = None
    suggested: list[Suggested] = field(default_factory=list)


def refuse_other_files(path: Path) -> None:
    """Check that a file does not begin otherwise than a study.

    Raises:
        UserError: it does, or it is not a file.
    """
    _checked(path, _content(path))


def read(path: Path) -> Lines:
    """Return the lines of a study; nothing is changed.

    Raises:
        UserError: the file is not a study, or damaged; the message has the number of the line.
    """
    content = _checked(path, _content(path))
    lines, told, number, end = Lines(), set[int](), 0, 0
    while (following := content.find(b"\n", end) + 1) > 0:
        number += 1
        try:
            _add(lines, told, _parsed(content[end:following]))
        except ValueError as error:
            raise UserError(
                f"{path}: line {number} is not of a study ({error}). Move the file, or choose another"
                " name: hydra.sweeper.study=NAME"
            ) from None
        end = following
    lines.size = end
    return lines


def check_points(path: Path, lines: Lines, space: Space, distributions: Mapping[str, str]) -> None:
    """Check that each suggestion is a point of the space.

    Arguments:
        distributions: the dimensions as Optuna writes them.

    Raises:
        UserError: one is not; the message names the trial and the key.
    """
    dimensions = space.dimensions
    for number, trial in enumerate(lines.suggested):
        point = trial.user_attrs.point
        wrong = [
            key
            for key in sorted({*dimensions, *trial.params, *point, *trial.distributions})
            if key not in dimensions
            or trial.distributions.get(key) != distributions[key]
            or key not in trial.params
            or point.get(key) != _as_text(dimensions[key], trial.params[key])
        ]
        if wrong:
            raise UserError(
                f"{path}: trial {number} is not a point of the search space"
                f" ({', '.join(key[:_SHOWN] for key in wrong[:_LISTED])}). Move the file, or choose another"
                " name: hydra.sweeper.study=NAME"
            )


def _content(path: Path) -> bytes:
    try:
        return reading.read(path, SIZE)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; choose another name: hydra.sweeper.study=NAME") from None
    except DamagedFile as error:
        raise UserError(f"{path}: {error}; choose another name: hydra.sweeper.study=NAME") from None


def _checked(path: Path, content: bytes) -> bytes:
    if content and not content.startswith(_BEGINS):
        raise UserError(
            f"{path}: this file is not a study, and is left as it is. Choose another name"
            " (hydra.sweeper.study=NAME) or another folder (hydra.sweeper.storage=FOLDER)"
        )
    return content


def _parsed(line: bytes) -> Any:
    reading.check_size(line, LINE)
    try:
        from_json(line)  # refuses deep nesting, without recursion of Python's
        value = json.loads(line)  # as Optuna reads it
        return _schema().validate_python(value)
    except (ValueError, RecursionError, OverflowError) as error:
        raise DamagedFile(reading.described(error)) from None


@cache
def _schema() -> TypeAdapter[_Study | _Setting | Suggested | _Told]:
    return TypeAdapter(Annotated[_Study | _Setting | Suggested | _Told, Field(discriminator="op_code")])


def _add(lines: Lines, told: set[int], line: _Study | _Setting | Suggested | _Told) -> None:
    """Add a line to those before it.

    Raises:
        ValueError: it cannot follow them.
    """
    match line:
        case _Study() if lines.name is None:
            lines.name = line.study_name
        case _Setting() if lines.name is not None and lines.setting is None and not lines.suggested:
            lines.setting = line.user_attr.setting
        case Suggested() if lines.setting is not None:
            lines.suggested.append(line)
        case _Told() if line.trial_id < len(lines.suggested) and line.trial_id not in told:
            if (line.state == 1) != (line.values is not None):
                raise ValueError("a finished trial has a value, a failed one has none")
            told.add(line.trial_id)
        case _:
            raise ValueError("it cannot follow the lines before it")


def _as_text(dimension: Dimension, value: float) -> str | None:
    """Return a value of Optuna's as text that Hydra reads, or None if it is outside the dimension."""
    match dimension:
        case Choices(values):
            return values[int(value)] if value in range(len(values)) else None
        case Steps(range() as values):
            return text(dimension, int(value)) if value in values else None
        case Steps(values):
            return text(dimension, int(value)) if value in range(len(values)) else None
        case Interval(int() as low, int() as high):
            return text(dimension, int(value)) if low <= value <= high and value == int(value) else None
        case Interval(low, high):
            return text(dimension, value) if low <= value <= high else None
