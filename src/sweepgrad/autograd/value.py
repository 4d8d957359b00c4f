"""Reverse-mode automatic differentiation over NumPy arrays.

A `Value` is an array that knows the operation and the parents it was computed from. An `Operation` holds a
forward rule and the local gradient for each parent. Local gradients are themselves written with `Value`s, so
a gradient is a graph too: it can be differentiated again, which gives Hessian-vector products.

The method is reverse accumulation: Griewank & Walther, "Evaluating Derivatives", 2nd ed. (2008), chapter 3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import Any, Literal, Union

import numpy as np
from numpy.typing import ArrayLike

from sweepgrad.autograd import operations as ops
from sweepgrad.autograd.arrays import Array as Array
from sweepgrad.autograd.arrays import DomainError as DomainError
from sweepgrad.autograd.arrays import ShapeError as ShapeError
from sweepgrad.autograd.arrays import real, real_of_shape, short
from sweepgrad.autograd.operations import Operation as Operation
from sweepgrad.messages.escape import markup

ValueLike = Union["Value", ArrayLike, Sequence[Any]]
"""Anything that makes a `Value`: a `Value`, numbers, an array, or a nested list of these."""


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Value, ValueLike], Any]:
    """Return a method that compares data: a bool for scalars, else an array of bools."""

    def method(self: Value, other: Any) -> Any:
        if isinstance(other, Value):
            other = other._data
        elif not isinstance(other, int | float):  # plain numbers take the dtype of the array
            other = np.asarray(other)
            if other.dtype.kind not in "biuf":
                return NotImplemented
        try:
            result = compare(self._data, other)
        except ValueError:
            shapes = f"{self.shape} and {np.shape(other)}"
            raise ShapeError(f"cannot compare shapes {shapes}{_labels(self)}") from None
        return bool(result) if result.ndim == 0 else result

    return method


class Value:
    """An array with a record of how it was computed, so that it can be differentiated; a scalar is 0-d.

    `<`, `<=`, `>` and `>=` compare the data: a bool for scalars, an array of bools otherwise. `==` compares
    identity, as for any Python object, so `Value`s can be keys of a dict; compare data by `a.data == b.data`.

    Arguments:
        data: anything that NumPy makes an array of real numbers of; floating dtypes are kept, others become
            float64. A floating array is kept, not copied, so `x.data -= step` changes it. A list may hold
            `Value`s, nested and mixed with numbers: gradients flow into them, and numbers take the dtype of
            the `Value`s.
        label: a name, shown in errors and pictures.

    Attributes:
        data: the array. It can be set to another of the same shape (`x.data = 3.0`), which is checked like
            the argument, copied, and takes the dtype of the old one. Results computed before are not updated.
        grad: what `backward` has added up here; zeros before. It can be set like `data`, or to None.
        parents: the `Value`s that it was computed from; empty for a leaf.
        operation: the `Operation` that computed it; None for a leaf.
        settings: the other arguments of the operation, such as an axis.

    Raises:
        DomainError: `data` or `grad` has a NaN.
        ShapeError: a list is ragged; new data or a new `grad` have another shape.
        TypeError: `data` or `grad` are not real numbers.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> loss = (Value([a, b, 1.0]) ** 2).sum()
    >>> loss.backward()
    >>> print(f"{loss:.1f}", a, b)
    14.0 Value(2., grad=4.) Value(-3., grad=-6.)
    """

    __slots__ = ("_data", "_grad", "label", "operation", "parents", "settings")
    __array_ufunc__ = None  # so that `array * value` calls Value.__rmul__ instead of multiplying by element

    label: str
    parents: tuple[Value, ...]
    operation: Operation | None
    settings: dict[str, Any]

    def __init__(self, data: ValueLike, label: str = "") -> None:
        self.label = label
        self._grad: Array | None = None
        self.parents, self.operation, self.settings = (), None, {}
        if type(data) is not np.ndarray and holds_values(data):
            stacked = _stacked(data, _dtype_of_values(data))
            self._data: Array = stacked._data
            self.parents, self.operation, self.settings = stacked.parents, stacked.operation, stacked.settings
        else:
            self._data = real(data, label)

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, data: ArrayLike) -> None:
        array = self._numbers("data", data)
        if array is not self._data:  # as it is after `x.data -= step`
            self._data = array.astype(self._data.dtype)

    @property
    def grad(self) -> Array:
        """The sum of the gradients that `backward` has added; zeros before, which can be changed in place."""
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        return self._grad

    @grad.setter
    def grad(self, grad: ArrayLike | None) -> None:
        self._grad = None if grad is None else self._numbers("grad", grad).astype(self._data.dtype)

    def _numbers(self, name: str, given: Any) -> Array:
        """Return new data or a new gradient, checked; one number stands for a whole gradient."""
        if holds_values(given):
            raise TypeError(f"{name} must be numbers, not a Value: use .data")
        return real_of_shape(given, self.shape, self.label, name, broadcast=name == "grad")

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._data.dtype

    def item(self) -> float:
        """Return the number in a `Value` of one element."""
        return float(self._data.item())

    def __float__(self) -> float:
        return self.item()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"a Value of shape {self.shape} is neither true nor false; use .data.all()")
        return bool(self._data.item())

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self.size != 1:
            raise TypeError(
                f"format {spec!r} needs a Value of one element, not shape {self.shape}; format elements of"
                " .data"
            )
        return format(self.item(), spec)

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label else ""
        operation = f", operation={self.operation.name!r}" if self.operation else ""
        grad = "" if self._grad is None else f", grad={short(self._grad)}"
        return f"Value({short(self._data)}{label}{operation}{grad})"

    def _repr_html_(self) -> str:
        rows = {
            "label": self.label,
            "operation": self.operation.name if self.operation else "",
            "shape": f"{self.shape} {self.dtype}" if self.shape else "",
            "data": short(self._data),
            "grad": "" if self._grad is None else short(self._grad),
        }
        cells = [f"<tr><th>{name}</th><td>{markup(text)}</td></tr>" for name, text in rows.items() if text]
        return f"<table><caption>Value</caption>{''.join(cells)}</table>"

    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)

    # Arithmetic

    def __add__(self, other: ValueLike) -> Value:
        return _apply(ops.ADD, self, self.operand(other))

    def __radd__(self, other: ValueLike) -> Value:
        return self.operand(other) + self

    def __sub__(self, other: ValueLike) -> Value:
        return _apply(ops.SUBTRACT, self, self.operand(other))

    def __rsub__(self, other: ValueLike) -> Value:
        return self.operand(other) - self

    def __mul__(self, other: ValueLike) -> Value:
        return _apply(ops.MULTIPLY, self, self.operand(other))

    def __rmul__(self, other: ValueLike) -> Value:
        return self.operand(other) * self

    def __truediv__(self, other: ValueLike) -> Value:
        return _apply(ops.DIVIDE, self, self.operand(other))

    def __rtruediv__(self, other: ValueLike) -> Value:
        return self.operand(other) / self

    def __neg__(self) -> Value:
        return _apply(ops.NEGATE, self)

    def __pow__(self, exponent: ValueLike) -> Value:
        """Raise to a power; where the exponent is a `Value`, the base must be positive."""
        if isinstance(exponent, Value):
            return (exponent * self.log()).exp()
        return _apply(ops.POWER, self, exponent=as_value(exponent).data.astype(self.data.dtype))

    def __rpow__(self, base: ValueLike) -> Value:
        return as_value(base) ** self

    def __matmul__(self, other: ValueLike) -> Value:
        """Multiply matrices: (N, K) @ (K, M) is (N, M); a vector is a row on the left, else a column."""
        a, b = self, as_value(other)
        if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
            raise ShapeError(f"@ needs vectors or matrices, not shapes {a.shape} and {b.shape}")
        if a.shape[-1] != b.shape[0]:
            raise ShapeError(f"@ needs (N, K) @ (K, M), not {a.shape} @ {b.shape}{_labels(a, b)}")
        shape = a.shape[:-1] + b.shape[1:]
        row, column = a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b
        product = _apply(ops.MATMUL, row, column)
        return product if product.shape == shape else product.reshape(*shape)

    def __rmatmul__(self, other: ValueLike) -> Value:
        return as_value(other) @ self

    def operand(self, other: ValueLike) -> Value:
        """Return the other operand as a `Value`; a plain number takes the dtype of this one, as in NumPy."""
        plain = isinstance(other, (int, float))
        return Value(np.asarray(other, dtype=self.data.dtype)) if plain else as_value(other)

    # Functions of each element

    def exp(self) -> Value:
        return _apply(ops.EXP, self)

    def log(self) -> Value:
        return _apply(ops.LOG, self)

    def relu(self) -> Value:
        """Return max(x, 0); its derivative at 0 is taken as 0."""
        return _apply(ops.RELU, self)

    def step(self) -> Value:
        """Return 1 where x > 0, else 0: the derivative of `relu`."""
        return _apply(ops.STEP, self)

    def tanh(self) -> Value:
        return _apply(ops.TANH, self)

    def sigmoid(self) -> Value:
        """Return 1 / (1 + exp(-x)), without overflow."""
        return _apply(ops.SIGMOID, self)

    def softplus(self) -> Value:
        """Return log(1 + exp(x)), without overflow."""
        return _apply(ops.SOFTPLUS, self)

    # Shape

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _apply(ops.SUM, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        total = self.sum(axis=axis, keepdims=keepdims)
        return total / (self.size // max(total.size, 1))

    def reshape(self, *shape: int | tuple[int, ...]) -> Value:
        """Return the same elements in another shape, given as numbers or as one tuple."""
        return _apply(ops.RESHAPE, self, shape=shape[0] if shape and isinstance(shape[0], tuple) else shape)

    def broadcast_to(self, shape: tuple[int, ...]) -> Value:
        return _apply(ops.BROADCAST, self, shape=shape)

    @property
    def T(self) -> Value:
        """The axes in reverse order."""
        return _apply(ops.TRANSPOSE, self)

    def __getitem__(self, index: Any) -> Value:
        return _apply(ops.INDEX, self, index=index)

    def scatter(self, index: Any, shape: tuple[int, ...]) -> Value:
        """Return zeros of `shape` with these elements added at `index`: the gradient of indexing."""
        return _apply(ops.SCATTER, self, index=index, shape=shape)

    # Differentiation

    def backward(self) -> None:
        """Add the gradient of this scalar to `grad` of itself and every `Value` that it was computed from.

        Gradients add up over calls, as in PyTorch: call `zero_grad` before the next step, or use `gradient`,
        which leaves `grad` alone.

        Raises:
            ShapeError: this is not a scalar.
        """
        order = graph(self)
        gradients = _accumulate(self, order, frozenset(order))
        for node, gradient in gradients.items():
            node._grad = gradient._data.copy() if node._grad is None else node._grad + gradient._data

    def zero_grad(self) -> None:
        """Clear `grad` of this and of every `Value` that it was computed from: what `backward` adds to."""
        for node in graph(self):
            node._grad = None


_ON_INVALID: ContextVar[Literal["raise", "ignore"]] = ContextVar("on_invalid", default="raise")


@contextmanager
def shapes_only() -> Iterator[None]:
    """Allow operations to give NaN and infinity, for recording a step whose numbers do not matter."""
    token = _ON_INVALID.set("ignore")
    try:
        yield
    finally:
        _ON_INVALID.reset(token)


def as_value(x: ValueLike) -> Value:
    """Return `x` itself if it is a `Value`, else a `Value` of it."""
    return x if isinstance(x, Value) else Value(x)


def graph(*outputs: Value) -> list[Value]:
    """Return the outputs and all `Value`s they were computed from: parents before children, each once.

    A stack replaces recursion, because graphs of long computations are deeper than Python's recursion limit.
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
    """Return the gradients of the scalar `output` with respect to `inputs`, as `Value`s of their shapes.

    They are graphs, so they can be differentiated again: for a loss L of w and a vector v,
    `g, = gradient(L, [w]); Hv, = gradient((g * v).sum(), [w])` is a Hessian-vector product (Pearlmutter,
    "Fast exact multiplication by the Hessian", Neural Computation 1994). An input that does not influence
    the output has a gradient of zeros. `grad` of the inputs is not changed.

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
    """Join vectors to one vector."""
    return reduce(lambda a, b: _apply(ops.CONCATENATE, a, b), values)


def mask(probability: Value | float, key: int, shape: tuple[int, ...]) -> Value:
    """Return zeros with `probability`, drawn with `key` (see `rng.key`), and 1 / (1 - probability) elsewhere.

    Its gradient with respect to the probability is taken as 0.
    """
    return _apply(ops.MASK, as_value(probability), key=key, shape=shape)


def _accumulate(
    output: Value, order: list[Value], needed: set[Value] | frozenset[Value]
) -> dict[Value, Value]:
    """Apply the chain rule from the output back: each node adds its share to the parents that need it."""
    if output.shape != ():
        raise ShapeError(f"only a scalar has a gradient, not shape {output.shape}; use .sum() or .mean()")
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
    """Return what a node with this gradient adds to that of its parent at `place`; None if always zero.

    With a gradient of 1 it is the local partial derivative.
    """
    assert node.operation is not None
    local = node.operation.gradients[place]
    if local is None:
        return None
    return _undo_broadcast(local(gradient, node, *node.parents, **node.settings), node.parents[place].shape)


def _undo_broadcast(gradient: Value, shape: tuple[int, ...]) -> Value:
    """Sum `gradient` over the axes along which a parent of `shape` was broadcast."""
    if gradient.shape == shape:
        return gradient
    if gradient.ndim > len(shape):
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    if repeated:
        gradient = gradient.sum(axis=repeated, keepdims=True)
    return gradient


def _apply(operation: Operation, *parents: Value, **settings: Any) -> Value:
    """Compute an operation, and record it in the result.

    An invalid result raises here, where it arises, and not three layers later. Overflow to infinity passes,
    since 1 / (1 + exp(800)) is correctly 0.
    """
    try:
        with np.errstate(divide=_ON_INVALID.get(), invalid=_ON_INVALID.get(), over="ignore", under="ignore"):
            data = operation.forward(*[parent._data for parent in parents], **settings)
    except FloatingPointError as error:
        raise DomainError(f"{operation.name}: {error}{_labels(*parents)}{_extremes(*parents)}") from None
    except ValueError as error:
        shapes = " and ".join(str(parent.shape) for parent in parents)
        raise ShapeError(f"{operation.name}: {error} (shapes {shapes}{_labels(*parents)})") from None
    result = Value.__new__(Value)
    result._data = np.asarray(data)
    result.label = ""
    result.parents, result.operation, result.settings = parents, operation, settings
    result._grad = None
    return result


def holds_values(data: Any) -> bool:
    """Return whether `data` is a `Value` or a list that holds one at any depth."""
    if isinstance(data, list | tuple):
        return any(holds_values(x) for x in data)
    return isinstance(data, Value)


def _dtype_of_values(data: Any) -> np.dtype[Any]:
    """Return the common dtype of the `Value`s in a nested list."""
    if isinstance(data, Value):
        return data.dtype
    return np.result_type(*(_dtype_of_values(x) for x in data if holds_values(x)))


def _stacked(data: Any, dtype: np.dtype[Any]) -> Value:
    """Return a nested list of `Value`s and numbers as one `Value` with these as parents."""
    if isinstance(data, Value):
        return _apply(ops.RESHAPE, data, shape=data.shape)
    if not holds_values(data):
        array = real(data, "")
        floating = np.asarray(data).dtype.kind == "f" and not isinstance(data, float | list | tuple)
        return Value(array if floating else array.astype(dtype))
    parents = [x if isinstance(x, Value) else _stacked(x, dtype) for x in data]
    return _apply(ops.stack_of(len(parents)), *parents)


def _labels(*values: Value) -> str:
    labels = [repr(value.label) for value in values if value.label]
    return f" in {', '.join(labels)}" if labels else ""


def _extremes(*values: Value) -> str:
    return "".join(f", values from {v._data.min():g} to {v._data.max():g}" for v in values if v.size)
