"""Products of matrices in the buffer: by tiles in registers, or by BLAS where they are large."""

from typing import Any

import numpy as np
from numba import njit

from sweepgrad.engine.tiles import inner_row_tile, inner_tile, product_tile
from sweepgrad.engine.vector import view

# Above this many multiply-adds BLAS, which packs both operands, is faster than the tiles. The second limit is
# divided by the bytes of a number.
BLAS_ABOVE_INNER = 1_500_000
BLAS_ABOVE_OTHER = 80_000_000


def _panel(lanes: int) -> Any:
    @njit(nogil=True)
    def panel(
        buffer: Any,
        o: int,
        o_row: int,
        a: int,
        a_row: int,
        a_inner: int,
        b_buffer: Any,
        b: int,
        b_row: int,
        n: int,
        k: int,
    ) -> None:
        """Compute `lanes` columns of a product."""
        i = 0
        while n - i >= 4:
            product_tile(
                4, lanes, buffer, o + i * o_row, o_row, a + i * a_row, a_row, a_inner, b_buffer, b, b_row, k
            )
            i += 4
        while i < n:
            product_tile(
                1, lanes, buffer, o + i * o_row, o_row, a + i * a_row, a_row, a_inner, b_buffer, b, b_row, k
            )
            i += 1

    return panel


_panel1, _panel2, _panel4, _panel8, _panel16 = (_panel(lanes) for lanes in (1, 2, 4, 8, 16))


@njit(nogil=True)
def product(buffer: Any, o: int, a: int, a_row: int, a_inner: int, b: int, n: int, m: int, k: int) -> None:
    """Compute o (n, m) = a (n, k), of any strides, @ b (k, m)."""
    j = 0
    if n >= 16 and k >= 16 and m >= 64:
        # Cache lines a power of two apart evict each other, so a panel is copied to adjacent memory first.
        lanes = 64 // buffer.itemsize
        packed = np.empty(k * lanes, buffer.dtype)
        while m - j >= lanes:
            for p in range(k):
                row, copy = view(buffer, b + p * m + j, lanes), view(packed, p * lanes, lanes)
                for lane in range(lanes):
                    copy[lane] = row[lane]
            if buffer.itemsize == 4:
                _panel16(buffer, o + j, m, a, a_row, a_inner, packed, 0, 16, n, k)
            else:
                _panel8(buffer, o + j, m, a, a_row, a_inner, packed, 0, 8, n, k)
            j += lanes
    if buffer.itemsize == 4:
        while m - j >= 16:
            _panel16(buffer, o + j, m, a, a_row, a_inner, buffer, b + j, m, n, k)
            j += 16
    while m - j >= 8:
        _panel8(buffer, o + j, m, a, a_row, a_inner, buffer, b + j, m, n, k)
        j += 8
    if m - j >= 4:
        _panel4(buffer, o + j, m, a, a_row, a_inner, buffer, b + j, m, n, k)
        j += 4
    if m - j >= 2:
        _panel2(buffer, o + j, m, a, a_row, a_inner, buffer, b + j, m, n, k)
        j += 2
    if j < m:
        _panel1(buffer, o + j, m, a, a_row, a_inner, buffer, b + j, m, n, k)


def _rows_by_rows(lanes: int, rows: int) -> Any:
    @njit(nogil=True)
    def rows_by_rows(buffer: Any, o: int, a: int, b: int, n: int, m: int, k: int) -> None:
        """Use tiles of `rows` × `lanes` where the inner dimension fills its vectors, else of 4 × 2."""
        j = 0
        if k % lanes == 0:
            while m - j >= lanes:
                i = 0
                while n - i >= rows:
                    inner_row_tile(rows, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                    i += rows
                while i < n:
                    inner_row_tile(1, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                    i += 1
                j += lanes
        while m - j >= 2:
            i = 0
            while n - i >= 4:
                inner_tile(4, 2, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                i += 4
            while i < n:
                inner_tile(1, 2, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                i += 1
            j += 2
        if j < m:
            i = 0
            while n - i >= 4:
                inner_tile(4, 1, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                i += 4
            while i < n:
                inner_tile(1, 1, lanes, buffer, o + i * m + j, m, a + i * k, k, b + j * k, k, k)
                i += 1

    return rows_by_rows


_rows_by_rows4, _rows_by_rows8 = _rows_by_rows(4, 2), _rows_by_rows(8, 1)


@njit(nogil=True)
def inner_products(buffer: Any, o: int, a: int, b: int, n: int, m: int, k: int) -> None:
    """Compute o (n, m) = a (n, k) @ b (m, k) transposed."""
    if buffer.itemsize == 4 and k >= 8:
        _rows_by_rows8(buffer, o, a, b, n, m, k)
    else:
        _rows_by_rows4(buffer, o, a, b, n, m, k)


@njit(nogil=True)
def blas(buffer: Any, o: int, a: int, b: int, n: int, m: int, k: int, ta: int, tb: int) -> None:
    result = view(buffer, o, n * m).reshape(n, m)
    if ta:
        np.dot(view(buffer, a, n * k).reshape(k, n).T, view(buffer, b, k * m).reshape(k, m), result)
    elif tb:
        np.dot(view(buffer, a, n * k).reshape(n, k), view(buffer, b, k * m).reshape(m, k).T, result)
    else:
        np.dot(view(buffer, a, n * k).reshape(n, k), view(buffer, b, k * m).reshape(k, m), result)


@njit(nogil=True)
def matmul(buffer: Any, o: int, a: int, b: int, n: int, m: int, k: int, ta: int, tb: int) -> None:
    """Compute o (n, m) = a (n, k) @ b (k, m); ta: a is stored transposed, tb: b is, never both."""
    if n * m * k > (BLAS_ABOVE_INNER if tb else BLAS_ABOVE_OTHER // buffer.itemsize):
        blas(buffer, o, a, b, n, m, k, ta, tb)
    elif m == 1 and ta:  # a column of the result is a row of the transposed product
        product(buffer, o, b, 0, 1, a, 1, n, k)
    elif k == 1:  # an outer product: either operand is a vector, transposed or not
        product(buffer, o, a, 1, 0, b, n, m, 1)
    elif tb or m == 1:
        inner_products(buffer, o, a, b, n, m, k)
    elif ta:
        product(buffer, o, a, 1, n, b, n, m, k)
    else:
        product(buffer, o, a, k, 1, b, n, m, k)
