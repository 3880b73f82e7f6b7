"""Parts of a computation on several threads, for generated code.

The threads are those of ``staticgrad.runtime.threads``, which puts the address of what runs them at
the symbol ``staticgrad_pool``. While that is zero, all parts run on the calling thread.
"""

import ctypes

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.callconv import RETCODE_USEREXC
from numba.core.errors import TypingError
from numba.extending import intrinsic

POOL = "staticgrad_pool"
#: what the symbol stands for, unless another file has defined it
POOL_ADDRESS = ctypes.c_int64(0)


def bind_pool():
    if not binding.address_of_symbol(POOL):
        # machine code may outlive this module
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(POOL_ADDRESS))
        binding.add_symbol(POOL, ctypes.addressof(POOL_ADDRESS))


bind_pool()


@intrinsic
def in_parallel(typing_context, function, count, arguments):
    """Call ``function(part, *arguments)`` for each part in ``range(count)``; returns when all are done.

    The function is compiled with ``@njit``, takes an int64 and a tuple's items, and returns nothing.
    Any thread may run any part, in any order: parts must not depend on each other, nor touch Python
    objects. An error that one of them raises is raised here once all are done.
    """
    return parallel_call(typing_context, function, count, arguments, 1)


@intrinsic
def in_parallel_with_place(typing_context, function, count, arguments):
    """The same for a ``function(part, place, *arguments)``: parts that run at the same time have
    different places in ``range(count)``, and may use memory that belongs to the place."""
    return parallel_call(typing_context, function, count, arguments, 2)


@intrinsic
def in_slices(typing_context, function, size, arguments):
    """Call a function of arrays with one axis, all of one length, and of numbers, for ``size`` elements
    of the arrays after the other, on any thread. What it does to an element must depend on that element
    alone."""
    arrays = [position for position, kind in enumerate(arguments) if isinstance(kind, types.Array)]
    if not arrays:
        raise TypingError(f"in_slices takes arrays, not {arguments}")
    called = call_of_part(typing_context, function, tuple(arguments))

    def generate(context, builder, signature, values):
        items = cgutils.unpack_tuple(builder, values[2])
        step = context.cast(builder, values[1], signature.args[1], types.int64)

        def piece(builder, fields, number, place):
            *given, step = fields
            for position in arrays:
                array = context.make_array(arguments[position])(context, builder, given[position])
                first = builder.mul(number, step)
                left = builder.sub(array.nitems, first)
                count = builder.select(builder.icmp_signed("<", step, left), step, left)
                array.data = builder.gep(array.data, [first])
                array.shape, array.nitems = cgutils.pack_array(builder, [count]), count
                given[position] = array._getvalue()
            return given

        first = context.make_array(arguments[arrays[0]])(context, builder, items[arrays[0]])
        one = ir.Constant(step.type, 1)
        count = builder.sdiv(builder.add(first.nitems, builder.sub(step, one)), step)
        handed_out(context, builder, function, called, [*items, step], count, piece)
        return context.get_dummy_value()

    return types.void(function, size, arguments), generate


