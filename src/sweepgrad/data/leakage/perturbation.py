"""Proof by perturbation: what is fitted on training rows must not change when all other rows are garbage."""

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
"""What the rows are replaced by, in turn. The second is for what trims extremes, as a median does."""


def sees_held_out(fit: Fit, frame: pd.DataFrame, train: Mask) -> tuple[str, ...]:
    """What of a fit depends on rows that are held out; empty if nothing does.

    The fit is repeated on tables whose other rows are replaced by garbage, each column's type kept, and its
    results are compared bit by bit. So this shows what these tables show: a fit that only counts the rows, or
    looks at nothing but their types, is not found.

    Arguments:
        fit: given a table and which of its rows are for training (N,), it gives what it learned: numbers,
            arrays, frames, dicts, lists, dataclasses, or objects with attributes such as an estimator.
        frame: N rows.
        train: which are for training, (N,).

    Returns:
        Where results differ, such as "mean" or "levels[3]"; or what the fit raised on garbage alone.

    Raises:
        ValueError: the same table gives another result the second time, so nothing could be shown; or all
            rows are for training; or a column is of a type of which no garbage can be made; or a result
            cannot be compared.
    """
    if train.all() or train.shape != (len(frame),):
        raise ValueError(f"of {len(frame)} rows some must be held out by a mask of that many, not {train!r}")
    honest = fit(frame.copy(), train)
    if differences(honest, fit(frame.copy(), train)):
        raise ValueError("the fit gives another result the second time: seed it, and nothing else may vary")
    return moved_by_garbage(fit, honest, frame, train)


def moved_by_garbage(
    fit: Fit, honest: object, frame: pd.DataFrame, train: Mask, turns: int = len(GARBAGE)
) -> tuple[str, ...]:
    """As `sees_held_out`, given what the fit learns from the honest table; the first `turns` of `GARBAGE`."""
    found: dict[str, None] = {}
    for turn in range(turns):
        garbage = garbled(frame, train, turn)
        try:
            with np.errstate(all="ignore"):
                other = fit(garbage, train)
        except Exception as error:  # noqa: BLE001 - whatever it is, only held-out rows have changed
            found[f"it raises {type(error).__name__}: {error}"] = None
            continue
        found |= dict.fromkeys(differences(honest, other))
    return tuple(found)


def garbled(frame: pd.DataFrame, train: Mask, turn: int) -> pd.DataFrame:
    """The table with garbage in all rows that are not for training, of the kind `GARBAGE[turn]`.

    Raises:
        ValueError: none can be made of a column's type.
    """
    others = np.flatnonzero(~train)
    columns = {}
    for place, name in enumerate(frame.columns):
        old = frame.iloc[:, place]
        new = old.array.copy()
        try:
            with np.errstate(all="ignore"):
                new[others] = _strange(old, len(others)) if turn == 0 else _shifted(old, others, place)
        except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise ValueError(f"no garbage can be made of column {name!r} ({old.dtype}): {error}") from error
        columns[name] = pd.Series(new, index=frame.index)
    return pd.DataFrame(columns)


def _strange(column: "pd.Series[Any]", n: int) -> Any:
    """Values (n,) far from any, or that none has, or missing, as the column's type allows."""
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
    """The values of the other rows (n,) in another order, numbers larger than they were."""
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
    """Where two results differ in any bit, by name; NaN equals NaN.

    Raises:
        ValueError: a part of them cannot be compared.
    """
    pairs = zip_longest(_leaves(one, ""), _leaves(other, ""), fillvalue=("its parts", b""))
    return list(dict.fromkeys(name or "the result" for (name, a), (_, b) in pairs if a != b))


def _leaves(value: object, name: str, within: tuple[int, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """All that a result consists of, as names and bytes.

    Arguments:
        within: the identities of what it is a part of, since an object may hold itself.
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
    """All there is to a value without parts; None if it may have some."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return str((value.dtype, value.shape)).encode() + value.tobytes()
    if isinstance(value, np.generic):
        return str(value.dtype).encode() + value.tobytes()
    if isinstance(value, str | bytes | int | complex | float | None | type | ModuleType | np.ufunc):
        return repr(value).encode()
    return None


def _parts(value: object, name: str) -> Mapping[Any, Any]:
    """What a value consists of, by name or place.

    Raises:
        ValueError: that cannot be known.
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
    said = repr(value)
    if type(value).__repr__ is object.__repr__ or f"{id(value):x}" in said.lower():
        raise ValueError(
            f"{name or 'the result'} ({type(value).__name__}) cannot be compared: it shows no attributes;"
            " give numbers, arrays or texts in its place"
        )
    return {"said": said}


def _state(value: object) -> dict[str, Any]:
    """The attributes of an object, those in slots too; or what it gives to be pickled by."""
    slots = [slot for kind in type(value).__mro__ for slot in _slots(kind)]
    found = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    found |= getattr(value, "__dict__", {})
    if not found and type(value).__getstate__ is not object.__getstate__:
        return {"state": value.__getstate__()}
    return found


def _slots(kind: type) -> Iterator[str]:
    """The slots of a class, as attributes are called that begin with two underscores, too."""
    slots = kind.__dict__.get("__slots__", ())
    for slot in (slots,) if isinstance(slots, str) else slots:
        if slot not in ("__dict__", "__weakref__"):
            private = slot.startswith("__") and not slot.endswith("__")
            yield f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
