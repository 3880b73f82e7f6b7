"""Products of a tall C-contiguous matrix and a vector, for matrices with few columns.

A row is shorter than a few vector registers. ``matvec`` multiplies as many rows at a time as a vector
has lanes, and adds up each row's products crosswise, so that a vector of results comes out;
``matvec_t`` keeps sums of several rows in registers.
"""

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.kernels.vectors import FLAG, INDEX, Vectors, function, smaller

#: rows whose products are added up side by side, to hide the latency of an addition
CHAINS = 4


def sums_of_rows(kit, builder, rows):
    """A vector of the sums of as many vectors as lanes: halves are added until one is left."""
    rows, step, lanes = list(rows), 1, range(kit.lanes)
    while len(rows) > 1:
        pairs = zip(rows[::2], rows[1::2], strict=True)
        low = [p + kit.lanes - step if p & step else p for p in lanes]
        high = [p + kit.lanes if p & step else p + step for p in lanes]
        rows = [
            builder.fadd(
                kit.shuffle(builder, one, other, low), kit.shuffle(builder, one, other, high)
            )
            for one, other in pairs
        ]
        step *= 2
    return rows[0]


def matvec_function(module, number):
    """(a, x, out, rows, columns)."""
    kit = Vectors(number)
    made, builder = function(
        module, f"staticgrad_matvec_f{kit.bits}", [kit.pointer] * 3 + [INDEX, INDEX]
    )
    if builder is None:
        return made
    a, x, out, rows, columns = made.args
    lanes = INDEX(kit.lanes)
    totals = [builder.alloca(kit.type) for _ in range(kit.lanes)]
    with cgutils.for_range_slice(builder, INDEX(0), rows, lanes) as (i, _):
        left = builder.sub(rows, i)
        starts = []
        for r in range(kit.lanes):
            # rows beyond the last are copies of it, whose results are not stored
            row = builder.add(i, smaller(builder, INDEX(r), builder.sub(left, INDEX(1))))
            starts.append(builder.gep(a, [builder.mul(row, columns)]))
            builder.store(kit.zero, totals[r])
        with cgutils.for_range_slice(builder, INDEX(0), columns, lanes) as (j, _):
            mask = kit.lanes_below(builder, builder.sub(columns, j))
            factor = kit.load_some(builder, builder.gep(x, [j]), mask)
            for start, total in zip(starts, totals, strict=True):
                part = kit.load_some(builder, builder.gep(start, [j]), mask)
                new = kit.multiply_add(builder, part, factor, builder.load(total))
                builder.store(new, total)
        result = sums_of_rows(kit, builder, [builder.load(total) for total in totals])
        kit.store_some(builder, result, builder.gep(out, [i]), kit.lanes_below(builder, left))
    builder.ret_void()
    return made


def matvec_t_function(module, number):
    """(a, x, out, rows, columns, accumulate)."""
    kit = Vectors(number)
    made, builder = function(
        module, f"staticgrad_matvec_t_f{kit.bits}", [kit.pointer] * 3 + [INDEX, INDEX, FLAG]
    )
    if builder is None:
        return made
    a, x, out, rows, columns, accumulate = made.args
    totals = [builder.alloca(kit.type) for _ in range(CHAINS)]
    whole = builder.sub(rows, builder.srem(rows, INDEX(CHAINS)))
    with cgutils.for_range_slice(builder, INDEX(0), columns, INDEX(kit.lanes)) as (j, _):
        mask = kit.lanes_below(builder, builder.sub(columns, j))
        target = builder.gep(out, [j])
        for total in totals:
            builder.store(kit.zero, total)
        with builder.if_then(accumulate):
            builder.store(kit.load_some(builder, target, mask), totals[0])

        def add_row(i, total, j=j, mask=mask):
            place = builder.gep(a, [builder.add(builder.mul(i, columns), j)])
            factor = kit.spread(builder, builder.load(builder.gep(x, [i])))
            part = kit.load_some(builder, place, mask)
            builder.store(kit.multiply_add(builder, part, factor, builder.load(total)), total)

        with cgutils.for_range_slice(builder, INDEX(0), whole, INDEX(CHAINS)) as (i, _):
            for r, total in enumerate(totals):
                add_row(builder.add(i, INDEX(r)), total)
        with cgutils.for_range_slice(builder, whole, rows, INDEX(1)) as (i, _):
            add_row(i, totals[0])
        result = builder.load(totals[0])
        for total in totals[1:]:
            result = builder.fadd(result, builder.load(total))
        kit.store_some(builder, result, target, mask)
    builder.ret_void()
    return made


def check_operands(a, x, out):
    for array in (a, x, out):
        if not (isinstance(array, types.Array) and array.ndim == 2 and array.layout == "C"):
            raise TypingError(f"matvec takes C-contiguous matrices, not {array}")
    if not (a.dtype == x.dtype == out.dtype and out.dtype in (types.float32, types.float64)):
        raise TypingError(f"matvec takes floats of one type, not {a}, {x} and {out}")


def operands_of(context, builder, signature, arguments):
    """The addresses, the rows and the columns of a, and its element type."""
    a, x, out = (
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
    )
    rows, columns = cgutils.unpack_tuple(builder, a.shape)
    return [a.data, x.data, out.data, rows, columns], context.get_data_type(signature.args[0].dtype)


@intrinsic
def matvec(typing_context, a, x, out):
    """``out = a @ x`` for a matrix with few columns and one column ``x``."""
    check_operands(a, x, out)

    def generate(context, builder, signature, arguments):
        operands, number = operands_of(context, builder, signature, arguments)
        builder.call(matvec_function(builder.module, number), operands)
        return context.get_dummy_value()

    return types.void(a, x, out), generate


def transposed(typing_context, a, x, out, *adds):
    check_operands(a, x, out)

    def generate(context, builder, signature, arguments):
        operands, number = operands_of(context, builder, signature, arguments)
        flag = FLAG(0)
        if adds:
            flag = context.cast(builder, arguments[3], signature.args[3], types.boolean)
        builder.call(matvec_t_function(builder.module, number), [*operands, flag])
        return context.get_dummy_value()

    return types.void(a, x, out, *adds), generate


@intrinsic
def matvec_t(typing_context, a, x, out):
    """``out = a.T @ x`` for a matrix with few columns and one column ``x``."""
    return transposed(typing_context, a, x, out)


@intrinsic
def matvec_t_sum(typing_context, a, x, out, adds):
    """The same, added to what ``out`` holds if ``adds`` says so."""
    return transposed(typing_context, a, x, out, adds)
