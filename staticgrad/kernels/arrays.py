"""Arrays over memory that something else owns; each call is a few instructions, and no allocation.

Parameters and results come as addresses, intermediates as offsets into one workspace: a function then
takes a few arguments instead of dozens, and a call costs a fraction of a microsecond.

LLVM is told which arrays share no memory with others, as it would be of what ``malloc`` returns: it
can then keep sums in registers, and vectorises loops without comparing addresses first.
"""

import inspect
import re

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

#: dtypes, as generated code spells them
f32, f64, i64, i32, u8 = types.float32, types.float64, types.int64, types.int32, types.uint8


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
    """The array of this shape at an address, such as ``array_at(addresses[0], (3, 4), f32)``; no
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
def view(typing_context, memory, offset, shape, dtype):
    """The array of this shape that starts ``offset`` bytes into a memory, given as an array or by its
    address; no other array shares it but what is put in its place."""
    kind = contiguous(dtype.dtype, shape)

    def generate(context, builder, signature, arguments):
        if isinstance(memory, types.Array):
            start = context.make_array(memory)(context, builder, arguments[0]).data
        else:
            start = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        distance = context.cast(builder, arguments[1], offset, types.intp)
        pointer = apart(builder, builder.gep(start, [distance]))
        return wrap(context, builder, kind, pointer, arguments[2], shape)

    return kind(memory, offset, shape, dtype), generate


@intrinsic
def reuse(typing_context, array, shape, dtype):
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


@njit(error_model="numpy")
def add_up(parts, total):
    """Store the sum of an array's parts along the first axis, added in order."""
    elements, sums = flat(parts), flat(total)
    count = sums.size
    for i in range(count):
        sums[i] = elements[i]
    for number in range(1, parts.shape[0]):
        first = number * count
        for i in range(count):
            sums[i] += elements[first + i]


# ---- files that run by themselves -----------------------------------------------------------------


ONLY_BY_POSITION, ONLY_BY_NAME = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY


class Argument:
    """A row of the table in a generated module's docstring."""

    def __init__(self, name, dtype, shape, kind):
        self.name = name
        self.dtype = np.dtype(dtype)
        self.shape = [dim.strip() for dim in shape[1:-1].split(",") if dim.strip()]
        self.kind = kind

    def sizes(self, known):
        """The shape, with the sizes of named dimensions."""
        return tuple(eval(dim, {"__builtins__": {}}, known) for dim in self.shape)

    def checked(self, value, known):
        """The value as an array that the machine code can take; learns the sizes of dimensions."""
        if self.kind.endswith("updated"):
            array = value  # it is written to: a copy would not do
            if not isinstance(array, np.ndarray) or array.dtype != self.dtype:
                got = getattr(value, "dtype", type(value).__name__)
                raise TypeError(f"{self.name} is updated: it takes an array of {self.dtype}, not {got}")
            if not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError(f"{self.name} is updated: it must be C-contiguous and writeable")
        else:
            array = np.require(value, self.dtype, "C")
        if array.ndim == len(self.shape):
            for dim, size in zip(self.shape, array.shape, strict=True):
                if dim.isidentifier():
                    known.setdefault(dim, size)
            if array.shape == self.sizes(known):
                return array
        expected = ", ".join(self.shape)
        raise ValueError(f"{self.name} has the shape {array.shape}, expected ({expected})")


def on_arrays(table, constants=(), indices=()):
    """Turns a generated function into one that takes the inputs by position and the parameters by
    name, as arrays, and returns the outputs as new arrays.

    ``table`` is the docstring of the generated module: a line per array gives its name, dtype, shape
    and kind. ``constants`` are the arrays of that kind, in order; ``indices`` are the inputs that hold
    the indices which the function checks.
    """
    row = re.compile(r"^ {4}(\w+) +(\w+) +(\(.*\)) +(.+)$", re.MULTILINE)
    arguments = [Argument(*found) for found in row.findall(table)]
    inputs = [a for a in arguments if a.kind == "input"]
    parameters = [a for a in arguments if a.kind.startswith("parameter")]
    outputs = [a for a in arguments if a.kind == "output"]
    (size,) = re.findall(r"^Workspace: (.+?) bytes", table, re.MULTILINE | re.DOTALL)
    workspace = Argument("workspace", "uint8", f"({' '.join(size.split())},)", "scratch")

    def decorate(function):
        def on(*values, **named):
            if len(values) != len(inputs):
                expected = ", ".join(a.name for a in inputs)
                raise TypeError(f"{len(inputs)} arrays are expected by position: {expected}")
            if set(named) != {a.name for a in parameters}:
                expected = ", ".join(a.name for a in parameters)
                raise TypeError(f"these parameters are expected by name: {expected}")
            known: dict[str, int] = {}
            given = [a.checked(value, known) for a, value in zip(inputs, values, strict=True)]
            kept = [a.checked(named[a.name], known) for a in parameters]
            results = [np.empty(a.sizes(known), a.dtype) for a in outputs]
            # one cache line more, so that it can begin where one begins
            (needed,) = workspace.sizes(known)
            memory = np.empty(needed + 64, np.uint8)
            scratch = memory[-memory.ctypes.data % 64 :]
            scalars = [array for array in given if not array.ndim]
            reached = [*kept, *constants, *scalars, *results, scratch]
            addresses = np.array([*(array.ctypes.data for array in reached), needed], np.int64)
            status = function(*(array for array in given if array.ndim), addresses)
            if status == 1:
                raise ValueError("the shapes of the arguments do not fit each other")
            if status:
                raise IndexError(f"an index is out of range: {indices[status - 2]}")
            results = [result if result.ndim else result[()] for result in results]
            return None if not results else results[0] if len(results) == 1 else tuple(results)

        by_position = [inspect.Parameter(a.name, ONLY_BY_POSITION) for a in inputs]
        by_name = [inspect.Parameter(a.name, ONLY_BY_NAME) for a in parameters]
        on.__signature__ = inspect.Signature([*by_position, *by_name])  # type: ignore[attr-defined]
        on.__name__, on.__module__, on.__doc__ = function.__name__, function.__module__, table
        return on

    return decorate
