"""Arrays over memory that something else owns; each call is a few instructions, and no allocation.

Parameters come as addresses, intermediates as offsets into one workspace: a function then takes a
few arguments instead of dozens, and a call costs a fraction of a microsecond.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


def contiguous(dtype, shape, readonly=False):
    """The type of a C-contiguous array whose shape is a tuple of integers of type ``shape``."""
    if not isinstance(shape, types.BaseTuple) or not all(
        isinstance(item, types.Integer) for item in shape
    ):
        raise TypingError(f"a shape is a tuple of integers, not {shape}")
    return types.Array(dtype, len(shape), "C", readonly=readonly)


def wrap(context, builder, kind, address, shape, shape_type):
    """An array of type ``kind`` over the memory at ``address``, which stays with its owner."""
    sizes = [
        context.cast(builder, size, given, types.intp)
        for size, given in zip(cgutils.unpack_tuple(builder, shape), shape_type, strict=True)
    ]
    data_type = context.get_data_type(kind.dtype)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(data_type))
    strides: list[ir.Value] = []
    stride = itemsize
    for size in reversed(sizes):
        strides.insert(0, stride)
        stride = builder.mul(stride, size)
    array = context.make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.bitcast(address, data_type.as_pointer()),
        shape=sizes,
        strides=strides,
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


@intrinsic
def array_at(typing_context, address, shape, dtype):
    """The array of this shape at an address, such as ``array_at(parameters[0], (3, 4), f32)``."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        return wrap(context, builder, kind, pointer, arguments[1], shape)

    return kind(address, shape, dtype), generate


@intrinsic
def view(typing_context, workspace, offset, shape, dtype):
    """The array of this shape that starts ``offset`` bytes into the workspace."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        start = context.make_array(workspace)(context, builder, arguments[0]).data
        distance = context.cast(builder, arguments[1], offset, types.intp)
        pointer = builder.gep(start, [distance])
        return wrap(context, builder, kind, pointer, arguments[2], shape)

    return kind(workspace, offset, shape, dtype), generate


@intrinsic
def reshaped(typing_context, array, shape):
    """The same memory with another shape of the same size."""
    kind = contiguous(array.dtype, shape, readonly=not array.mutable)

    def generate(context, builder, signature, arguments):
        start = context.make_array(array)(context, builder, arguments[0]).data
        return wrap(context, builder, kind, start, arguments[1], shape)

    return kind(array, shape), generate


@intrinsic
def flat(typing_context, array):
    """The same memory with one axis."""
    kind = contiguous(array.dtype, types.UniTuple(types.intp, 1), readonly=not array.mutable)

    def generate(context, builder, signature, arguments):
        whole = context.make_array(array)(context, builder, arguments[0])
        shape = context.make_tuple(builder, types.UniTuple(types.intp, 1), [whole.nitems])
        return wrap(context, builder, kind, whole.data, shape, types.UniTuple(types.intp, 1))

    return kind(array), generate


@intrinsic
def part(typing_context, array, index):
    """``array[index]`` along the first axis, without counting references."""
    kind = array.copy(ndim=array.ndim - 1)

    def generate(context, builder, signature, arguments):
        whole = context.make_array(array)(context, builder, arguments[0])
        position = context.cast(builder, arguments[1], index, types.intp)
        strides = cgutils.unpack_tuple(builder, whole.strides)
        sizes = cgutils.unpack_tuple(builder, whole.shape)
        distance = builder.mul(position, strides[0])
        slab = context.make_array(kind)(context, builder)
        populate_array(
            slab,
            data=cgutils.pointer_add(builder, whole.data, distance, whole.data.type),
            shape=sizes[1:],
            strides=strides[1:],
            itemsize=whole.itemsize,
            meminfo=None,
        )
        return slab._getvalue()

    return kind(array, index), generate
