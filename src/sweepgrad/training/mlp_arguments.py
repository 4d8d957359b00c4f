"""Checks of `MLP`'s arguments; each error names the argument, its value and what is allowed."""

import operator
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sweepgrad.autograd.value import Array, ShapeError, Value
from sweepgrad.config.check import nearest
from sweepgrad.config.optimizers import OPTIMIZERS as OPTIMIZER_SETTINGS
from sweepgrad.config.schedules import SCHEDULES as SCHEDULE_SETTINGS
from sweepgrad.engine.tape import DType
from sweepgrad.extensions import Registry
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.optimizers import OPTIMIZERS, Optimizer
from sweepgrad.nn.schedules import SCHEDULES, Schedule
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.task import RowWeights

# As in conf/optimizer and conf/schedule; a test compares them.
DEFAULTS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "adagrad": {"epsilon": 1e-8},
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "inverse_root": {"delay": 1000},
    "staircase": {"every": 10, "factor": 0.5},
    "cosine": {"final": 0.0},
}
LEARNING_RATE = 0.01


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
    return number


def positive(name: str, value: Any, zero: bool = False) -> float:
    """Return a finite number above 0, or 0 if `zero` allows it."""
    if not (_is_finite(value) and value >= 0 and (zero or value > 0)):
        raise ValueError(
            f"{name} must be a finite number {'of at least' if zero else 'above'} 0, not {value!r}"
        )
    return float(value)


def probability(name: str, value: Any) -> float:
    """Return a number in [0, 1)."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"{name} must be a number in [0, 1), not {value!r}")
    return float(value)


def layers(sizes: Any) -> tuple[int, ...]:
    """Return the widths of the layers, the last of them 1."""
    wanted = "layer_sizes must be a list of layer widths that ends with 1, such as [8, 1]"
    try:
        widths = tuple(sizes)
    except TypeError:
        raise ValueError(f"{wanted}, not {sizes!r}") from None
    if not widths or widths[-1] != 1:
        raise ValueError(f"{wanted}, not {sizes!r}: there is one output, the probability that y is 1")
    return tuple(whole(f"layer_sizes[{i}]", width) for i, width in enumerate(widths))


def choice(name: str, value: Any, options: Mapping[str, Any]) -> str:
    """Return one of the options' names."""
    if not isinstance(value, str) or value not in options:
        hint = nearest(value, list(options)) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {', '.join(options)}, not {value!r}.{hint}")
    return value


def activation(name: Any) -> str:
    return choice("activation", name, ACTIVATIONS)


def number_type(dtype: Any) -> DType:
    """Return np.float64 or np.float32."""
    try:
        name = np.dtype(dtype).name if dtype is not None else ""
    except TypeError:
        name = ""
    if name not in ("float64", "float32"):
        raise ValueError(f"dtype must be float64 or float32, not {dtype!r}")
    return np.float64 if name == "float64" else np.float32


def representable(numbers: Mapping[str, float | None], dtype: DType) -> None:
    """Raise where float32 rounds a number to 0 or 1, or takes it for infinity."""
    with np.errstate(over="ignore", under="ignore"):
        for name, number in numbers.items():
            rounded = None if number is None else float(dtype(number))
            if rounded in (0.0, 1.0, np.inf) and rounded != number:
                raise ValueError(f'{name} {number!r} is {rounded:g} in float32; use dtype="float64"')


