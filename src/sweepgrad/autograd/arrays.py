"""Arrays of real numbers, and the errors of numbers and shapes that are not allowed."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class DomainError(ArithmeticError):
    """A result that is not a number, such as the logarithm of a negative number, or a division by zero."""


class ShapeError(ValueError):
    """Arrays whose shapes do not fit together."""


def real(data: Any, label: str, name: str = "Value") -> Array:
    """Return `data` as an array of real numbers, or raise an error that names `name` and the label."""
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"{name} needs a rectangular array: {error}") from None
    if array.dtype.kind != "f":
        if array.dtype.kind not in "biu":
            raise TypeError(f"{name} needs real numbers, not {type(data).__name__} of {array.dtype}")
        array = array.astype(np.float64)
    if np.isnan(array).any():
        raise DomainError(f"NaN in {name}{f' {label!r}' if label else ''}")
    return array


def real_of_shape(data: Any, shape: tuple[int, ...], label: str, name: str, *, broadcast: bool) -> Array:
    """Return `data` as an array of real numbers of `shape`, or raise an error that names `name`."""
    array = real(data, label, "Value" if name == "data" else f"{name} of Value")
    if broadcast:
        with suppress(ValueError):
            array = np.broadcast_to(array, shape)
    if array.shape != shape:
        labelled = f" {label!r}" if label else ""
        raise ShapeError(f"{name} of Value{labelled} must have shape {shape}, not {array.shape}")
    return array


def short(array: Array) -> str:
    """Return the text of an array, with at most eight numbers."""
    return np.array2string(array, precision=6, threshold=8, separator=", ")
