"""What loops over steps are made of: calls by address, so that a loop is compiled without the step,
and copies of rows."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic


@intrinsic
def call_at(typing_context, address, arguments):
    """Call the compiled function at ``address`` with a tuple of arguments; returns its status.

    The function takes arguments of these types (arrays may be read-only there) and returns an int64.
    It is the machine code that a call from Python runs, so that the results are the same, bit by bit.
    """
    if not isinstance(arguments, types.BaseTuple):
        raise TypingError(f"arguments are a tuple, not {arguments}")

    def generate(context, builder, signature, values):
        convention = context.call_conv
        kind = convention.get_function_type(types.int64, tuple(arguments))
        pointer = builder.inttoptr(values[0], kind.as_pointer())
        result = cgutils.alloca_once(builder, context.get_value_type(types.int64))
        error = cgutils.alloca_once(builder, ir.LiteralStructType([]).as_pointer())
        error = builder.bitcast(error, kind.args[1])
        packer = context.get_arg_packer(tuple(arguments))
        packed = packer.as_arguments(builder, cgutils.unpack_tuple(builder, values[1]))
        builder.call(pointer, [result, error, *packed])
        return builder.load(result)

    return types.int64(address, arguments), generate


@intrinsic
def copy_row(typing_context, target, row, source, index, width):
    """Copy ``width`` elements: row ``index`` of a matrix to a row of another, both of that width.

    Where the width is a constant this is a few vector moves.
    """
    for array in (target, source):
        if not (isinstance(array, types.Array) and array.ndim == 2 and array.layout == "C"):
            raise TypingError(f"rows are copied between C-contiguous matrices, not {array}")

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        word = ir.IntType(64)
        width = context.cast(builder, arguments[4], kinds[4], types.int64)
        item = context.get_abi_sizeof(context.get_data_type(kinds[0].dtype))
        size = builder.mul(width, ir.Constant(word, item))

        def place(matrix, number):
            array = context.make_array(kinds[matrix])(context, builder, arguments[matrix])
            number = context.cast(builder, arguments[number], kinds[number], types.int64)
            start = builder.bitcast(array.data, cgutils.voidptr_t)
            return cgutils.pointer_add(builder, start, builder.mul(number, size))

        cgutils.raw_memcpy(builder, place(0, 1), place(2, 3), size, 1)
        return context.get_dummy_value()

    return types.void(target, row, source, index, width), generate
