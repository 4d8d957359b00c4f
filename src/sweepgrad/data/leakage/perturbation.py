"""Isolation test: what is fitted to training rows must not change when all other rows are garbage."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import zip_longest
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from sweepgrad.rng import key, permutation

Mask = NDArray[np.bool_]
Fit = Callable[[pd.DataFrame, Mask], object]

UNKNOWN = "a level that no row has"
GARBAGE = ("finite extremes, unknown levels and missing values", "values of other held-out rows, shifted")
"""The kinds of garbage, one for each round. The second is for fits that ignore extremes, such as a median."""


def sees_held_out(fit: Fit, frame: pd.DataFrame, train: Mask) -> tuple[str, ...]:
    """Return what depends on held-out rows in the result of a fit; empty if nothing does.

    The fit is repeated on tables whose held-out rows are replaced by garbage of the same column types, and
    the results are compared bit by bit. A fit that only counts these rows, or reads only their types, is not
    detected.

    Arguments:
        fit: takes a table and a mask (N,) of its training rows, and returns what it learned: numbers, arrays,
            frames, dicts, lists, dataclasses, or objects with attributes such as an estimator.
        frame: N rows.
        train: mask (N,) of the training rows.

    Returns:
        The places where results differ, such as "mean" or "levels[3]", or the error that garbage caused.

    Raises:
        ValueError: if two fits of the same table differ, all rows are training rows, no garbage can be made
            for the type of a column, or a result cannot be compared.
    """
    if train.all() or train.shape != (len(frame),):
        raise ValueError(
            f"train must be a mask of {len(frame)} rows, and some of these must be held out, not {train!r}"
        )
    original = fit(frame.copy(), train)
    if differences(original, fit(frame.copy(), train)):
        raise ValueError(
            "the fit is not deterministic: two fits of the same table differ. Set its random seed"
        )
    return moved_by_garbage(fit, original, frame, train)


def moved_by_garbage(
    fit: Fit, original: object, frame: pd.DataFrame, train: Mask, rounds: int = len(GARBAGE)
) -> tuple[str, ...]:
    """Return what `sees_held_out` does, given the result on the original table.

    Arguments:
        rounds: the number of kinds of `GARBAGE` to use.
    """
    found: dict[str, None] = {}
    for kind in range(rounds):
        garbage = garbled(frame, train, kind)
        try:
            with np.errstate(all="ignore"):
                other = fit(garbage, train)
        except MemoryError:  # it says nothing about the rows
            raise
        except Exception as error:  # noqa: BLE001 - any error is a finding, since only held-out rows have changed
            found[f"it raises {type(error).__name__}: {error}"] = None
            continue
        found |= dict.fromkeys(differences(original, other))
    return tuple(found)


def garbled(frame: pd.DataFrame, train: Mask, kind: int) -> pd.DataFrame:
    """Return the table with garbage of the kind `GARBAGE[kind]` in all rows but the training rows.

    Raises:
        ValueError: if none can be made for the type of a column.
    """
    others = np.flatnonzero(~train)
    columns = {}
    for place, name in enumerate(frame.columns):
        old = frame.iloc[:, place]
        new = old.array.copy()
        try:
            with np.errstate(all="ignore"):
                new[others] = _strange(old, len(others)) if kind == 0 else _shifted(old, others, place)
        except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise ValueError(f"no garbage can be made for column {name!r} ({old.dtype}): {error}") from error
        columns[name] = pd.Series(new, index=frame.index)
    return pd.DataFrame(columns)


def _strange(column: "pd.Series[Any]", n: int) -> Any:
    """Return values (n,) that are extreme, unknown or missing, as the type of the column allows."""
    dtype = column.dtype
    choices: list[Any]
    if types.is_bool_dtype(dtype):
        choices = [True]
    elif types.is_integer_dtype(dtype):
        limits = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
        choices = [int(limits.max), int(limits.max) // 2]
    elif types.is_float_dtype(dtype):
        limit = float(np.finfo(getattr(dtype, "numpy_dtype", dtype)).max)
        choices = [limit / 1e6, limit / 1e12, np.nan]
    elif isinstance(dtype, pd.CategoricalDtype):
        choices = [dtype.categories[0], np.nan]
    elif types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        choices = [column.max() + (column.max() - column.min()) + pd.Timedelta(1, "D"), pd.NaT]
    else:
        choices = [UNKNOWN, None, f"{UNKNOWN} either"]
    return pd.Series([choices[i % len(choices)] for i in range(n)], dtype=dtype).array


def _shifted(column: "pd.Series[Any]", others: NDArray[np.int64], place: int) -> Any:
    """Return the values of the held-out rows (n,) in another order, with larger numbers."""
    values = column.iloc[others[permutation(key(0, "garbage", place), len(others))]]
    dtype = column.dtype
    if types.is_bool_dtype(dtype):
        return (~values).array
    if types.is_integer_dtype(dtype):
        return (values + values.where(values < 100, 1).abs() + 1).astype(dtype).array
    if types.is_float_dtype(dtype):
        return (values + (values.abs().median() + 1) / 3).astype(dtype).array
    return values.array


def differences(one: object, other: object) -> list[str]:
    """Return the names of the places where two results differ in any bit; NaN equals NaN.

    Raises:
        ValueError: if a part of them cannot be compared.
    """
    pairs = zip_longest(_leaves(one, ""), _leaves(other, ""), fillvalue=("its parts", b""))
    return list(dict.fromkeys(name or "the result" for (name, a), (_, b) in pairs if a != b))


def _leaves(value: object, name: str, within: tuple[int, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of a result as names and bytes.

    Arguments:
        within: the identities of the objects that contain it, since an object may contain itself.
    """
    if id(value) in within:
        yield name, b"a part of itself"
        return
    if (leaf := _leaf(value)) is not None:
        yield name, leaf
        return
    inner = _parts(value, name)
    yield f"{name}", f"{type(value).__name__} of {len(inner)}".encode()
    for key_, part in inner.items():
        label = f"[{key_}]" if isinstance(key_, int) else f".{key_}" if name else str(key_)
        yield from _leaves(part, f"{name}{label}", (*within, id(value)))


