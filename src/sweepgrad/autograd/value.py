"""Reverse-mode automatic differentiation over NumPy arrays.

A `Value` is an array that remembers which operation made it from which parents. An `Operation` is a forward
rule with the local gradient for each parent beside it. The local gradients are themselves written with
`Value`s, so a gradient is again a graph, can be differentiated, and gives Hessian-vector products.

The method is reverse accumulation: Griewank & Walther, "Evaluating Derivatives", 2nd ed. (2008), chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from sweepgrad import rng

Array = NDArray[np.floating[Any]]


class DomainError(ArithmeticError):
    """An operation was asked for a number that does not exist, such as the logarithm of zero."""


class ShapeError(ValueError):
    """Arrays whose shapes do not fit together."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A forward rule and, for each parent, its local gradient.

    Arguments:
        name: as it appears in a graph or an error.
        forward: takes the parents' arrays and the settings; returns the result's array.
        gradients: one function a parent. It takes the gradient of the result, the result, the parents and
            the settings, all as `Value`s, and returns the gradient of that parent, before any broadcasting
            is undone. None stands for a derivative that is zero everywhere.
    """

    name: str
    forward: Callable[..., Any]
    gradients: tuple[Callable[..., Value] | None, ...]


class Value:
    """An array with a memory of how it was computed; a scalar is a 0-d array.

    Arguments:
        data: anything NumPy makes a real array of. Floating dtypes are kept, others become float64.
        label: a name for errors and pictures.

    Attributes:
        data: the array.
        parents: the `Value`s it was computed from; empty for a leaf.
        operation: the `Operation` that computed it; None for a leaf.
        settings: what the operation was told besides its parents, such as an axis.

    Raises:
        DomainError: `data` has a NaN.
        TypeError: `data` is not made of real numbers.
    """

    __slots__ = ("_grad", "data", "label", "operation", "parents", "settings")
    __array_ufunc__ = None  # so that `array * value` asks Value.__rmul__ rather than going element by element

    data: Array
    label: str
    parents: tuple[Value, ...]
    operation: Operation | None
    settings: dict[str, Any]

    def __init__(self, data: ArrayLike, label: str = "") -> None:
        array = np.asarray(data)
        if array.dtype.kind != "f":
            if array.dtype.kind not in "biu":
                raise TypeError(f"Value needs real numbers, not {type(data).__name__} of {array.dtype}")
            array = array.astype(np.float64)
        if np.isnan(array).any():
            raise DomainError(f"NaN in Value{f' {label!r}' if label else ''}")
        self.data, self.label = array, label
        self.parents, self.operation, self.settings = (), None, {}
        self._grad: Array | None = None

    # What it is

    @property
    def grad(self) -> Array:
        """The gradient that `backward` has left here, of the shape of `data`; zeros before."""
        return np.zeros_like(self.data) if self._grad is None else self._grad

    @grad.setter
    def grad(self, grad: ArrayLike) -> None:
        self._grad = np.broadcast_to(np.asarray(grad, dtype=self.data.dtype), self.shape).copy()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def item(self) -> float:
        """The number in a `Value` of one element."""
        return float(self.data.item())

    def __float__(self) -> float:
        return self.item()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = np.array2string(self.data, precision=6, threshold=8, separator=", ")
        label = f", label={self.label!r}" if self.label else ""
        operation = f", operation={self.operation.name!r}" if self.operation else ""
        return f"Value({text}{label}{operation})"

    # Arithmetic

    def __add__(self, other: Value | ArrayLike) -> Value:
        return _apply(ADD, self, self.operand(other))

    def __radd__(self, other: ArrayLike) -> Value:
        return self.operand(other) + self

    def __sub__(self, other: Value | ArrayLike) -> Value:
        return _apply(SUBTRACT, self, self.operand(other))

    def __rsub__(self, other: ArrayLike) -> Value:
        return self.operand(other) - self

    def __mul__(self, other: Value | ArrayLike) -> Value:
        return _apply(MULTIPLY, self, self.operand(other))

    def __rmul__(self, other: ArrayLike) -> Value:
        return self.operand(other) * self

    def __truediv__(self, other: Value | ArrayLike) -> Value:
        return _apply(DIVIDE, self, self.operand(other))

    def __rtruediv__(self, other: ArrayLike) -> Value:
        return self.operand(other) / self

    def __neg__(self) -> Value:
        return _apply(NEGATE, self)

    def __pow__(self, exponent: Value | ArrayLike) -> Value:
        """A constant exponent allows any base that has that power; a `Value` as exponent, positive bases."""
        if isinstance(exponent, Value):
            return (exponent * self.log()).exp()
        return _apply(POWER, self, exponent=as_value(exponent).data.astype(self.data.dtype))

    def __rpow__(self, base: ArrayLike) -> Value:
        return as_value(base) ** self

    def __matmul__(self, other: Value | ArrayLike) -> Value:
        """Matrix product. (N, K) @ (K, M) is (N, M); a vector on either side is a row or a column."""
        a, b = self, as_value(other)
        if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
            raise ShapeError(f"@ needs vectors or matrices, not shapes {a.shape} and {b.shape}")
        if a.shape[-1] != b.shape[0]:
            raise ShapeError(f"@ needs (N, K) @ (K, M), not {a.shape} @ {b.shape}{_labels(a, b)}")
        shape = a.shape[:-1] + b.shape[1:]
        row, column = a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b
        product = _apply(MATMUL, row, column)
        return product if product.shape == shape else product.reshape(*shape)

    def __rmatmul__(self, other: ArrayLike) -> Value:
        return as_value(other) @ self

    def operand(self, other: Value | ArrayLike) -> Value:
        """The other side of an operator with this; a plain number takes this side's dtype, as in NumPy."""
        plain = isinstance(other, (int, float))
        return Value(np.asarray(other, dtype=self.data.dtype)) if plain else as_value(other)

    # Functions of each element

    def exp(self) -> Value:
        return _apply(EXP, self)

    def log(self) -> Value:
        return _apply(LOG, self)

    def relu(self) -> Value:
        """max(x, 0); its derivative at 0 is taken as 0."""
        return _apply(RELU, self)

    def step(self) -> Value:
        """1 where x > 0, else 0: the derivative of `relu`."""
        return _apply(STEP, self)

    def tanh(self) -> Value:
        return _apply(TANH, self)

    def sigmoid(self) -> Value:
        """1 / (1 + exp(-x)), without overflow."""
        return _apply(SIGMOID, self)

    def softplus(self) -> Value:
        """log(1 + exp(x)), without overflow."""
        return _apply(SOFTPLUS, self)

    # Shape

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _apply(SUM, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        total = self.sum(axis=axis, keepdims=keepdims)
        return total / (self.size // max(total.size, 1))

    def reshape(self, *shape: int | tuple[int, ...]) -> Value:
        """The same elements in another shape, given as numbers or as one tuple."""
        return _apply(RESHAPE, self, shape=shape[0] if shape and isinstance(shape[0], tuple) else shape)

    def broadcast_to(self, shape: tuple[int, ...]) -> Value:
        return _apply(BROADCAST, self, shape=shape)

    @property
    def T(self) -> Value:
        """The axes in reverse order."""
        return _apply(TRANSPOSE, self)

    def __getitem__(self, index: Any) -> Value:
        return _apply(INDEX, self, index=index)

    def scatter(self, index: Any, shape: tuple[int, ...]) -> Value:
        """Zeros of `shape` with these elements added at `index`; what undoes indexing."""
        return _apply(SCATTER, self, index=index, shape=shape)

    # Differentiation

    def backward(self) -> None:
        """Add the gradient of this scalar to `grad` of every `Value` that it was computed from.

        Raises:
            ShapeError: this is not a scalar.
        """
        order = graph(self)
        gradients = _accumulate(self, order, frozenset(order))
        for node, gradient in gradients.items():
            node._grad = gradient.data.copy() if node._grad is None else node._grad + gradient.data


_ON_NO_NUMBER: ContextVar[Literal["raise", "ignore"]] = ContextVar("on_no_number", default="raise")


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within it, operations on numbers that do not exist pass: what is recorded is how, not on what."""
    token = _ON_NO_NUMBER.set("ignore")
    try:
        yield
    finally:
        _ON_NO_NUMBER.reset(token)


def as_value(x: Value | ArrayLike) -> Value:
    """`x` itself if it is a `Value`, else a leaf holding it."""
    return x if isinstance(x, Value) else Value(x)


def graph(*outputs: Value) -> list[Value]:
    """Everything the outputs were computed from, and themselves: parents before children, each once.

    It walks with a stack of its own, since the graphs of long computations are deeper than Python recurses.
    """
    order: list[Value] = []
    seen: set[Value] = set()
    stack: list[tuple[Value, bool]] = [(output, False) for output in reversed(outputs)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(node.parents))
    return order


def gradient(output: Value, inputs: Sequence[Value]) -> list[Value]:
    """The gradients of the scalar `output` with respect to `inputs`, as `Value`s of the inputs' shapes.

    They are graphs, so they can be differentiated again: for a loss L of w and a vector v,
    `g, = gradient(L, [w]); Hv, = gradient((g * v).sum(), [w])` is a Hessian-vector product (Pearlmutter,
    "Fast exact multiplication by the Hessian", Neural Computation 1994). An input that does not influence
    the output has a gradient of zeros.

    Raises:
        ShapeError: `output` is not a scalar.
    """
    order = graph(output)
    wanted = set(inputs)
    needed: set[Value] = set()
    for node in order:
        if node in wanted or any(parent in needed for parent in node.parents):
            needed.add(node)
    gradients = _accumulate(output, order, needed)
    return [gradients[x] if x in gradients else Value(np.zeros_like(x.data)) for x in inputs]


def concatenate(values: Sequence[Value]) -> Value:
    """Vectors one after another, as one vector."""
    return reduce(lambda a, b: _apply(CONCATENATE, a, b), values)


def mask(probability: Value | float, key: int, shape: tuple[int, ...]) -> Value:
    """Zeros with `probability`, drawn with `key` (see `rng.key`), and 1 / (1 - probability) elsewhere.

    Its gradient with respect to the probability is taken as 0.
    """
    return _apply(MASK, as_value(probability), key=key, shape=shape)


def _accumulate(
    output: Value, order: list[Value], needed: set[Value] | frozenset[Value]
) -> dict[Value, Value]:
    """The chain rule: from the output back, each node hands its gradient to the parents that need it."""
    if output.shape != ():
        raise ShapeError(f"only a scalar has a gradient, and this has shape {output.shape}: sum() it first")
    gradients = {output: Value(np.ones_like(output.data))}
    for node in reversed(order):
        if node.operation is None or node not in gradients:
            continue
        for place, parent in enumerate(node.parents):
            part = share(node, place, gradients[node]) if parent in needed else None
            if part is not None:
                gradients[parent] = gradients[parent] + part if parent in gradients else part
    return gradients


def share(node: Value, place: int, gradient: Value) -> Value | None:
    """What a node with this gradient hands to the parent at this place; None if nothing, wherever it is.

    With a gradient of 1 it is the local partial derivative.
    """
    assert node.operation is not None
    local = node.operation.gradients[place]
    if local is None:
        return None
    return _undo_broadcast(local(gradient, node, *node.parents, **node.settings), node.parents[place].shape)


def _undo_broadcast(gradient: Value, shape: tuple[int, ...]) -> Value:
    """Sum `gradient` over the axes along which a parent of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    if gradient.ndim > len(shape):
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    if repeated:
        gradient = gradient.sum(axis=repeated, keepdims=True)
    return gradient


def _apply(operation: Operation, *parents: Value, **settings: Any) -> Value:
    """The result of an operation, remembering where it came from.

    NumPy reads the processor's own flags here, so that a number that does not exist is named where it
    arises and not three layers later. Overflow to infinity passes: 1 / (1 + exp(800)) is rightly 0.
    """
    try:
        with np.errstate(
            divide=_ON_NO_NUMBER.get(), invalid=_ON_NO_NUMBER.get(), over="ignore", under="ignore"
        ):
            data = operation.forward(*[parent.data for parent in parents], **settings)
    except FloatingPointError as error:
        raise DomainError(f"{operation.name}: {error}{_labels(*parents)}{_extremes(*parents)}") from None
    except ValueError as error:
        shapes = " and ".join(str(parent.shape) for parent in parents)
        raise ShapeError(f"{operation.name}: {error} (shapes {shapes}{_labels(*parents)})") from None
    result = Value.__new__(Value)
    result.data = np.asarray(data)
    result.label = ""
    result.parents, result.operation, result.settings = parents, operation, settings
    result._grad = None
    return result


def _labels(*values: Value) -> str:
    labels = [repr(value.label) for value in values if value.label]
    return f" in {', '.join(labels)}" if labels else ""


def _extremes(*values: Value) -> str:
    return "".join(f", values from {v.data.min():g} to {v.data.max():g}" for v in values if v.size)


def _matmul(a: Array, b: Array) -> Array:
    product: Array
    try:
        product = np.matmul(a, b)
    except FloatingPointError:  # Apple's BLAS says so without cause (numpy/numpy#28687): look at the numbers
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
        raise ValueError("only vectors are concatenated")
    return np.concatenate([a, b])


def _mask(probability: Array, key: int, shape: tuple[int, ...]) -> Array:
    dropped = rng.words(key, prod(shape)).reshape(shape) < rng.threshold(float(probability))
    return np.where(dropped, 0, 1 / (1 - probability)).astype(probability.dtype)


def _spread(g: Value, a: Value, axis: int | tuple[int, ...] | None, keepdims: bool) -> Value:
    if axis is not None and not keepdims:
        axes = {i % a.ndim for i in ((axis,) if isinstance(axis, int) else axis)}
        g = g.reshape(*(1 if i in axes else n for i, n in enumerate(a.shape)))
    return g.broadcast_to(a.shape)


# The table of operations: the forward rule, then the local gradient for each parent,
# with g the gradient of the result y.

ADD = Operation("+", np.add, (lambda g, y, a, b: g, lambda g, y, a, b: g))
SUBTRACT = Operation("-", np.subtract, (lambda g, y, a, b: g, lambda g, y, a, b: -g))
MULTIPLY = Operation("*", np.multiply, (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a))
DIVIDE = Operation("/", np.divide, (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b))
NEGATE = Operation("neg", np.negative, (lambda g, y, a: -g,))
POWER = Operation(
    "**",
    lambda a, exponent: np.power(a, exponent),
    # The power 0 is constant; its slope is not to be had as 0 * a**-1, which does not exist at a = 0.
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
