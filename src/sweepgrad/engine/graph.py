"""The graph of a step that is being recorded, before allocation.

Building a node simplifies it at once: equal nodes are one node, constants are computed, and views, broadcasts
and transposes are kept until an instruction can absorb them.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweepgrad.engine.tape import Array, DType

Shape = tuple[int, ...]

UNARY = ("negate", "exp", "log", "sqrt", "relu", "step", "tanh", "sigmoid", "softplus")
BINARY = ("add", "subtract", "multiply", "divide", "power")


@dataclass(frozen=True, eq=False)
class Node:
    """An operation, its operands, and the shape of the result.

    Operations are the instructions, by their names in lower case, and:
        input: a place in the buffer that the caller fills.
        constant: `value`.
        view: the operand's numbers from `settings[0]` on, in this shape; no work.
        broadcast, transpose: work only where no instruction absorbs them.
        concatenate: the operands one after another, in one place.
    """

    operation: str
    operands: tuple["Node", ...]
    shape: Shape
    settings: tuple[Any, ...] = ()
    value: Array | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class Nodes:
    """Builds nodes; equal ones are the same object."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self.known: dict[tuple[Any, ...], Node] = {}

    def node(self, operation: str, operands: tuple[Node, ...], shape: Shape, *settings: Any) -> Node:
        key = (operation, operands, shape, settings)
        if key not in self.known:
            self.known[key] = Node(operation, operands, shape, settings)
        return self.known[key]

    def constant(self, value: Array) -> Node:
        value = np.asarray(value, dtype=self.dtype)
        same_sign = np.signbit(value).all() == np.signbit(value).any()  # 0 and -0 are equal
        if value.size > 1 and (value == value.flat[0]).all() and same_sign:
            return self.broadcast(self.constant(value.reshape(-1)[0:1].reshape(())), value.shape)
        key = ("constant", value.shape, value.tobytes())
        if key not in self.known:
            self.known[key] = Node("constant", (), value.shape, (), value)
        return self.known[key]

    def view(self, a: Node, start: int, shape: Shape) -> Node:
        if a.operation == "view":
            return self.view(a.operands[0], a.settings[0] + start, shape)
        if a.shape == shape:
            return a
        if a.operation == "constant":
            assert a.value is not None
            size = int(np.prod(shape, dtype=np.int64))
            return self.constant(a.value.reshape(-1)[start : start + size].reshape(shape))
        if a.operation == "broadcast" and a.operands[0].size == 1:
            return self.broadcast(a.operands[0], shape)
        return self.node("view", (a,), shape, start)

    def broadcast(self, a: Node, shape: Shape) -> Node:
        if a.operation == "broadcast":
            return self.broadcast(a.operands[0], shape)
        if a.shape == shape:
            return a
        a = self.plain(a)
        if a.size == int(np.prod(shape, dtype=np.int64)):
            return self.view(a, 0, shape)
        return self.node("broadcast", (a,), shape)

    def transpose(self, a: Node) -> Node:
        shape = a.shape[::-1]
        if a.operation == "transpose":
            return a.operands[0]
        if _is_vector(a):
            return self.view(a, 0, shape)
        if a.operation == "broadcast" and a.operands[0].size == 1:
            return self.broadcast(a.operands[0], shape)
        if a.operation == "matmul":  # (a @ b)ᵀ = bᵀ @ aᵀ, if either is transposed or a transpose is free
            (left, right), (ta, tb) = a.operands, a.settings
            if ta or tb:
                return self.matmul(right, left, not tb, not ta)
            if _is_vector(left) and _is_vector(right):
                return self.matmul(self.transpose(right), self.transpose(left), False, False)
        return self.node("transpose", (a,), shape)

    def take(self, a: Node, table: Any) -> Node:
        """Return the operand's numbers at the flat positions in `table`, in its shape."""
        positions = table.reshape(-1)
        if positions.size and np.array_equal(
            positions, np.arange(positions[0], positions[0] + positions.size)
        ):
            return self.view(a, int(positions[0]), table.shape)
        return self.node("take", (a,), table.shape, tuple(positions.tolist()))

    def concatenate(self, a: Node, b: Node) -> Node:
        parts = a.operands if a.operation == "concatenate" else (self.stored(a),)
        return self.node("concatenate", (*parts, self.stored(b)), (a.size + b.size,))

    def matmul(self, a: Node, b: Node, ta: bool, tb: bool) -> Node:
        if a.operation == "transpose":
            return self.matmul(a.operands[0], b, not ta, tb)
        if b.operation == "transpose":
            return self.matmul(a, b.operands[0], ta, not tb)
        if ta and tb:
            return self.transpose(self.matmul(b, a, False, False))
        shape = (a.shape[1 if ta else 0], b.shape[0 if tb else 1])
        return self.node("matmul", (self.stored(a), self.stored(b)), shape, ta, tb)

    def elementwise(self, operation: str, *operands: Node) -> Node:
        """Return an elementwise operation; broadcast operands are computed before they are broadcast."""
        shape = np.broadcast_shapes(*(x.shape for x in operands))
        sources = tuple(x.operands[0] if x.operation == "broadcast" else self.plain(x) for x in operands)
        small = np.broadcast_shapes(*(x.shape for x in sources))
        if operation == "multiply":
            for one, other in (sources, sources[::-1]):
                if one.value is not None and one.size == 1 and one.value.item() == 1:
                    return self.broadcast(other, shape)
        if operation == "divide" and sources[1].value is not None and sources[1].size == 1:
            with np.errstate(all="ignore"):
                inverse = np.reciprocal(sources[1].value)
            if np.finfo(self.dtype).tiny <= abs(inverse) < np.inf:
                operation, sources = "multiply", (sources[0], self.constant(inverse))
        for i in reversed(range(len(sources))):
            if spread(small, sources) is None:  # such as a broadcast along a middle axis
                stored = self.stored(self.broadcast(sources[i], small))
                sources = (*sources[:i], stored, *sources[i + 1 :])
        return self.broadcast(self.node(operation, sources, small), shape)

    def plain(self, a: Node) -> Node:
        return self.stored(a) if a.operation == "transpose" else a

    def stored(self, a: Node) -> Node:
        """Return the node with its numbers in C order, moved if necessary."""
        if a.operation not in ("broadcast", "transpose"):
            return a
        (source,) = a.operands
        positions = np.arange(source.size).reshape(source.shape)
        moved = positions.T if a.operation == "transpose" else np.broadcast_to(positions, a.shape)
        return self.node("take", (self.stored(source),), a.shape, tuple(moved.reshape(-1).tolist()))