def _leaf(value: object) -> bytes | None:
    """Return the bytes of a value without parts; None if it may have some."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return str((value.dtype, value.shape)).encode() + value.tobytes()
    if isinstance(value, np.generic):
        return str(value.dtype).encode() + value.tobytes()
    if isinstance(value, str | bytes | int | complex | float | None | type | ModuleType | np.ufunc):
        return repr(value).encode()
    return None


def _parts(value: object, name: str) -> Mapping[Any, Any]:
    """Return the parts of a value by name or position.

    Raises:
        ValueError: if they are unknown.
    """
    if isinstance(value, pd.DataFrame):
        columns = {place: value.iloc[:, place].to_numpy() for place in range(value.shape[1])}
        return {"columns": value.columns.tolist(), "index": value.index.to_numpy(), **columns}
    if isinstance(value, pd.Series | pd.Index):
        return {"name": str(value.name), "values": value.to_numpy()}
    if isinstance(value, np.ndarray):
        return dict(enumerate(value.reshape(-1).tolist()))
    if isinstance(value, Mapping):
        return value
    if isinstance(value, set | frozenset):
        return dict(enumerate(sorted(value, key=repr)))
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = (value.__defaults__, value.__kwdefaults__)
        return {"module": value.__module__, "called": value.__qualname__, "given": [*cells, *defaults]}
    if isinstance(value, MethodType | BuiltinFunctionType):
        return {"of": value.__self__, "called": value.__qualname__}
    if isinstance(value, partial):
        return {"of": value.func, "given": [value.args, value.keywords]}
    if state := _state(value):
        return state
    text = repr(value)
    if type(value).__repr__ is object.__repr__ or f"{id(value):x}" in text.lower():
        raise ValueError(
            f"{name or 'the result'} ({type(value).__name__}) cannot be compared: it has no attributes;"
            " return numbers, arrays or text instead"
        )
    return {"repr": text}


def _state(value: object) -> dict[str, Any]:
    """Return the attributes of an object, including slots; or its pickle state if it has none."""
    slots = [slot for kind in type(value).__mro__ for slot in _slots(kind)]
    found = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    found |= getattr(value, "__dict__", {})
    if not found and type(value).__getstate__ is not object.__getstate__:
        return {"state": value.__getstate__()}
    return found


def _slots(kind: type) -> Iterator[str]:
    """Yield the attribute names of a class's slots, with private names mangled."""
    slots = kind.__dict__.get("__slots__", ())
    for slot in (slots,) if isinstance(slots, str) else slots:
        if slot not in ("__dict__", "__weakref__"):
            private = slot.startswith("__") and not slot.endswith("__")
            yield f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
