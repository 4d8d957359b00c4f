"""Loops over numbers in the buffer, one for most instructions of the native engine; compiled by Numba.

Every loop takes the buffer and the positions of its operands. It runs over views that start at zero, since
the compiler does not vectorise signed offsets into one buffer.
"""

from typing import Any

import numpy as np
from numba import njit

from sweepgrad.engine.functions import exact, relu, sigmoid, tanh
from sweepgrad.engine.vector import multiply32, prefetch, transpose_tile, view

# Sums are reordered so that they vectorise; the order depends on the length only.
summing = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@exact
def unary(function: Any, buffer: Any, o: int, a: int, n: int) -> None:
    result, x = view(buffer, o, n), view(buffer, a, n)
    for i in range(n):
        result[i] = function(x[i])


@exact
def pairs(function: Any, buffer: Any, o: int, a: int, b: int, n: int) -> None:
    result, x, y = view(buffer, o, n), view(buffer, a, n), view(buffer, b, n)
    for i in range(n):
        result[i] = function(x[i], y[i])


@exact
def pairs_in_place(function: Any, buffer: Any, o: int, b: int, n: int) -> None:
    result, y = view(buffer, o, n), view(buffer, b, n)
    for i in range(n):
        result[i] = function(result[i], y[i])


@exact
def binary(function: Any, buffer: Any, o: int, a: int, b: int, rows: int, columns: int, spread: int) -> None:
    """Compute o (rows, columns) = function(a, b).

    Bits 0 and 1 of `spread`: whether a has columns and rows of its own; bits 2 and 3: the same for b.
    """
    a_row, b_row = (columns if spread & 1 else 1), (columns if spread & 4 else 1)
    for i in range(rows):
        result = view(buffer, o + i * columns, columns)
        x = view(buffer, a + (i * a_row if spread & 2 else 0), columns)
        y = view(buffer, b + (i * b_row if spread & 8 else 0), columns)
        if spread & 5 == 5:
            for j in range(columns):
                result[j] = function(x[j], y[j])
        elif spread & 1:
            one = y[0]
            for j in range(columns):
                result[j] = function(x[j], one)
        elif spread & 4:
            one = x[0]
            for j in range(columns):
                result[j] = function(one, y[j])
        else:
            both = function(x[0], y[0])
            for j in range(columns):
                result[j] = both


@exact
def multiply_add(buffer: Any, sign: Any, o: int, a: int, b: int, c: int, n: int, spread: int) -> None:
    """Compute o = c + sign a b; bits 0 and 1 of `spread`: whether a and c are n numbers, not one."""
    result, x, y, z = view(buffer, o, n), view(buffer, a, n), view(buffer, b, n), view(buffer, c, n)
    one, constant = sign * x[0], z[0]
    # In-place updates use a single view, so that the compiler knows that it may vectorise.
    if o == c and spread == 3:
        for i in range(n):
            result[i] += sign * x[i] * y[i]
    elif o == c and spread == 2:
        for i in range(n):
            result[i] += one * y[i]
    elif o == b and spread == 2:
        for i in range(n):
            result[i] = z[i] + one * result[i]
    elif spread == 3:
        for i in range(n):
            result[i] = z[i] + sign * x[i] * y[i]
    elif spread == 2:
        for i in range(n):
            result[i] = z[i] + one * y[i]
    elif spread == 1:
        for i in range(n):
            result[i] = constant + sign * x[i] * y[i]
    else:
        for i in range(n):
            result[i] = constant + one * y[i]


@exact
def dropped_relu_gradient(buffer: Any, o: int, g: int, y: int, probability: Any, n: int) -> None:
    """Compute g / (1 - probability) where y > 0, else 0: y is 0 where relu is inactive or dropout dropped."""
    result, above, values = view(buffer, o, n), view(buffer, g, n), view(buffer, y, n)
    one = type(probability)(1)
    kept, zero = one / (one - probability), type(probability)(0)
    if o == g:
        for i in range(n):
            result[i] *= kept if values[i] > zero else zero
    else:
        for i in range(n):
            result[i] = above[i] * (kept if values[i] > zero else zero)


@summing
def sum_middle(buffer: Any, o: int, a: int, outer: int, middle: int, inner: int) -> None:
    for i in range(outer):
        if inner == 1:
            x = view(buffer, a + i * middle, middle)
            total = buffer.dtype.type(0)
            for j in range(middle):
                total += x[j]
            buffer[o + i] = total
        else:
            result = view(buffer, o + i * inner, inner)
            for j in range(inner):
                result[j] = 0
            for p in range(middle):
                x = view(buffer, a + (i * middle + p) * inner, inner)
                for j in range(inner):
                    result[j] += x[j]


@exact
def take(buffer: Any, table: Any, o: int, a: int, n: int) -> None:
    for i in range(n):
        buffer[o + i] = buffer[a + table[i]]