def parallel_call(typing_context, function, count, arguments, numbers):
    """The signature of such a call, and how it is written; ``numbers`` are what a part is told of
    itself."""
    if not isinstance(arguments, types.BaseTuple) or not isinstance(count, types.Integer):
        raise TypingError(f"in_parallel takes a count and a tuple, not {count} and {arguments}")
    called = call_of_part(typing_context, function, (*[types.int64] * numbers, *arguments))

    def generate(context, builder, signature, values):
        items = cgutils.unpack_tuple(builder, values[2])
        number = context.cast(builder, values[1], signature.args[1], types.int64)
        handed_out(
            context, builder, function, called, items, number,
            lambda builder, fields, *told: [*told[:numbers], *fields],
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(function, count, arguments), generate


def call_of_part(typing_context, function, arguments):
    """The signature of a compiled function that does a part."""
    if not isinstance(function, types.Dispatcher):
        raise TypingError(f"in_parallel takes a compiled function, not {function}")
    called = function.get_call_type(typing_context, arguments, {})
    if called.return_type != types.none:
        raise TypingError(f"a part returns nothing, not {called.return_type}")
    return called


def handed_out(context, builder, function, called, items, count, arguments):
    """Write the call of a compiled function for each of ``count`` parts, with the arguments that
    ``part_function`` is told to make of ``items``; an error of one is raised once all are done."""
    compiled = function.dispatcher.get_compile_result(called)
    context.active_code_library.add_linking_library(compiled.library)
    record, kind = pack_record(builder, [*items, ir.Constant(ir.IntType(64), 0)])
    part = part_function(context, builder.module, compiled.fndesc, called, kind, arguments)
    run_parts(builder, part, builder.bitcast(record, cgutils.voidptr_t), count)
    propagate_error(context, builder, cgutils.gep_inbounds(builder, record, 0, len(items)))


def pack_record(builder, items):
    """A record on the stack with what the parts are given."""
    kind = ir.LiteralStructType([item.type for item in items])
    record = cgutils.alloca_once(builder, kind)
    for position, item in enumerate(items):
        builder.store(item, cgutils.gep_inbounds(builder, record, 0, position))
    return record, kind


def part_function(context, module, description, called, record_type, arguments):
    """``void part(void *record, int64_t number, int64_t place)``, which the threads call: a function
    with the ``arguments(builder, fields of the record, number, place)``."""
    word = ir.IntType(64)
    kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word])
    part = ir.Function(module, kind, module.get_unique_name("staticgrad_part"))
    part.linkage = "internal"
    # that no other arrays share the memory of a part's is not so among those of its caller
    part.attributes.add("noinline")
    builder = ir.IRBuilder(part.append_basic_block())
    record = builder.bitcast(part.args[0], record_type.as_pointer())
    fields = [
        cgutils.gep_inbounds(builder, record, 0, position)
        for position in range(len(record_type.elements))
    ]
    items = [builder.load(field) for field in fields[:-1]]
    given = arguments(builder, items, *part.args[1:])
    status, _ = context.call_internal_no_propagate(builder, description, called, given)
    with builder.if_then(status.is_error, likely=False):
        # the first error stays
        error = builder.ptrtoint(status.excinfoptr, word)
        builder.cmpxchg(fields[-1], ir.Constant(word, 0), error, "acq_rel", "acquire")
    builder.ret_void()
    return part


def run_parts(builder, part, record, count, alone=None):
    """Hand the parts to the pool, or run them one after the other: ``alone()`` writes that where there
    is a better way than part by part."""
    module, word = builder.module, ir.IntType(64)
    if POOL in module.globals:
        pool = module.globals[POOL]
    else:
        pool = ir.GlobalVariable(module, word, POOL)
        pool.linkage = "external"
    address = builder.load_atomic(pool, "acquire", 8)
    several = builder.icmp_signed(">", count, ir.Constant(word, 1))
    available = builder.icmp_unsigned("!=", address, ir.Constant(word, 0))
    with builder.if_else(builder.and_(several, available)) as (threads, otherwise):
        with threads:
            kind = ir.FunctionType(ir.VoidType(), [part.type, cgutils.voidptr_t, word])
            run = builder.inttoptr(address, kind.as_pointer())
            builder.call(run, [part, record, count])
        with otherwise:
            if alone is not None:
                alone()
            else:
                with cgutils.for_range(builder, count) as loop:
                    builder.call(part, [record, loop.index, ir.Constant(word, 0)])


def propagate_error(context, builder, place):
    """Raise what a part raised."""
    error = builder.load(place)
    with builder.if_then(cgutils.is_not_null(builder, error), likely=False):
        convention = context.call_conv
        kind = convention._get_excinfo_argument(builder.function).type.pointee
        status = convention._get_return_status(
            builder, RETCODE_USEREXC, builder.inttoptr(error, kind)
        )
        convention.return_status_propagate(builder, status)


@intrinsic
def first_of(typing_context, number, size):
    """``number * size`` for numbers of parts. LLVM can tell that it is not negative, as an index is
    that does not count from the end."""

    def generate(context, builder, signature, values):
        factors = [
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(values, signature.args, strict=True)
        ]
        return builder.and_(builder.mul(*factors), ir.Constant(ir.IntType(64), 2**63 - 1))

    return types.int64(number, size), generate
