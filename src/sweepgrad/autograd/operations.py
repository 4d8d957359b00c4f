"""The table of operations: forward rules with their local gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.autograd.arrays import Array


@dataclass(frozen=True, eq=False)
class Operation:
    """A forward rule and, for each parent, its local gradient.

    Arguments:
        name: as shown in graphs and errors.
        forward: takes the parents' arrays and the settings; returns the result's array.
        gradients: one function for each parent. It takes the gradient of the result, the result, the parents
            and the settings, all as `Value`s. It returns the gradient of that parent, of the result's shape
            where the parent was broadcast. None stands for a derivative that is zero everywhere.
    """

    name: str
    forward: Callable[..., Any]
    gradients: tuple[Callable[..., Any] | None, ...]


def _matmul(a: Array, b: Array) -> Array:
    product: Array
    try:
        product = np.matmul(a, b)
    except FloatingPointError:  # Apple's BLAS raises it for finite products too (numpy/numpy#28687)
        with np.errstate(all="ignore"):
            product = np.matmul(a, b)
        if np.isnan(product).any():
            raise
    return product


def _scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    result = np.zeros(shape, dtype=g.dtype)
    np.add.at(result, index, g)
    return result


def _concatenate(a: Array, b: Array) -> Array:
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError("only vectors can be concatenated")
    return np.concatenate([a, b])


def _mask(probability: Array, key: int, shape: tuple[int, ...]) -> Array:
    dropped = rng.words(key, prod(shape)).reshape(shape) < rng.threshold(float(probability))
    return np.where(dropped, 0, 1 / (1 - probability)).astype(probability.dtype)


def _spread(g: Any, a: Any, axis: int | tuple[int, ...] | None, keepdims: bool) -> Any:
    """Repeat the gradient of a sum over the summed axes."""
    if axis is not None and not keepdims:
        axes = {i % a.ndim for i in ((axis,) if isinstance(axis, int) else axis)}
        g = g.reshape(*(1 if i in axes else n for i, n in enumerate(a.shape)))
    return g.broadcast_to(a.shape)


# The forward rule, then the local gradient for each parent, where g is the gradient of the result y.

ADD = Operation("+", np.add, (lambda g, y, a, b: g, lambda g, y, a, b: g))
SUBTRACT = Operation("-", np.subtract, (lambda g, y, a, b: g, lambda g, y, a, b: -g))
MULTIPLY = Operation("*", np.multiply, (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a))
DIVIDE = Operation("/", np.divide, (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b))
NEGATE = Operation("neg", np.negative, (lambda g, y, a: -g,))
POWER = Operation(
    "**",
    lambda a, exponent: np.power(a, exponent),
    # The power 0 is constant. Its slope is not computed as 0 * a**-1, which is undefined at a = 0.
    (lambda g, y, a, exponent: g * (exponent * a ** np.where(exponent == 0, 0, exponent - 1)),),
)
MATMUL = Operation("@", _matmul, (lambda g, y, a, b: g @ b.T, lambda g, y, a, b: a.T @ g))
EXP = Operation("exp", np.exp, (lambda g, y, a: g * y,))
LOG = Operation("log", np.log, (lambda g, y, a: g / a,))
RELU = Operation("relu", lambda a: np.maximum(a, 0), (lambda g, y, a: g * a.step(),))
STEP = Operation("step", lambda a: (a > 0).astype(a.dtype), (None,))
TANH = Operation("tanh", np.tanh, (lambda g, y, a: g * (1 - y * y),))
SIGMOID = Operation("sigmoid", expit, (lambda g, y, a: g * (y * (1 - y)),))
SOFTPLUS = Operation("softplus", lambda a: np.logaddexp(a, 0), (lambda g, y, a: g * a.sigmoid(),))
SUM = Operation(
    "sum",
    lambda a, axis, keepdims: np.sum(a, axis=axis, keepdims=keepdims),
    (lambda g, y, a, axis, keepdims: _spread(g, a, axis, keepdims),),
)
BROADCAST = Operation("broadcast", lambda a, shape: np.broadcast_to(a, shape), (lambda g, y, a, shape: g,))
RESHAPE = Operation(
    "reshape", lambda a, shape: a.reshape(shape), (lambda g, y, a, shape: g.reshape(*a.shape),)
)
TRANSPOSE = Operation("transpose", np.transpose, (lambda g, y, a: g.T,))
INDEX = Operation(
    "index",
    lambda a, index: a[index],
    (lambda g, y, a, index: g.scatter(index, a.shape),),
)
SCATTER = Operation("scatter", _scatter, (lambda g, y, a, index, shape: g[index],))
CONCATENATE = Operation(
    "concatenate",
    _concatenate,
    (lambda g, y, a, b: g[: a.size], lambda g, y, a, b: g[a.size :]),
)
MASK = Operation("mask", _mask, (None,))


@lru_cache(maxsize=64)
def stack_of(n: int) -> Operation:
    """Return the operation that stacks n arrays of one shape along a new first axis."""

    def part(i: int) -> Callable[..., Any]:
        return lambda g, y, *parents: g[i]

    return Operation("stack", lambda *arrays: np.stack(arrays), tuple(part(i) for i in range(n)))
