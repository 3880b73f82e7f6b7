"""Arrays over memory that something else owns; each call is a few instructions, and no allocation.

Parameters come as addresses, intermediates as offsets into one workspace: a function then takes a
few arguments instead of dozens, and a call costs a fraction of a microsecond.

LLVM is told which arrays share no memory with others, as it would be of what ``malloc`` returns: it
can then keep sums in registers, and vectorises loops without comparing addresses first.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic


def contiguous(dtype, shape, readonly=False):
    """The type of a C-contiguous array whose shape is a tuple of integers of type ``shape``."""
    if not isinstance(shape, types.BaseTuple) or not all(
        isinstance(item, types.Integer) for item in shape
    ):
        raise TypingError(f"a shape is a tuple of integers, not {shape}")
    return types.Array(dtype, len(shape), "C", readonly=readonly)


def fill_in(array, **fields):
    """Set an array's fields as ``populate_array`` does."""
    # needed to compile, not for machine code from the cache, and it takes long to import
    from numba.np.arrayobj import populate_array

    populate_array(array, **fields)


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
    fill_in(
        array,
        data=builder.bitcast(address, data_type.as_pointer()),
        shape=sizes,
        strides=strides,
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


def apart(builder, pointer):
    """The pointer, as one that no other pointer leads to the memory of."""
    kind = ir.FunctionType(pointer.type, [pointer.type])
    opaque = ir.InlineAsm(kind, "", "=r,0", side_effect=False)
    # where a calling convention is written, an attribute of the result may stand
    result = builder.call(opaque, [pointer], cconv="noalias")
    # the memory outlives the function: what is stored there is not lost when it returns
    kind = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.call(ir.InlineAsm(kind, "", "r", side_effect=True), [result])
    return result


@intrinsic
def array_at(typing_context, address, shape, dtype):
    """The array of this shape at an address, such as ``array_at(parameters[0], (3, 4), f32)``; no
    other array shares its memory."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        pointer = apart(builder, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))
        return wrap(context, builder, kind, pointer, arguments[1], shape)

    return kind(address, shape, dtype), generate


@intrinsic
def layer_at(typing_context, address, shape, dtype):
    """The array at an address that a loop over layers comes by; others may share its memory."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        return wrap(context, builder, kind, pointer, arguments[1], shape)

    return kind(address, shape, dtype), generate


@intrinsic
def view(typing_context, workspace, offset, shape, dtype):
    """The array of this shape that starts ``offset`` bytes into the workspace; no other array shares
    its memory but what is put in its place."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        start = context.make_array(workspace)(context, builder, arguments[0]).data
        distance = context.cast(builder, arguments[1], offset, types.intp)
        pointer = apart(builder, builder.gep(start, [distance]))
        return wrap(context, builder, kind, pointer, arguments[2], shape)

    return kind(workspace, offset, shape, dtype), generate


@intrinsic
def in_place_of(typing_context, array, shape, dtype):
    """An array in the memory of one that is no longer needed, and at least as large."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        start = context.make_array(array)(context, builder, arguments[0]).data
        return wrap(context, builder, kind, start, arguments[1], shape)

    return kind(array, shape, dtype), generate


@intrinsic
def distinct(typing_context, array):
    """The same array, of which the caller promises that no other one shares its memory."""

    def generate(context, builder, signature, arguments):
        whole = context.make_array(array)(context, builder, arguments[0])
        shape = context.make_tuple(
            builder, types.UniTuple(types.intp, array.ndim), cgutils.unpack_tuple(builder, whole.shape)
        )
        kind = types.UniTuple(types.intp, array.ndim)
        return wrap(context, builder, array, apart(builder, whole.data), shape, kind)

    return array(array), generate


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
def rows_of(typing_context, array, first, count):
    """``array[first : first + count]``, without counting references."""

    def generate(context, builder, signature, arguments):
        whole = context.make_array(array)(context, builder, arguments[0])
        position, size = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(arguments[1:], (first, count), strict=True)
        )
        strides = cgutils.unpack_tuple(builder, whole.strides)
        slab = context.make_array(array)(context, builder)
        fill_in(
            slab,
            data=cgutils.pointer_add(
                builder, whole.data, builder.mul(position, strides[0]), whole.data.type
            ),
            shape=[size, *cgutils.unpack_tuple(builder, whole.shape)[1:]],
            strides=strides,
            itemsize=whole.itemsize,
            meminfo=None,
        )
        return slab._getvalue()

    return array(array, first, count), generate


@intrinsic
def short(typing_context, count):
    """The steps of a short loop. LLVM is not told that their number is a constant: it would unroll the
    loop, where vectors are several times faster."""

    def generate(context, builder, signature, arguments):
        steps = context.cast(builder, arguments[0], signature.args[0], types.intp)
        kind = ir.FunctionType(steps.type, [steps.type])
        return builder.call(ir.InlineAsm(kind, "", "=r,0", side_effect=False), [steps])

    return types.intp(count), generate


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
        fill_in(
            slab,
            data=cgutils.pointer_add(builder, whole.data, distance, whole.data.type),
            shape=sizes[1:],
            strides=strides[1:],
            itemsize=whole.itemsize,
            meminfo=None,
        )
        return slab._getvalue()

    return kind(array, index), generate
