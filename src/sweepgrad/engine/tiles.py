"""Products of small matrices in vector registers, written as LLVM instructions.

The compiler would keep the accumulators of a product in memory. Here a tile of the result stays in registers
during the loop over the inner dimension: a tile of 4 rows by one or two registers of columns where columns
are contiguous, a tile of inner products where the inner dimension is. The method is that of Goto & van de
Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34, 2008, without packing, which pays for
large matrices only. The order of summation depends on the sizes only, so the bits are always the same.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from sweepgrad.engine.vector import I32, itemsize, load

# The compiler may reorder sums and fuse multiply with add.
_FLAGS = ("reassoc", "nsz", "contract")


@intrinsic(prefer_literal=True)
def product_tile(
    typing_context: Any,
    rows: Any,
    lanes: Any,
    buffer: Any,
    o: Any,
    o_row: Any,
    a: Any,
    a_row: Any,
    a_inner: Any,
    b_buffer: Any,
    b: Any,
    b_inner: Any,
    inner: Any,
) -> Any:
    """Compute o[r, l] = Σ_p a[r, p] b[p, l] for fixed numbers of rows and lanes; l is contiguous.

    b may be in another array than o and a.
    """
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(lanes, types.IntegerLiteral):
        return None
    n_rows, n_lanes = rows.literal_value, lanes.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, array, o, o_row, a, a_row, a_inner, other, b, b_inner, inner = arguments
        base = make_array(signature.args[2])(context, builder, array).data
        b_base = make_array(signature.args[8])(context, builder, other).data
        vector = ir.VectorType(base.type.pointee, n_lanes)
        sums = _zeros(builder, vector, n_rows)
        starts = [builder.add(a, builder.mul(a_row, ir.Constant(a.type, r))) for r in range(n_rows)]
        with cgutils.for_range(builder, inner) as loop:
            y = load(builder, vector, b_base, builder.add(b, builder.mul(loop.index, b_inner)))
            step = builder.mul(loop.index, a_inner)
            for start, total in zip(starts, sums, strict=True):
                x = builder.load(builder.gep(base, [builder.add(start, step)]))
                _add_product(builder, total, _repeat(builder, vector, x), y)
        for r, total in enumerate(sums):
            position = builder.add(o, builder.mul(o_row, ir.Constant(o.type, r)))
            pointer = builder.bitcast(builder.gep(base, [position]), vector.as_pointer())
            builder.store(builder.load(total), pointer, align=itemsize(base))
        return context.get_dummy_value()

    return types.void(rows, lanes, buffer, *[types.intp] * 5, b_buffer, *[types.intp] * 3), codegen


@intrinsic(prefer_literal=True)
def inner_tile(
    typing_context: Any,
    rows: Any,
    columns: Any,
    lanes: Any,
    buffer: Any,
    o: Any,
    o_row: Any,
    a: Any,
    a_row: Any,
    b: Any,
    b_row: Any,
    inner: Any,
) -> Any:
    """Compute o[r, c] = Σ_p a[r, p] b[c, p] for fixed numbers of rows and columns; p is contiguous."""
    if not all(isinstance(n, types.IntegerLiteral) for n in (rows, columns, lanes)):
        return None
    n_rows, n_columns, n_lanes = rows.literal_value, columns.literal_value, lanes.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, _, array, o, o_row, a, a_row, b, b_row, inner = arguments
        base = make_array(signature.args[3])(context, builder, array).data
        number = base.type.pointee
        vector = ir.VectorType(number, n_lanes)
        a_starts = [builder.add(a, builder.mul(a_row, ir.Constant(a.type, r))) for r in range(n_rows)]
        b_starts = [builder.add(b, builder.mul(b_row, ir.Constant(b.type, c))) for c in range(n_columns)]
        sums = _zeros(builder, vector, n_rows * n_columns)
        lanes_at_a_time = ir.Constant(inner.type, n_lanes)
        whole = builder.sdiv(inner, lanes_at_a_time)
        with cgutils.for_range(builder, whole) as loop:
            p = builder.mul(loop.index, lanes_at_a_time)
            xs = [load(builder, vector, base, builder.add(start, p)) for start in a_starts]
            ys = [load(builder, vector, base, builder.add(start, p)) for start in b_starts]
            for i, total in enumerate(sums):
                _add_product(builder, total, xs[i // n_columns], ys[i % n_columns])
        totals = [cgutils.alloca_once_value(builder, _sum(builder, builder.load(total))) for total in sums]
        with cgutils.for_range_slice(
            builder, builder.mul(whole, lanes_at_a_time), inner, ir.Constant(inner.type, 1)
        ) as (p, _):
            x1 = [builder.load(builder.gep(base, [builder.add(start, p)])) for start in a_starts]
            y1 = [builder.load(builder.gep(base, [builder.add(start, p)])) for start in b_starts]
            for i, one in enumerate(totals):
                _add_product(builder, one, x1[i // n_columns], y1[i % n_columns])
        for i, one in enumerate(totals):
            position = builder.add(o, builder.mul(o_row, ir.Constant(o.type, i // n_columns)))
            position = builder.add(position, ir.Constant(o.type, i % n_columns))
            builder.store(builder.load(one), builder.gep(base, [position]))
        return context.get_dummy_value()

    return types.void(rows, columns, lanes, buffer, *[types.intp] * 7), codegen


@intrinsic(prefer_literal=True)
def inner_row_tile(
    typing_context: Any,
    rows: Any,
    lanes: Any,
    buffer: Any,
    o: Any,
    o_row: Any,
    a: Any,
    a_row: Any,
    b: Any,
    b_row: Any,
    inner: Any,
) -> Any:
    """Compute `inner_tile` for as many columns as lanes, and sum up all vectors together.

    `inner` must be a multiple of the lanes.
    """
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(lanes, types.IntegerLiteral):
        return None
    n_rows, n_lanes = rows.literal_value, lanes.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, array, o, o_row, a, a_row, b, b_row, inner = arguments
        base = make_array(signature.args[2])(context, builder, array).data
        vector = ir.VectorType(base.type.pointee, n_lanes)
        a_starts = [builder.add(a, builder.mul(a_row, ir.Constant(a.type, r))) for r in range(n_rows)]
        b_starts = [builder.add(b, builder.mul(b_row, ir.Constant(b.type, c))) for c in range(n_lanes)]
        sums = _zeros(builder, vector, n_rows * n_lanes)
        lanes_at_a_time = ir.Constant(inner.type, n_lanes)
        with cgutils.for_range(builder, builder.sdiv(inner, lanes_at_a_time)) as loop:
            p = builder.mul(loop.index, lanes_at_a_time)
            xs = [load(builder, vector, base, builder.add(start, p)) for start in a_starts]
            for c, start in enumerate(b_starts):
                y = load(builder, vector, base, builder.add(start, p))
                for r, x in enumerate(xs):
                    _add_product(builder, sums[r * n_lanes + c], x, y)
        for r in range(n_rows):
            row = [builder.load(total) for total in sums[r * n_lanes : (r + 1) * n_lanes]]
            position = builder.add(o, builder.mul(o_row, ir.Constant(o.type, r)))
            pointer = builder.bitcast(builder.gep(base, [position]), vector.as_pointer())
            builder.store(_sums(builder, row, 16 // itemsize(base)), pointer, align=itemsize(base))
        return context.get_dummy_value()

    return types.void(rows, lanes, buffer, *[types.intp] * 7), codegen


def _sums(builder: Any, vectors: list[Any], half: int) -> Any:
    """Return the sums of as many vectors as one has elements, as a vector.

    Neighbours are added within each part of `half` elements, which takes one instruction, until each part
    holds its own sums; then the parts are added.
    """
    lanes = len(vectors)
    while len(vectors) > lanes // half:
        even = [
            i
            for part in range(0, lanes, half)
            for x in (0, lanes)
            for i in range(part + x, part + x + half, 2)
        ]
        odd = [i + 1 for i in even]
        vectors = [_added(builder, x, y, even, odd) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
    while len(vectors) > 1:
        starts = range(0, 2 * lanes, 2 * half)
        low = [i for start in starts for i in range(start, start + half)]
        high = [i + half for i in low]
        vectors = [_added(builder, x, y, low, high) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


def _added(builder: Any, x: Any, y: Any, left: list[int], right: list[int]) -> Any:
    """Return elements of x and y, concatenated, at the positions `left` plus those at `right`."""
    positions = ir.VectorType(I32, len(left))
    return builder.fadd(
        *(builder.shuffle_vector(x, y, ir.Constant(positions, chosen)) for chosen in (left, right)),
        flags=_FLAGS,
    )


def _zeros(builder: Any, vector: Any, n: int) -> list[Any]:
    zero = ir.Constant(vector, None)
    variables = [cgutils.alloca_once_value(builder, zero) for _ in range(n)]
    for variable in variables:  # the allocation is hoisted out of loops; the initialisation must not be
        builder.store(zero, variable)
    return variables


def _repeat(builder: Any, vector: Any, x: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, x, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, vector.count), None))


def _add_product(builder: Any, total: Any, x: Any, y: Any) -> None:
    product = builder.fmul(x, y, flags=_FLAGS)
    builder.store(builder.fadd(builder.load(total), product, flags=_FLAGS), total)


def _sum(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's elements, by halves."""
    while (count := vector.type.count) > 1:
        undefined = ir.Constant(vector.type, ir.Undefined)
        halves = [
            builder.shuffle_vector(
                vector,
                undefined,
                ir.Constant(ir.VectorType(I32, count // 2), list(range(first, first + count // 2))),
            )
            for first in (0, count // 2)
        ]
        vector = builder.fadd(*halves, flags=_FLAGS)
    return builder.extract_element(vector, ir.Constant(I32, 0))
