"""LLVM instructions for the native engine that Numba does not offer."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

I32 = ir.IntType(32)


@intrinsic
def view(typing_context: Any, buffer: Any, start: Any, length: Any) -> Any:
    """Return buffer[start : start + length], without bounds checks or reference counts."""
    result = types.Array(buffer.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, length = arguments
        base = make_array(signature.args[0])(context, builder, array).data
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(base.type.pointee))
        part = make_array(result)(context, builder)
        populate_array(
            part,
            data=builder.gep(base, [start]),
            shape=cgutils.pack_array(builder, [length]),
            strides=cgutils.pack_array(builder, [itemsize]),
            itemsize=itemsize,
            meminfo=None,
        )
        return part._getvalue()

    return result(buffer, types.intp, types.intp), codegen


@intrinsic
def prefetch(typing_context: Any, array: Any, position: Any) -> Any:
    """Start to load the element at a flat position of the array into the cache, without waiting."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for_reading, keep, numbers = (ir.Constant(I32, n) for n in (0, 3, 1))
        builder.call(function, [pointer, for_reading, keep, numbers])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def multiply32(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the product of two 32-bit words modulo 2³²; Numba would use 64 bits, at half the speed."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.mul(*arguments)

    return types.uint32(types.uint32, types.uint32), codegen


@intrinsic
def bits_of(typing_context: Any, number: Any) -> Any:
    """Return the bits of a float as an integer of the same width."""
    return _bitcast(number, {types.float32: types.int32, types.float64: types.int64})


@intrinsic
def float_of(typing_context: Any, bits: Any) -> Any:
    """Return the float with these bits."""
    return _bitcast(bits, {types.int32: types.float32, types.int64: types.float64})


def _bitcast(source: Any, targets: dict[Any, Any]) -> Any:
    target = targets[source]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(target))

    return target(source), codegen


@intrinsic
def transpose_tile(
    typing_context: Any, buffer: Any, o: Any, o_row: Any, table: Any, a: Any, b: Any, c: Any, d: Any
) -> Any:
    """Set o[i, 0…3] = table[a + i], …, table[d + i] for i = 0…3, with flat positions in the table."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, o, o_row, source, *starts = arguments
        base = make_array(signature.args[0])(context, builder, array).data
        rows = make_array(signature.args[3])(context, builder, source).data
        vector = ir.VectorType(base.type.pointee, 4)
        tile = [load(builder, vector, rows, start) for start in starts]
        positions = ir.VectorType(I32, 4)
        for _ in range(2):  # each time, row r is interleaved with row r + 2
            tile = [
                builder.shuffle_vector(x, y, ir.Constant(positions, chosen))
                for x, y in zip(tile[:2], tile[2:], strict=True)
                for chosen in ([0, 4, 1, 5], [2, 6, 3, 7])
            ]
        for i, row in enumerate(tile):
            position = builder.add(o, builder.mul(o_row, ir.Constant(o.type, i)))
            pointer = builder.bitcast(builder.gep(base, [position]), vector.as_pointer())
            builder.store(row, pointer, align=itemsize(base))
        return context.get_dummy_value()

    return types.void(buffer, types.intp, types.intp, table, *[types.intp] * 4), codegen


def load(builder: Any, vector: Any, base: Any, position: Any) -> Any:
    pointer = builder.bitcast(builder.gep(base, [position]), vector.as_pointer())
    return builder.load(pointer, align=itemsize(base))


def itemsize(base: Any) -> int:
    return 4 if isinstance(base.type.pointee, ir.FloatType) else 8