@exact
def scatter(buffer: Any, table: Any, o: int, a: int, n: int, size: int) -> None:
    result = view(buffer, o, size)
    for i in range(size):
        result[i] = 0
    for i in range(n):
        result[table[i]] += buffer[a + i]


@summing
def all_finite(buffer: Any, a: int, n: int) -> bool:
    x = view(buffer, a, n)
    total = buffer.dtype.type(0)
    for i in range(n):
        total += x[i] * buffer.dtype.type(0)  # NaN for infinity too
    return bool(total == 0)


@exact
def activate(buffer: Any, o: int, bias: int, n: int, m: int, activation: int) -> None:
    """Add to each of n rows its bias, and apply the activation, numbered as in `tape.ACTIVATIONS`."""
    if m == 1:
        _activate(buffer, o, bias, n, 1, activation)
    else:
        for i in range(n):
            _activate(buffer, o + i * m, bias + i, m, 0, activation)


@exact
def _activate(buffer: Any, o: int, bias: int, n: int, each: int, activation: int) -> None:
    """Add one bias to n numbers, or to each its own, and apply the activation."""
    result, b = view(buffer, o, n), view(buffer, bias, n)
    one = b[0]
    if each and activation == 1:
        for j in range(n):
            result[j] = relu(result[j] + b[j])
    elif activation == 1:
        for j in range(n):
            result[j] = relu(result[j] + one)
    else:
        for j in range(n):
            result[j] += b[j] if each else one
        if activation == 2:
            for j in range(n):
                result[j] = tanh(result[j])
        elif activation == 3:
            for j in range(n):
                result[j] = sigmoid(result[j])


@exact
def gather(buffer: Any, o: int, table: Any, order: Any, start: int, columns: int, rows: int) -> None:
    """Write to o (columns, rows) the rows of the table that `order` lists from `start` on."""
    j = 0
    while rows - j >= 4:
        w, x = order[start + j] * columns, order[start + j + 1] * columns
        y, z = order[start + j + 2] * columns, order[start + j + 3] * columns
        i = 0
        while columns - i >= 4:
            transpose_tile(buffer, o + i * rows + j, rows, table, w + i, x + i, y + i, z + i)
            i += 4
        a, b = view(table, w, columns), view(table, x, columns)
        c, d = view(table, y, columns), view(table, z, columns)
        while i < columns:
            result = view(buffer, o + i * rows + j, 4)
            result[0], result[1], result[2], result[3] = a[i], b[i], c[i], d[i]
            i += 1
        j += 4
    while j < rows:
        a, result = view(table, order[start + j] * columns, columns), view(buffer, o + j, columns * rows)
        for i in range(columns):
            result[i * rows] = a[i]
        j += 1


@exact
def fetch_ahead(table: Any, order: Any, start: int, columns: int, rows: int) -> None:
    """Prefetch the rows that the next step gathers, while this one computes."""
    for j in range(start, min(start + rows, len(order))):
        prefetch(table, order[j] * columns)
        prefetch(table, order[j] * columns + columns - 1)


# Dropout, with the random numbers of `sweepgrad.rng`


@exact
def mix(word: Any) -> Any:
    """Hash a word as SplitMix64 and `sweepgrad.rng` do."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@exact
def threshold_of(probability: Any) -> Any:
    """Return the 32-bit number below which random words drop an element."""
    return np.uint32(min(np.float64(probability) * 4294967296.0, 4294967295.0))


@exact
def random32(i: Any, low: Any, high: Any) -> Any:
    """Return the i-th 32-bit word of `rng.words` for a key, whose halves are `low` and `high`."""
    x = np.uint32(np.uint32(i) + low)
    x = np.uint32(multiply32(np.uint32(x ^ (x >> np.uint32(16))), np.uint32(0x7FEB352D)) ^ high)
    x = multiply32(np.uint32(x ^ (x >> np.uint32(15))), np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@exact
def mask(buffer: Any, o: int, n: int, probability: Any, key: Any) -> None:
    """Write zeros with `probability`, else 1 / (1 - probability)."""
    result = view(buffer, o, n)
    low, high, threshold = np.uint32(key), np.uint32(key >> np.uint64(32)), threshold_of(probability)
    one, zero = type(probability)(1), type(probability)(0)
    kept = one / (one - probability)
    for i in range(n):
        result[i] = kept if random32(i, low, high) >= threshold else zero


@exact
def drop(buffer: Any, o: int, n: int, probability: Any, key: Any) -> None:
    """Multiply n numbers by a dropout mask, without storing it."""
    result = view(buffer, o, n)
    low, high, threshold = np.uint32(key), np.uint32(key >> np.uint64(32)), threshold_of(probability)
    one, zero = type(probability)(1), type(probability)(0)
    kept = one / (one - probability)
    for i in range(n):
        result[i] *= kept if random32(i, low, high) >= threshold else zero
