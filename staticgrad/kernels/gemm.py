"""Matrix products of C-contiguous matrices: blocks of the result that stay in vector registers.

``out = a @ b`` is computed as Goto and van de Geijn ("Anatomy of high-performance matrix
multiplication", 2008) have it, cut down to what matrices need that lie in a cache anyway: columns of
``b`` are packed into a panel that fits into the L1 cache, and blocks of ROWS x 2 vectors of the result
are accumulated in registers along the panel, each element of ``a`` spread over a vector. Written as
LLVM, since no loop that Numba could be given keeps a block of accumulators in registers. Each routine
is one function in the machine code, however many products call it. Large products go to several
threads; a row of the result has the same bits whoever computes it.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.kernels.parallel import pack_record, run_parts
from staticgrad.kernels.vectors import (
    BAND,
    DEPTH,
    FLAG,
    INDEX,
    ROWS,
    VECTOR_BYTES,
    Vectors,
    function,
    larger,
    smaller,
)

#: multiplications of a part, at least, some 5 microseconds: handing it over takes half of one, but then
#: what the part has computed lies in another core's cache
PART = 2**18
#: into how many parts a product is shared out at most
PARTS = 16


def block_function(module, number, height, vectors):
    """(a, a's steps along rows and columns, panel, its row step, c, its row step, depth, rows, columns,
    accumulate): up to ``height`` rows of ``a`` times ``vectors`` vectors of a panel into c. Rows beyond
    the last are copies of it; columns beyond the last are not stored."""
    kit = Vectors(number)
    made, builder = function(
        module, f"staticgrad_block_{height}x{vectors}_f{kit.bits}",
        [kit.pointer, INDEX, INDEX, kit.pointer, INDEX, kit.pointer, INDEX, INDEX, INDEX, INDEX,
         FLAG],
    )  # fmt: skip
    if builder is None:
        return made
    a, row_step, column_step, panel, panel_step, c, c_step, depth, rows, columns, accumulate = made.args
    last = builder.sub(rows, INDEX(1))
    numbers = [smaller(builder, INDEX(i), last) for i in range(height)]
    starts = [builder.gep(a, [builder.mul(row_step, i)]) for i in numbers]
    entry, loop = builder.block, made.append_basic_block("loop")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, offset, place = (builder.phi(kind) for kind in (INDEX, INDEX, kit.pointer))
    totals = [[builder.phi(kit.type) for _ in range(vectors)] for _ in range(height)]
    operands = [kit.load(builder, builder.gep(place, [INDEX(v * kit.lanes)])) for v in range(vectors)]
    sums = []
    for start, row in zip(starts, totals, strict=True):
        element = kit.spread(builder, builder.load(builder.gep(start, [offset])))
        pairs = zip(operands, row, strict=True)
        sums.append([kit.multiply_add(builder, element, column, total) for column, total in pairs])
    following = (
        builder.add(k, INDEX(1)), builder.add(offset, column_step),
        builder.gep(place, [panel_step]),
    )  # fmt: skip
    for phi, first, new in zip((k, offset, place), (INDEX(0), INDEX(0), panel), following, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(new, loop)
    for row, new_row in zip(totals, sums, strict=True):
        for phi, new in zip(row, new_row, strict=True):
            phi.add_incoming(kit.zero, entry)
            phi.add_incoming(new, loop)
    done = made.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", following[0], depth), loop, done)
    builder.position_at_end(done)
    targets = [
        [builder.gep(c, [builder.add(builder.mul(c_step, i), INDEX(v * kit.lanes))])
         for v in range(vectors)]
        for i in numbers
    ]  # fmt: skip
    full = builder.icmp_signed(">=", columns, INDEX(vectors * kit.lanes))
    with builder.if_else(full) as (whole, part):
        with whole:
            store_rows(builder, kit, targets, sums, accumulate, [None] * vectors)
        with part:
            masks = [kit.lanes_below(builder, builder.sub(columns, INDEX(v * kit.lanes)))
                     for v in range(vectors)]  # fmt: skip
            store_rows(builder, kit, targets, sums, accumulate, masks)
    builder.ret_void()
    return made


def store_rows(builder, kit, targets, sums, accumulate, masks):
    """Store vectors, or add them to what is there, in the lanes that the masks leave."""
    with builder.if_else(accumulate) as (adding, storing):
        with adding:
            # all are read before the first is written: copies of the last row are added once
            old = [
                [kit.load_some(builder, t, m) for t, m in zip(row, masks, strict=True)]
                for row in targets
            ]
            for row, old_row, new_row in zip(targets, old, sums, strict=True):
                for target, one, other, mask in zip(row, old_row, new_row, masks, strict=True):
                    kit.store_some(builder, builder.fadd(one, other), target, mask)
        with storing:
            for row, new_row in zip(targets, sums, strict=True):
                for target, new, mask in zip(row, new_row, masks, strict=True):
                    kit.store_some(builder, new, target, mask)


def pack_function(module, number):
    """(b, b's steps along rows and columns, panel, depth, columns): a panel of ``b``, each row filled
    up with zeros."""
    kit = Vectors(number)
    made, builder = function(
        module, f"staticgrad_pack_f{kit.bits}",
        [kit.pointer, INDEX, INDEX, kit.pointer, INDEX, INDEX],
    )  # fmt: skip
    if builder is None:
        return made
    b, row_step, column_step, panel, depth, columns = made.args
    one, full = INDEX(1), builder.icmp_signed("==", columns, INDEX(kit.width))
    by_rows = builder.and_(full, builder.icmp_signed("==", column_step, one))
    with builder.if_then(by_rows):
        with cgutils.for_range(builder, depth) as loop:
            source = builder.gep(b, [builder.mul(loop.index, row_step)])
            target = builder.gep(panel, [builder.mul(loop.index, INDEX(kit.width))])
            for v in (0, kit.lanes):
                vector = kit.load(builder, builder.gep(source, [INDEX(v)]))
                kit.store(builder, vector, builder.gep(target, [INDEX(v)]))
        builder.ret_void()
    crosswise = builder.icmp_signed("==", row_step, one)
    # whole squares of rows and columns that lie crosswise; then what is left of the rows
    side = INDEX(kit.side)
    squares = builder.select(crosswise, builder.sdiv(depth, side), INDEX(0))
    halves = builder.sdiv(columns, side)
    with cgutils.for_range(builder, squares) as down, cgutils.for_range(builder, halves) as across:
        k, j = builder.mul(down.index, side), builder.mul(across.index, side)
        corner = builder.gep(b, [builder.add(k, builder.mul(j, column_step))])
        rows = [
            kit.load(builder, builder.gep(corner, [builder.mul(INDEX(i), column_step)]), kit.square)
            for i in range(kit.side)
        ]
        place = builder.gep(panel, [builder.add(builder.mul(k, INDEX(kit.width)), j)])
        for i, vector in enumerate(kit.transposed(builder, rows)):
            kit.store(builder, vector, builder.gep(place, [INDEX(i * kit.width)]))
    packed_rows = builder.mul(squares, side)
    packed_columns = builder.mul(halves, side)
    with cgutils.for_range(builder, depth) as loop:
        k = loop.index
        whole = builder.icmp_signed("<", k, packed_rows)
        first = builder.select(whole, packed_columns, INDEX(0))
        row = builder.gep(panel, [builder.mul(k, INDEX(kit.width))])
        source = builder.gep(b, [builder.mul(k, row_step)])
        with cgutils.for_range_slice(builder, first, columns, one) as (j, _):
            value = builder.load(builder.gep(source, [builder.mul(j, column_step)]))
            builder.store(value, builder.gep(row, [j]))
        with cgutils.for_range_slice(builder, columns, INDEX(kit.width), one) as (j, _):
            builder.store(ir.Constant(number, 0.0), builder.gep(row, [j]))
    builder.ret_void()
    return made


def product_arguments(kit):
    """The types of (a, its steps, b, its steps, c, its row step, rows, columns, depth, accumulate)."""
    return [kit.pointer, INDEX, INDEX] * 2 + [kit.pointer, INDEX, INDEX, INDEX, INDEX, FLAG]


def product_function(module, number):
    """A product; see ``product_arguments``."""
    kit = Vectors(number)
    multiply = blocks_function(module, number)
    pack = pack_function(module, number)
    made, builder = function(module, f"staticgrad_product_f{kit.bits}", product_arguments(kit))
    if builder is None:
        return made
    a, a_row, a_column, b, b_row, b_column, c, c_step, rows, columns, depth, accumulate = made.args
    zero, one, width = INDEX(0), INDEX(1), INDEX(kit.width)
    room = builder.alloca(ir.ArrayType(number, DEPTH * kit.width))
    room.align = VECTOR_BYTES
    room = builder.gep(room, [zero, zero])
    empty = builder.and_(builder.icmp_signed("==", depth, zero), builder.not_(accumulate))
    with builder.if_then(empty, likely=False):
        with cgutils.for_range(builder, rows) as down, cgutils.for_range(builder, columns) as across:
            place = builder.add(builder.mul(down.index, c_step), across.index)
            builder.store(ir.Constant(number, 0.0), builder.gep(c, [place]))
        builder.ret_void()
    # panels of nearly equal depth; as many side by side as there is room for
    count = builder.sdiv(builder.add(depth, INDEX(DEPTH - 1)), INDEX(DEPTH))
    share = builder.sdiv(builder.add(depth, builder.sub(count, one)), larger(builder, count, one))
    share = larger(builder, share, one)
    group = builder.mul(width, builder.sdiv(INDEX(DEPTH), share))
    # a few rows are not worth packing b for, where its rows lie as a panel's do
    direct = builder.icmp_signed("<=", rows, INDEX(2 * ROWS))
    direct = builder.and_(direct, builder.icmp_signed("==", b_column, one))
    whole = builder.mul(builder.sdiv(columns, width), width)
    with (
        cgutils.for_range_slice(builder, zero, rows, INDEX(BAND)) as (i, _),
        cgutils.for_range_slice(builder, zero, depth, share) as (k, _),
    ):
        height = smaller(builder, INDEX(BAND), builder.sub(rows, i))
        these = smaller(builder, share, builder.sub(depth, k))
        adds = builder.or_(accumulate, builder.icmp_signed(">", k, zero))
        start = builder.gep(a, [builder.add(builder.mul(i, a_row), builder.mul(k, a_column))])
        source = builder.gep(b, [builder.mul(k, b_row)])
        target = builder.gep(c, [builder.mul(i, c_step)])
        left = [start, a_row, a_column]
        with builder.if_then(direct):
            # from one vector pair of columns to the next
            operands = [*left, source, b_row, width, target, c_step, these, height, whole, adds]
            builder.call(multiply, operands)
        first = builder.select(direct, whole, zero)
        with cgutils.for_range_slice(builder, first, columns, group) as (j, _):
            across = smaller(builder, group, builder.sub(columns, j))
            with cgutils.for_range_slice(builder, zero, across, width) as (p, _):
                place = builder.gep(source, [builder.mul(builder.add(j, p), b_column)])
                part = smaller(builder, width, builder.sub(across, p))
                panel = builder.gep(room, [builder.mul(p, these)])
                builder.call(pack, [place, b_row, b_column, panel, these, part])
            place = builder.gep(target, [j])
            next_panel = builder.mul(width, these)
            operands = [*left, room, width, next_panel, place, c_step, these, height, across, adds]
            builder.call(multiply, operands)
    builder.ret_void()
    return made


def blocks_function(module, number):
    """(a, its steps, panels, their row step, from one to the next, c, its row step, depth, rows,
    columns, accumulate): a band of rows of ``a`` times panels that lie side by side."""
    kit = Vectors(number)
    blocks = {
        (height, vectors): block_function(module, number, height, vectors)
        for height in (ROWS, 2) for vectors in (2, 1)
    }  # fmt: skip
    made, builder = function(
        module, f"staticgrad_blocks_f{kit.bits}",
        [kit.pointer, INDEX, INDEX, kit.pointer, INDEX, INDEX, kit.pointer, INDEX, INDEX, INDEX,
         INDEX, FLAG],
    )  # fmt: skip
    if builder is None:
        return made
    a, a_row, a_column, panels, panel_step, next_panel, c, c_step = made.args[:8]
    depth, rows, columns, accumulate = made.args[8:]
    zero, width = INDEX(0), INDEX(kit.width)
    with (
        cgutils.for_range_slice(builder, zero, rows, INDEX(ROWS)) as (i, _),
        cgutils.for_range_slice(builder, zero, columns, width) as (j, _),
    ):
        height = smaller(builder, INDEX(ROWS), builder.sub(rows, i))
        part = smaller(builder, width, builder.sub(columns, j))
        is_narrow = builder.icmp_signed("<=", part, INDEX(kit.lanes))
        start = builder.gep(a, [builder.mul(i, a_row)])
        panel = builder.gep(panels, [builder.mul(builder.sdiv(j, width), next_panel)])
        target = builder.gep(c, [builder.add(builder.mul(i, c_step), j)])
        operands = [start, a_row, a_column, panel, panel_step, target, c_step, depth, height, part]
        operands.append(accumulate)
        with builder.if_else(builder.icmp_signed("<=", height, INDEX(2))) as (low, high):
            for branch, tall in ((low, 2), (high, ROWS)):
                with branch, builder.if_else(is_narrow) as (narrow, wide):
                    with narrow:
                        builder.call(blocks[tall, 1], operands)
                    with wide:
                        builder.call(blocks[tall, 2], operands)
    builder.ret_void()
    return made


def gemm(transpose_a, transpose_b):
    """An intrinsic ``(a, b, out)`` that stores the product of two matrices, each as it lies or
    transposed."""

    def typed(typing_context, a, b, out):
        return product_type(transpose_a, transpose_b, a, b, out)

    return typed


def gemm_sum(transpose_a, transpose_b):
    """An intrinsic ``(a, b, out, adds)`` that stores the product, or adds it to ``out``."""

    def typed(typing_context, a, b, out, adds):
        if not isinstance(adds, types.Boolean):
            raise TypingError(f"whether to add is a boolean, not {adds}")
        return product_type(transpose_a, transpose_b, a, b, out, adds)

    return typed


def product_type(transpose_a, transpose_b, a, b, out, *adds):
    """The signature of a product, and how its call is written."""
    for array in (a, b, out):
        if not (isinstance(array, types.Array) and array.ndim == 2 and array.layout == "C"):
            raise TypingError(f"matmul takes C-contiguous matrices, not {array}")
    if not (a.dtype == b.dtype == out.dtype and out.dtype in (types.float32, types.float64)):
        raise TypingError(f"matmul takes floats of one type, not {a}, {b} and {out}")

    def generate(context, builder, signature, arguments):
        a, b, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        number = context.get_data_type(signature.args[2].dtype)
        steps = [steps_of(builder, a, transpose_a), steps_of(builder, b, transpose_b)]
        rows, columns = cgutils.unpack_tuple(builder, out.shape)
        depth = cgutils.unpack_tuple(builder, a.shape)[0 if transpose_a else 1]
        operands = [a.data, *steps[0], b.data, *steps[1], out.data, columns, rows, columns, depth]
        adds = FLAG(0)
        if len(arguments) > 3:
            adds = context.cast(builder, arguments[3], signature.args[3], types.boolean)
        builder.call(shared_product_function(builder.module, number), [*operands, adds])
        return context.get_dummy_value()

    return types.void(a, b, out, *adds), generate


def shared_product_function(module, number):
    """The same as ``product_function``, in parts if it is worth it: of the columns, or of the rows
    where there are few columns. The bits are the same for any parts."""
    kit, one = Vectors(number), INDEX(1)
    product = product_function(module, number)
    made, builder = function(
        module, f"staticgrad_shared_product_f{kit.bits}", product_arguments(kit)
    )
    if builder is None:
        return made
    rows, columns, depth = made.args[8:11]
    volume = builder.mul(rows, builder.mul(columns, depth))
    parts = smaller(builder, builder.sdiv(volume, INDEX(PART)), INDEX(PARTS))
    by_columns = builder.icmp_signed(">=", columns, INDEX(2 * kit.width))
    length = builder.select(by_columns, columns, rows)
    grain = builder.select(by_columns, INDEX(kit.width), INDEX(ROWS))
    share = ceiling(builder, length, larger(builder, parts, one))
    share = builder.mul(ceiling(builder, share, grain), grain)
    count = ceiling(builder, length, larger(builder, share, one))
    record, kind = pack_record(builder, [*made.args, by_columns, share])
    run_parts(
        builder, part_of_product(module, number, kind), builder.bitcast(record, cgutils.voidptr_t),
        count, lambda: builder.call(product, made.args),
    )  # fmt: skip
    builder.ret_void()
    return made


def ceiling(builder, dividend, divisor):
    """The quotient, rounded up, of numbers that are not negative."""
    return builder.sdiv(builder.add(dividend, builder.sub(divisor, INDEX(1))), divisor)


def part_of_product(module, number, kind):
    """``void part(void *record, int64_t number, int64_t place)``: some columns or rows of a product."""
    bits = Vectors(number).bits
    product = product_function(module, number)
    made, builder = function(
        module, f"staticgrad_part_of_product_f{bits}", [cgutils.voidptr_t, INDEX, INDEX]
    )
    if builder is None:
        return made
    record = builder.bitcast(made.args[0], kind.as_pointer())
    fields = [
        builder.load(cgutils.gep_inbounds(builder, record, 0, position))
        for position in range(len(kind.elements))
    ]
    a, a_row, a_column, b, b_row, b_column, c, c_step, rows, columns, depth, adds = fields[:12]
    by_columns, share = fields[12:]
    first = builder.mul(made.args[1], share)
    zero = INDEX(0)
    i, j = builder.select(by_columns, zero, first), builder.select(by_columns, first, zero)
    count = [
        smaller(builder, builder.select(chosen, share, size), builder.sub(size, start))
        for chosen, size, start in ((builder.not_(by_columns), rows, i), (by_columns, columns, j))
    ]
    a, b = builder.gep(a, [builder.mul(i, a_row)]), builder.gep(b, [builder.mul(j, b_column)])
    c = builder.gep(c, [builder.add(builder.mul(i, c_step), j)])
    builder.call(product, [a, a_row, a_column, b, b_row, b_column, c, c_step, *count, depth, adds])
    builder.ret_void()
    return made


def steps_of(builder, matrix, transposed):
    """How far apart in memory neighbours in a column and in a row are, counted in elements."""
    steps = [cgutils.unpack_tuple(builder, matrix.shape)[1], INDEX(1)]
    return steps[::-1] if transposed else steps


matmul = intrinsic(gemm(False, False))
#: ``a.T @ b``
matmul_tn = intrinsic(gemm(True, False))
#: ``a @ b.T``
matmul_nt = intrinsic(gemm(False, True))
#: ``a.T @ b.T``
matmul_tt = intrinsic(gemm(True, True))
#: the same, added to what ``out`` holds if the fourth argument says so
matmul_sum = intrinsic(gemm_sum(False, False))
matmul_tn_sum = intrinsic(gemm_sum(True, False))
matmul_nt_sum = intrinsic(gemm_sum(False, True))
matmul_tt_sum = intrinsic(gemm_sum(True, True))
