"""The tape: one training step as a flat list of instructions over one buffer of numbers.

`recorder` makes tapes from graphs of `Value`s; `native` and `reference` replay them.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
DType = type[np.float64] | type[np.float32]


class Code(IntEnum):
    """Instructions. o is the result, a to d are operands, n, m and k are sizes.

    Elementwise operands are broadcast as in NumPy; see `graph.spread`.
    """

    # Rows of the table, in the order of the epoch
    FEATURES = 0  # o (n, m): feature i of the m rows of the batch
    TARGETS = 1  # o (n, m): target i of the m rows of the batch
    # One operand, n numbers
    COPY = 2
    NEGATE = 3
    EXP = 4
    LOG = 5
    SQRT = 6
    RELU = 7
    STEP = 8
    TANH = 9
    SIGMOID = 10
    SOFTPLUS = 11
    # Two operands, n rows of m numbers
    ADD = 12
    SUBTRACT = 13
    MULTIPLY = 14
    DIVIDE = 15
    POWER = 16
    # Three operands, n numbers
    MULTIPLY_ADD = 17  # c + a * b
    MULTIPLY_SUBTRACT = 18  # c - a * b
    # Gradients: a is the gradient of the result, b the result itself, c a dropout probability
    RELU_GRADIENT = 19
    DROPPED_RELU_GRADIENT = 20
    TANH_GRADIENT = 21
    SIGMOID_GRADIENT = 22
    # Moving numbers
    TAKE = 23  # o[i] = a[table[i]] for n numbers
    SCATTER = 24  # zeros of size m, then o[table[i]] += a[i] for n numbers
    SUM = 25  # o (n, k) = a (n, m, k) summed over m
    # Dropout
    MASK = 26  # n numbers: 0 with probability a, else 1 / (1 - a)
    # Matrices
    MATMUL = 27  # o (n, m) = a (n, k) @ b (k, m), either transposed; then the gradient of an activation
    LAYER = 28  # o (n, m) = dropout(activation(a @ b + c)), with c (n, 1) and d the probability
    # Divergence
    FINITE = 29  # stop if one of n numbers is not finite


# The fields of an encoded instruction. x, y and z depend on the code:
#   elementwise  x: which operands have columns and rows (`graph.spread`)
#   TAKE, SCATTER  x: the start of the positions in the tape's tables
#   MATMUL  x, y: which operand is stored transposed; z: the gradient of an activation
#   LAYER  x: whether a is stored transposed; y: an activation; z: the number of the mask, or -1
#   MASK  z: the number of the mask
FIELDS = ("code", "o", "a", "b", "c", "d", "n", "m", "k", "x", "y", "z")

# Activations that are fused with their layer; others are recorded as the operations they are made of.
FUSED = ("relu", "tanh", "sigmoid")
# Instructions hold positions in this tuple; the last occurs in gradients only.
ACTIVATIONS = ("", *FUSED, "dropped_relu")


@dataclass(frozen=True)
class Slot:
    """A place in the buffer, and the shape of the array there, in C order."""

    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)

    def of(self, buffer: Array) -> Array:
        """Return the array as a view of the buffer."""
        return buffer[self.start : self.start + self.size].reshape(self.shape)


@dataclass(frozen=True)
class Instruction:
    """One line of the tape.

    Attributes:
        numbers: the encoded instruction, see FIELDS.
        text: a formula with the names of the result and the operands.
        shape: of the result.
    """

    numbers: tuple[int, ...]
    text: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tape:
    """A recorded step.

    Attributes:
        instructions: in the order of execution.
        program: the encoded instructions, (instructions, fields), int64.
        tables: the positions that TAKE and SCATTER use, int64.
        length: of the buffer, in numbers of `dtype`.
        inputs: the places of the inputs, by label; the scalars come first.
        n_scalars: this many numbers at the start of the buffer are set at each step.
        constants: the places and numbers of the constants.
        collected: the positions of the numbers that are collected at each step.
        rows: the number of rows in a batch.
        dtype: float64 or float32.
    """

    instructions: tuple[Instruction, ...]
    program: NDArray[np.int64]
    tables: NDArray[np.int64]
    length: int
    inputs: dict[str, Slot]
    n_scalars: int
    constants: tuple[tuple[Slot, Array], ...]
    collected: NDArray[np.int64]
    rows: int
    dtype: DType

    def __str__(self) -> str:
        """Return a line for each instruction: the result's name, its shape and its formula."""
        width = max((len(i.text.partition(" = ")[0]) for i in self.instructions), default=0)
        lines = []
        for number, instruction in enumerate(self.instructions):
            name, equals, rest = instruction.text.partition(" = ")
            shape = "×".join(map(str, instruction.shape)) if equals else ""
            lines.append(f"{number:3}  {name if equals else '':{width}}  {shape:>9}  {rest or name}")
        return "\n".join(lines)
