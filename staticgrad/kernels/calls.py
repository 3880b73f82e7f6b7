"""Calling compiled code by its address: loops over steps are compiled without the steps themselves."""

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
