"""Allocation of places in the buffer, and encoding of the instructions with those places.

Inputs and constants keep their places. Any other place is free again after its last reader. An updated weight
overwrites the old one if nothing reads that later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from sweepgrad.engine.graph import BINARY, UNARY, Node, spread
from sweepgrad.engine.rewrite import Graph
from sweepgrad.engine.tape import ACTIVATIONS, FIELDS, Code, DType, Instruction, Slot, Tape

ALIGN = 16  # numbers: a vector that crosses a cache line costs two loads
NO_WORK = ("input", "constant", "view", "concatenate")
# These may overwrite operand b or c: they read it at the same position just before.
IN_PLACE = ("multiply_add", "multiply_subtract")


@dataclass(frozen=True)
class Step:
    """The inputs and outputs of a step, as nodes.

    Attributes:
        scalars: inputs that are set at each step.
        carried: pairs of an input and the node that replaces it for the next step.
        fixed: inputs that stay the same.
        finite: the step stops where one of these holds a number that is not finite.
        collected: scalars that are returned for each step.
        mask_keys: the keys of the dropout masks; a mask's number is the position of its key.
        names: the names of nodes in the tape's text.
        rows: the number of rows in a batch.
    """

    scalars: Sequence[Node]
    carried: Sequence[tuple[Node, Node]]
    fixed: Sequence[Node]
    finite: Sequence[Node]
    collected: Sequence[Node]
    mask_keys: Sequence[int]
    names: Mapping[Node, str]
    rows: int


class Layout:
    """Allocates places in the buffer, then writes the tape."""

    def __init__(self, step: Step, dtype: DType) -> None:
        self.step, self.dtype = step, dtype
        self.inputs = [*step.scalars, *(old for old, _ in step.carried), *step.fixed]
        # A carried array is copied before it is overwritten, if its old numbers are needed afterwards.
        overwritten = {old for old, new in step.carried if new is not old}
        news = [n if n is o else _kept(n, overwritten) for o, n in step.carried]
        self.collected = [_kept(node, overwritten) for node in step.collected]
        copies = [node for node in (*news, *self.collected) if node.operation == "copy"]
        self.within: dict[Node, tuple[Node, int]] = {}
        graph = Graph.from_outputs([*step.finite, *copies, *news, *self.collected])
        self.constants = [node for node in graph.order if node.operation == "constant"]
        self.lines = self._lines(graph)
        for old, new in zip((old for old, _ in step.carried), news, strict=True):
            if new is not old and not self._update_in_place(old, new):
                copy = Node("copy", (new,), new.shape)
                self.within[copy] = (old, 0)
                self.lines.append(copy)
        self.starts: dict[Node, int] = {}
        self.length = self._allocate()
        self.names = dict(step.names)
        # A reshaped view has the name of the view.
        self.parts = {(*self._root(node), node.size): name for node, name in step.names.items()}
        self.tables: list[int] = []
        self.numbers = count()

    def tape(self) -> Tape:
        instructions = tuple(self._write(node) for node in self.lines)
        return Tape(
            instructions=instructions,
            program=np.array([i.numbers for i in instructions], dtype=np.int64).reshape(-1, len(FIELDS)),
            tables=np.array(self.tables, dtype=np.int64),
            length=self.length,
            inputs={str(node.settings[0]): Slot(self.starts[node], node.shape) for node in self.inputs},
            n_scalars=len(self.step.scalars),
            constants=tuple(
                (Slot(self.starts[node], node.shape), node.value)
                for node in self.constants
                if node.value is not None
            ),
            collected=np.array([self._start(node) for node in self.collected], dtype=np.int64),
            rows=self.step.rows,
            dtype=self.dtype,
        )

    # Allocation

    def _lines(self, graph: Graph) -> list[Node]:
        """Return the nodes that need an instruction, in order.

        Parts of a concatenation are computed in their place in it where possible, and copied there elsewhere.
        """
        for node in graph.order:
            if node.operation == "concatenate":
                start = 0
                for operand in node.operands:
                    whole = operand
                    while whole.operation == "view" and whole.operands[0].size == operand.size:
                        whole = whole.operands[0]
                    if whole.operation not in NO_WORK and whole not in self.within:
                        self.within[whole] = (node, start)
                    start += operand.size
        lines: list[Node] = []
        for node in graph.order:
            if node.operation == "concatenate":
                start = 0
                for operand in node.operands:
                    if self._root(operand) != (node, start):
                        copy = Node("copy", (operand,), operand.shape)
                        self.within[copy] = (node, start)
                        lines.append(copy)
                    start += operand.size
            elif node.operation not in NO_WORK:
                lines.append(node)
            if node in self.step.finite:
                lines.append(Node("finite", (node,), ()))
        return lines

    def _root(self, node: Node) -> tuple[Node, int]:
        """Return the node whose place holds this one, and the position in it."""
        start = 0
        while True:
            if node.operation == "view":
                start += node.settings[0]
                node = node.operands[0]
            elif node in self.within:
                node, offset = self.within[node]
                start += offset
            else:
                return node, start

    def _update_in_place(self, old: Node, new: Node) -> bool:
        root, _ = self._root(new)
        if root.operation not in IN_PLACE or root.size != new.size:
            return False
        here = self.lines.index(root)
        for number, line in enumerate(self.lines):
            if (
                number > here and line.operation == "finite"
            ):  # a stopped step must leave the weights as they were
                return False
            reads = [operand for operand in line.operands if self._root(operand)[0] is old]
            same = line is root and all(x.size == root.size and x is not root.operands[0] for x in reads)
            if reads and number >= here and not same:
                return False
        self.within[root] = (old, 0)
        return True

    def _allocate(self) -> int:
        """Fill `starts`, and return the length of the buffer."""
        end = 0
        for node in (*self.inputs, *self.constants):
            self.starts[node] = end
            end += node.size if node in self.step.scalars[:-1] else _aligned(node.size)
        last: dict[Node, int] = {}
        for number, line in enumerate(self.lines):
            for node in (line, *line.operands):
                last[self._root(node)[0]] = number
        for node in self.collected:
            last[self._root(node)[0]] = len(self.lines)
        free: list[tuple[int, int]] = []  # (start, size), in order
        for number, line in enumerate(self.lines):
            root, _ = self._root(line)
            if root not in self.starts and line.operation != "finite":
                size = _aligned(root.size)
                fits = [gap for gap in free if gap[1] >= size]
                if fits:
                    start, room = min(fits, key=lambda gap: gap[1])
                    free.remove((start, room))
                    if room > size:
                        free.append((start + size, room - size))
                else:
                    start, end = end, end + size
                self.starts[root] = start
            done = {self._root(node)[0] for node in (line, *line.operands)}
            for node in done:
                permanent = node.operation in ("input", "constant")
                if last[node] == number and not permanent and node in self.starts:
                    free = _merged([*free, (self.starts[node], _aligned(node.size))])
        return end

    def _start(self, node: Node) -> int:
        root, start = self._root(node)
        return self.starts[root] + start

    # Encoding

    def _write(self, node: Node) -> Instruction:
        operation, operands, settings = node.operation, node.operands, node.settings
        names = [self._name(operand) for operand in operands]
        numbers = dict.fromkeys(FIELDS, 0)
        numbers["code"] = Code[operation.upper()]
        numbers["n"] = node.size
        numbers.update(zip("abcd", map(self._start, operands), strict=False))
        if operation != "finite":
            numbers["o"] = self._start(node)
        if operation in BINARY:
            divided = spread(node.shape, operands)
            assert divided is not None
            numbers["n"], numbers["m"], numbers["x"] = divided
            text = f" {_SIGNS[operation]} ".join(names)
        elif operation in IN_PLACE:
            a, b, c = operands
            numbers["x"] = (a.size == b.size) | (c.size == b.size) << 1
            text = f"{names[2]} {'+' if operation == 'multiply_add' else '-'} {names[0]} * {names[1]}"
        elif operation in ("features", "targets"):
            numbers["n"], numbers["m"] = node.shape
            text = f"{operation} of {node.shape[1]} rows"
        elif operation == "sum":
            numbers["n"], numbers["m"], numbers["k"] = settings[0]
            text = f"sum({names[0]} as {'×'.join(map(str, settings[0]))}, axis 1)"
        elif operation in ("take", "scatter"):
            numbers["x"] = self._table(settings[0])
            if operation == "scatter":
                numbers["n"], numbers["m"] = operands[0].size, node.size
            text = f"{operation}({names[0]}, {len(settings[0])} positions)"
        elif operation == "mask":
            numbers["z"] = self.step.mask_keys.index(settings[0])
            text = f"mask {numbers['z']} (p = {names[0]})"
        elif operation == "matmul":
            text = self._product(node, names, numbers)
            numbers["y"] = int(settings[1])
            if len(settings) > 2:
                numbers["z"] = ACTIVATIONS.index(settings[2])
                text += f", times the gradient of {settings[2].replace('_', ' ')} at {names[2]}"
        elif operation == "layer":
            text = self._product(node, names, numbers) + f" + {names[2]}"
            numbers["y"] = ACTIVATIONS.index(settings[1])
            numbers["z"] = self.step.mask_keys.index(settings[2]) if len(settings) > 2 else -1
            text = f"{settings[1]}({text})" if settings[1] else text
            text += f" * mask {numbers['z']} (p = {names[3]})" if len(settings) > 2 else ""
        elif operation == "finite":
            numbers["n"] = operands[0].size
            return Instruction(tuple(numbers.values()), f"stop unless {names[0]} is finite", ())
        else:
            assert operation in (*UNARY, "copy") or operation.endswith("_gradient"), operation
            text = f"{operation.replace('_', ' ')}({', '.join(names)})" if operation != "copy" else names[0]
        return Instruction(tuple(numbers.values()), f"{self._name(node)} = {text}", node.shape)

    def _product(self, node: Node, names: list[str], numbers: dict[str, int]) -> str:
        a = node.operands[0]
        ta, tb = node.settings[0], node.settings[1] is True
        numbers["n"], numbers["m"] = node.shape
        numbers["k"], numbers["x"] = a.shape[0 if ta else 1], int(ta)
        return f"{names[0]}{'ᵀ' if ta else ''} @ {names[1]}{'ᵀ' if tb else ''}"

    def _table(self, positions: tuple[int, ...]) -> int:
        self.tables.extend(positions)
        return len(self.tables) - len(positions)

    def _name(self, node: Node) -> str:
        if node not in self.names:
            root, start = self._root(node)
            if node.value is not None:
                self.names[node] = f"{node.value.item():g}" if node.size == 1 else f"constant {node.shape}"
            elif (root, start, node.size) in self.parts:
                self.names[node] = self.parts[root, start, node.size]
            elif root is not node and root.operation in ("input", "concatenate"):
                self.names[node] = f"{self._name(root)}[{start}:{start + node.size}]"
            elif node.operation == "view":
                self.names[node] = self._name(node.operands[0])
            else:
                self.names[node] = f"t{next(self.numbers)}"
        return self.names[node]


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}


def _kept(node: Node, overwritten: set[Node]) -> Node:
    """Return the node, or a copy of it if the step overwrites its place."""
    source = node.operands[0] if node.operation == "view" else node
    return Node("copy", (node,), node.shape) if source in overwritten else node


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _merged(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbouring gaps."""
    merged: list[tuple[int, int]] = []
    for start, size in sorted(gaps):
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + size)
        else:
            merged.append((start, size))
    return merged
