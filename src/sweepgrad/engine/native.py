"""The native engine: one compiled function that replays any tape for many steps, without the GIL.

It is compiled once for each dtype and kept in the user's cache, under a digest of all that the compiled code
depends on. Nothing is compiled for an architecture.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sweepgrad.engine import functions, loops
from sweepgrad.engine.blas import keep_to_one_thread
from sweepgrad.engine.compile_cache import compiled
from sweepgrad.engine.loops import GOLDEN, mix
from sweepgrad.engine.products import matmul
from sweepgrad.engine.tape import Array, Code, DType, Tape

# fmt: off
(FEATURES, TARGETS, COPY, NEGATE, EXP, LOG, SQRT, RELU, STEP, TANH, SIGMOID, SOFTPLUS, ADD, SUBTRACT,
 MULTIPLY, DIVIDE, POWER, MULTIPLY_ADD, MULTIPLY_SUBTRACT, RELU_GRADIENT, DROPPED_RELU_GRADIENT,
 TANH_GRADIENT, SIGMOID_GRADIENT, TAKE, SCATTER, SUM, MASK, MATMUL, LAYER, FINITE) = map(int, Code)
# fmt: on

# The size of the second-level cache, in numbers: smaller tables need no prefetching.
IN_CACHE = 1 << 17


def _interpret(
    program: Any,
    tables: Any,
    buffer: Any,
    features: Any,
    targets: Any,
    order: Any,
    rows: int,
    scalars: Any,
    key: Any,
    first: int,
    slots: Any,
    collected: Any,
) -> int:
    """Replay a tape once for every row of `scalars`, and return the number of steps done.

    It is smaller than the number of rows if a number was not finite. The buffer then has the carried arrays
    from before the stopped step.
    """
    for step in range(len(scalars)):
        for i in range(scalars.shape[1]):
            buffer[i] = scalars[step, i]
        step_key = mix(key + np.uint64(first + step + 1) * GOLDEN)
        for line in range(len(program)):
            code, o, a, b = program[line, 0], program[line, 1], program[line, 2], program[line, 3]
            c, d, n, m = program[line, 4], program[line, 5], program[line, 6], program[line, 7]
            k, x, y, z = program[line, 8], program[line, 9], program[line, 10], program[line, 11]
            if code == LAYER:
                matmul(buffer, o, a, b, n, m, k, x, 0)
                loops.activate(buffer, o, c, n, m, y)
                if z >= 0:
                    loops.drop(buffer, o, n * m, buffer[d], mix(step_key + np.uint64(z + 1) * GOLDEN))
            elif code == MATMUL:
                matmul(buffer, o, a, b, n, m, k, x, y)
                if z == 1:
                    loops.pairs_in_place(functions.relu_gradient, buffer, o, c, n * m)
                elif z == 2:
                    loops.pairs_in_place(functions.tanh_gradient, buffer, o, c, n * m)
                elif z == 3:
                    loops.pairs_in_place(functions.sigmoid_gradient, buffer, o, c, n * m)
                elif z == 4:
                    loops.dropped_relu_gradient(buffer, o, o, c, buffer[d], n * m)
            elif code == FEATURES:
                if features.size > IN_CACHE:
                    loops.fetch_ahead(features, order, (step + 1) * rows, n, m)
                loops.gather(buffer, o, features, order, step * rows, n, m)
            elif code == TARGETS:
                if targets.size > IN_CACHE:
                    loops.fetch_ahead(targets, order, (step + 1) * rows, n, m)
                loops.gather(buffer, o, targets, order, step * rows, n, m)
            elif code == FINITE:
                if not loops.all_finite(buffer, a, n):
                    return step
            elif code == ADD:
                loops.binary(functions.add, buffer, o, a, b, n, m, x)
            elif code == SUBTRACT:
                loops.binary(functions.subtract, buffer, o, a, b, n, m, x)
            elif code == MULTIPLY:
                loops.binary(functions.multiply, buffer, o, a, b, n, m, x)
            elif code == DIVIDE:
                loops.binary(functions.divide, buffer, o, a, b, n, m, x)
            elif code == POWER:
                loops.binary(functions.power, buffer, o, a, b, n, m, x)
            elif code == COPY:
                loops.unary(functions.copy, buffer, o, a, n)
            elif code == NEGATE:
                loops.unary(functions.negate, buffer, o, a, n)
            elif code == EXP:
                loops.unary(functions.exponential, buffer, o, a, n)
            elif code == LOG:
                loops.unary(functions.log, buffer, o, a, n)
            elif code == SQRT:
                loops.unary(functions.sqrt, buffer, o, a, n)
            elif code == RELU:
                loops.unary(functions.relu, buffer, o, a, n)
            elif code == STEP:
                loops.unary(functions.step, buffer, o, a, n)
            elif code == TANH:
                loops.unary(functions.tanh, buffer, o, a, n)
            elif code == SIGMOID:
                loops.unary(functions.sigmoid, buffer, o, a, n)
            elif code == SOFTPLUS:
                loops.unary(functions.softplus, buffer, o, a, n)
            elif code == MULTIPLY_ADD:
                loops.multiply_add(buffer, buffer.dtype.type(1), o, a, b, c, n, x)
            elif code == MULTIPLY_SUBTRACT:
                loops.multiply_add(buffer, buffer.dtype.type(-1), o, a, b, c, n, x)
            elif code == RELU_GRADIENT:
                loops.pairs(functions.relu_gradient, buffer, o, a, b, n)
            elif code == TANH_GRADIENT:
                loops.pairs(functions.tanh_gradient, buffer, o, a, b, n)
            elif code == SIGMOID_GRADIENT:
                loops.pairs(functions.sigmoid_gradient, buffer, o, a, b, n)
            elif code == DROPPED_RELU_GRADIENT:
                loops.dropped_relu_gradient(buffer, o, a, b, buffer[c], n)
            elif code == SUM:
                loops.sum_middle(buffer, o, a, n, m, k)
            elif code == MASK:
                loops.mask(buffer, o, n, buffer[a], mix(step_key + np.uint64(z + 1) * GOLDEN))
            elif code == TAKE:
                loops.take(buffer, tables[x : x + n], o, a, n)
            elif code == SCATTER:
                loops.scatter(buffer, tables[x : x + n], o, a, n, m)
        for i in range(len(slots)):
            collected[step, i] = buffer[slots[i]]
    return len(scalars)


_LOCK = Lock()
_compiled: dict[np.dtype[Any], Callable[..., int]] = {}


def load(dtype: DType) -> None:
    """Load the engine for float64 or float32 from the cache, or compile it."""
    with _LOCK:
        if np.dtype(dtype) not in _compiled:
            _compiled[np.dtype(dtype)] = _compile(np.dtype(dtype))


def replay(
    tape: Tape,
    buffer: Array,
    features: Array,
    targets: Array,
    order: NDArray[np.int64],
    scalars: Array,
    key: int,
    first: int,
) -> tuple[int, Array]:
    """Replay a tape for consecutive batches, without the GIL, so that threads can replay in parallel.

    Arguments:
        buffer: (tape.length,), of the tape's dtype; inputs are read from it, carried arrays are left in it.
        features: (N, D), of that dtype, C order.
        targets: (N, E), of that dtype, C order.
        order: numbers of rows; the i-th step takes the i-th `tape.rows` of them.
        scalars: (steps, S), the inputs that are set at each step.
        key: of the dropout masks.
        first: the number of the first step; the keys of masks are folded with the number of the step.

    Returns:
        The number of steps done, fewer than asked for if a number was not finite, and the collected numbers
        of each, (steps, C).

    Raises:
        ValueError: the order is too short, or the tape has another number of scalars.
    """
    load(tape.dtype)
    if len(order) < len(scalars) * tape.rows or scalars.shape[1] != tape.n_scalars:
        raise ValueError(
            f"{len(scalars)} steps of {tape.rows} rows and {tape.n_scalars} scalars each do not fit an order"
            f" of {len(order)} rows and scalars of shape {scalars.shape}"
        )
    collected = np.zeros((len(scalars), len(tape.collected)))
    done = _compiled[np.dtype(tape.dtype)](
        tape.program,
        tape.tables,
        buffer,
        features,
        targets,
        order,
        tape.rows,
        scalars,
        np.uint64(key),
        first,
        tape.collected,
        collected,
    )
    return done, collected


def _compile(dtype: np.dtype[Any]) -> Callable[..., int]:
    number = numba.from_dtype(dtype)

    def array(element: Any, axes: int, readonly: bool = True) -> Any:
        return numba.types.Array(element, axes, "C", readonly=readonly)

    arguments = (
        array(numba.int64, 2),
        array(numba.int64, 1),
        array(number, 1, readonly=False),
        array(number, 2),
        array(number, 2),
        array(numba.int64, 1),
        numba.int64,
        array(number, 2),
        numba.uint64,
        numba.int64,
        array(numba.int64, 1),
        array(numba.float64, 2, readonly=False),
    )
    keep_to_one_thread()
    return compiled(_interpret, numba.int64(*arguments), dtype.name)