def optimizer_of(given: Any, learning_rate: Any) -> tuple[Optimizer, str]:
    """Return the optimizer, given by name, settings or object, and the argument that sets its learning rate.

    Arguments:
        learning_rate: None where the optimizer has its own, or for the default.
    """
    if not isinstance(given, str | Mapping):
        if not (hasattr(given, "lr") and hasattr(given, "start") and hasattr(given, "step")):
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, settings such as"
                f' {{"name": "adam", "beta1": 0.8}}, or an optimizer, not {given!r}'
            )
        if learning_rate is not None:
            raise ValueError(
                f"learning_rate ({learning_rate!r}) has no effect, since the optimizer has lr ({given.lr!r});"
                " leave learning_rate out"
            )
        if not _check_object("optimizer", given, OPTIMIZERS, OPTIMIZER_SETTINGS):
            positive("optimizer.lr", given.lr)
        return given, "optimizer.lr"
    name, settings = _named("optimizer", given, OPTIMIZER_SETTINGS)
    if "lr" in settings:
        raise ValueError("optimizer.lr is not a setting here; use learning_rate")
    rate = LEARNING_RATE if learning_rate is None else positive("learning_rate", learning_rate)
    settings = _checked("optimizer", name, OPTIMIZER_SETTINGS, {"lr": rate, **settings})
    return OPTIMIZERS[name](**settings), "learning_rate"


def schedule_of(given: Any) -> Schedule:
    """Return the schedule, given by a name, by settings with a name, or as an object."""
    if not isinstance(given, str | Mapping):
        if not hasattr(given, "shares"):
            raise ValueError(
                f"schedule must be one of {', '.join(SCHEDULES)}, settings such as"
                f' {{"name": "cosine", "final": 0.1}}, or a schedule, not {given!r}'
            )
        _check_object("schedule", given, SCHEDULES, SCHEDULE_SETTINGS)
        schedule: Schedule = given
        return schedule
    name, settings = _named("schedule", given, SCHEDULE_SETTINGS)
    return SCHEDULES[name](**_checked("schedule", name, SCHEDULE_SETTINGS, settings))


