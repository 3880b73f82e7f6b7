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

    def pass_over_rows(products_of):
        """Results for as many rows at a time as a vector has lanes, of the vector of products that
        belongs to each row."""
        with cgutils.for_range_slice(builder, INDEX(0), rows, lanes) as (i, _):
            left = builder.sub(rows, i)
            starts = []
            for r in range(kit.lanes):
                # rows beyond the last are copies of it, whose results are not stored
                row = builder.add(i, smaller(builder, INDEX(r), builder.sub(left, INDEX(1))))
                starts.append(builder.gep(a, [builder.mul(row, columns)]))
            result = sums_of_rows(kit, builder, products_of(starts))
            kit.store_some(builder, result, builder.gep(out, [i]), kit.lanes_below(builder, left))

    # all that is needed of x stays in registers, if there are not too many rows beside it
    for vectors in (1, 2) if kit.lanes <= 8 else (1,):
        with builder.if_then(builder.icmp_signed("<=", columns, INDEX(vectors * kit.lanes))):
            pieces = [
                (j, mask, kit.load_some(builder, builder.gep(x, [j]), mask))
                for j, mask in masks_of(kit, builder, columns, vectors)
            ]

            def few(starts, pieces=pieces):
                for start in starts:
                    total = kit.zero
                    for j, mask, factor in pieces:
                        part = kit.load_some(builder, builder.gep(start, [j]), mask)
                        total = kit.multiply_add(builder, part, factor, total)
                    yield total

            pass_over_rows(few)
            builder.ret_void()
    totals = [builder.alloca(kit.type) for _ in range(kit.lanes)]

    def many(starts):
        for total in totals:
            builder.store(kit.zero, total)
        with cgutils.for_range_slice(builder, INDEX(0), columns, lanes) as (j, _):
            mask = kit.lanes_below(builder, builder.sub(columns, j))
            factor = kit.load_some(builder, builder.gep(x, [j]), mask)
            for start, total in zip(starts, totals, strict=True):
                part = kit.load_some(builder, builder.gep(start, [j]), mask)
                new = kit.multiply_add(builder, part, factor, builder.load(total))
                builder.store(new, total)
        return [builder.load(total) for total in totals]

    pass_over_rows(many)
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
    sums = [[builder.alloca(kit.type) for _ in range(2)] for _ in range(CHAINS)]
    whole = builder.sub(rows, builder.srem(rows, INDEX(CHAINS)))

    def add_row(pieces, i, totals):
        row = builder.gep(a, [builder.mul(i, columns)])
        factor = kit.spread(builder, builder.load(builder.gep(x, [i])))
        for (j, mask), total in zip(pieces, totals, strict=False):
            part = kit.load_some(builder, builder.gep(row, [j]), mask)
            builder.store(kit.multiply_add(builder, part, factor, builder.load(total)), total)

    def pass_over_rows(pieces):
        """Sums over all rows, for one or two vectors of columns."""
        for v, (j, mask) in enumerate(pieces):
            for totals in sums:
                builder.store(kit.zero, totals[v])
            with builder.if_then(accumulate):
                builder.store(kit.load_some(builder, builder.gep(out, [j]), mask), sums[0][v])
        with cgutils.for_range_slice(builder, INDEX(0), whole, INDEX(CHAINS)) as (i, _):
            for r, totals in enumerate(sums):
                add_row(pieces, builder.add(i, INDEX(r)), totals)
        with cgutils.for_range_slice(builder, whole, rows, INDEX(1)) as (i, _):
            add_row(pieces, i, sums[0])
        for v, (j, mask) in enumerate(pieces):
            result = builder.load(sums[0][v])
            for totals in sums[1:]:
                result = builder.fadd(result, builder.load(totals[v]))
            kit.store_some(builder, result, builder.gep(out, [j]), mask)

    # rows of two vectors are read once; of longer ones, a vector of columns at a time
    more = builder.icmp_signed(">", columns, INDEX(kit.lanes))
    two = builder.and_(more, builder.icmp_signed("<=", columns, INDEX(kit.width)))
    with builder.if_then(two):
        pass_over_rows(masks_of(kit, builder, columns, 2))
        builder.ret_void()
    with cgutils.for_range_slice(builder, INDEX(0), columns, INDEX(kit.lanes)) as (first, _):
        pass_over_rows([(first, kit.lanes_below(builder, builder.sub(columns, first)))])
    builder.ret_void()
    return made


def masks_of(kit, builder, columns, vectors):
    """Where the vectors of a row begin, and the mask of each: None for all but the last."""
    last = INDEX((vectors - 1) * kit.lanes)
    whole = [(INDEX(v * kit.lanes), None) for v in range(vectors - 1)]
    return [*whole, (last, kit.lanes_below(builder, builder.sub(columns, last)))]


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