def _is_vector(a: Node) -> bool:
    """Return whether at most one axis is longer than 1, so that a transpose moves nothing."""
    return sum(n > 1 for n in a.shape) <= 1


def spread(shape: Shape, operands: tuple[Node, ...]) -> tuple[int, int, int] | None:
    """Return rows and columns of the result, and which of them each operand has (four bits).

    Each operand has all rows or one, and all columns or one. Bit 0: the first operand has columns; bit 1: it
    has rows; bits 2 and 3: the same for the second. None if the shape cannot be divided like that.
    """
    padded = [(1,) * (len(shape) - len(x.shape)) + x.shape for x in operands]
    for middle in range(len(shape) + 1):
        has = [(_runs(own[middle:], shape[middle:]), _runs(own[:middle], shape[:middle])) for own in padded]
        bits = [bit for columns_and_rows in has for bit in columns_and_rows]
        if None not in bits:
            rows, columns = (int(np.prod(part, dtype=np.int64)) for part in (shape[:middle], shape[middle:]))
            return rows, columns, sum(bool(bit) << i for i, bit in enumerate(bits))
    return None


def _runs(own: Shape, whole: Shape) -> bool | None:
    """Return whether an operand has these axes of the result or is broadcast; None if it has some."""
    if all(n == 1 for n in own):
        return False
    return True if own == whole else None