def class_weight(value: Any) -> Any:
    """Return "balanced", None, or a number above 0."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    if not (_is_finite(value) and value > 0):
        raise ValueError(f'class_weight must be None, "balanced" or a number above 0, not {value!r}')
    return float(value)


def row_weights(labels: Array, weight: Any) -> RowWeights | None:
    """Return the weights of training rows by class."""
    if weight is None:
        return None
    try:
        return BINARY.class_weights(labels, weight)
    except ValueError as error:
        raise ValueError(f"class_weight {weight!r}: {error}") from None


def features(name: str, X: Any, n_features: int, dtype: DType, rows: bool = True) -> Array:
    """Return X (N, n_features) in C order and of `dtype`.

    Arguments:
        X: a DataFrame, an array of any layout, nested lists, or a `Value`.
        rows: refuse N = 0.
    """
    array = _numbers(name, X)
    if array.ndim != 2 or array.shape[1] != n_features:
        hint = f"; use numpy.reshape({name}, (-1, 1))" if array.ndim == 1 and n_features == 1 else ""
        raise ShapeError(
            f"{name} must have shape (N, {n_features}), as n_features says, not {array.shape}{hint}"
        )
    if rows and not len(array):
        raise ValueError(f"{name} must have rows, not shape {array.shape}")
    with np.errstate(over="ignore"):
        result: Array = np.ascontiguousarray(array, dtype=dtype)
    finite = np.isfinite(result)
    if not finite.all():
        column = int(np.argmin(finite.all(axis=0)))
        row = int(np.argmin(finite[:, column]))
        shown = getattr(X, "columns", range(n_features))[column]
        raise ValueError(
            f"{name} must be finite, but column {shown!r} has {result[row, column]} in row {row}; fill in or"
            " drop such rows"
        )
    return result


def labels(name: str, y: Any, n: int, dtype: DType) -> Array:
    """Return y (n,) of `dtype`, zeros and ones.

    Arguments:
        y: a Series, an array or a list, of numbers or bools.
    """
    array = _numbers(name, y)
    if array.shape != (n,):
        hint = f"; use numpy.ravel({name})" if array.shape == (n, 1) else ""
        raise ShapeError(f"{name} must have shape ({n},), one label for each row, not {array.shape}{hint}")
    wrong = ~((array == 0) | (array == 1))
    if wrong.any():
        raise ValueError(
            f"{name} must hold 0 and 1 only, but has {array[wrong][0]:g} in row {np.argmax(wrong)}"
        )
    result: Array = np.ascontiguousarray(array, dtype=dtype)
    return result


def _numbers(name: str, given: Any) -> NDArray[Any]:
    """Return real numbers as an array; missing ones are NaN."""
    if isinstance(given, Value):
        return given.data
    if hasattr(given, "toarray"):  # SciPy's sparse arrays and matrices
        raise ValueError(f"{name} must be a dense array, not {type(given).__name__}; use .toarray()")
    try:
        raw = np.asarray(given)
    except ValueError as error:
        raise ShapeError(f"{name} must be a rectangular array: {error}") from None
    if raw.dtype.kind in "biuf":
        return raw
    if raw.dtype.kind == "O" and raw.ndim:
        try:
            if not any(isinstance(x, str) for x in raw.flat):
                missing = np.array([x is None or type(x).__name__ == "NAType" for x in raw.flat], dtype=bool)
                return np.where(missing.reshape(raw.shape), np.nan, raw).astype(np.float64)
        except (TypeError, ValueError):
            pass
    if raw.dtype.kind == "O" and not raw.ndim:
        shown = "None" if given is None else type(given).__name__
        raise ValueError(f"{name} must be an array, a DataFrame or lists of numbers, not {shown}")
    wrong = next((x for x in raw.reshape(-1).tolist() if not _is_number(x)), given)
    where = f", not {wrong!r}"
    for place, column in enumerate(getattr(given, "columns", ())):
        if getattr(given.iloc[:, place].dtype, "kind", "O") not in "biuf":
            wrong = given.iloc[:, place].iloc[0]
            where = f", but column {column!r} holds {wrong!r}"
            break
    remedy = "; encode text as numbers first" if isinstance(wrong, str) else ""
    raise ValueError(f"{name} must hold numbers{where}{remedy}")


def _named(argument: str, given: Any, registry: Registry[Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings, with defaults for those that are not given."""
    settings = {"name": given} if isinstance(given, str) else dict(given)
    if wrong := [key for key in settings if not isinstance(key, str)]:
        raise ValueError(f"{argument} settings must have strings as keys, not {wrong[0]!r}")
    if "name" not in settings:
        names = ", ".join(registry)
        raise ValueError(f"{argument} settings need a name, one of {names}; given: {settings!r}")
    name = choice(argument, settings.pop("name"), registry)
    return name, {**DEFAULTS.get(name, {}), **settings}


def _checked(argument: str, name: str, registry: Registry[Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Check settings by the rules of the configuration."""
    try:
        model = registry[name](name=name, **settings)
    except ValidationError as error:
        details = error.errors()[0]
        key = ".".join(map(str, details["loc"]))
        if details["type"] == "extra_forbidden":
            known = ", ".join(key for key in registry[name].model_fields if key not in ("name", "lr"))
            problem = f"is an unknown setting of {name}, which has {known or 'none'}"
        elif details["type"] == "missing":
            problem = f"must be given: {argument}={{'name': {name!r}, {key!r}: …}}"
        else:
            rule = details["msg"].removeprefix("Input ").removeprefix("Value error, ")
            problem = f"{rule}, not {details['input']!r}"
        raise ValueError(f"{argument}.{key} {problem}") from None
    checked: dict[str, Any] = model.model_dump(exclude={"name"})
    return checked


def _check_object(argument: str, given: Any, kinds: Registry[Any], settings: Registry[Any]) -> bool:
    """Check an object of a registered class by the rules of the configuration; return False for another."""
    for name, kind in kinds.items():
        if type(given) is kind and is_dataclass(kind):
            _checked(argument, name, settings, asdict(given))
            return True
    return False


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number that float64 can hold; 10**400 does not fit."""
    if isinstance(value, int):
        return _is_number(value) and abs(value) <= sys.float_info.max
    return _is_number(value) and bool(np.isfinite(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
