"""Convolutions, transposed convolutions, and the correlations that are the adjoints of kernels.

All three come from one sum, of x[n, c, s y + d k - p] weight[o, c, k] out[n, o, y], which is linear in
each of its factors: a routine computes what multiplies the factor that it is not given. How it does is
said in ``tiles``.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.kernels.tiles import (
    CHANNELS,
    SUMS,
    TAPS,
    copy_function,
    correlate_function,
    enter_places,
    grid_room,
    pack_weights_function,
    tiles_function,
)
from staticgrad.kernels.vectors import INDEX
from staticgrad.kernels.writer import least, most, planar, quotient, remainder, routine, whole_lines
from staticgrad.vectormath.straightline import select

#: x, weight, out, scratch and its size; batch, channels, height, width; outputs, the kernel's height
#: and width; the result's; strides, padding, dilations and groups
SIGNATURE = "ffffi" + "i" * 16


class Shapes:
    """The sizes in a convolution. ``grid`` is what the positions take up together with what the last
    window reaches beyond them."""

    def __init__(self, sizes):
        self.batch, self.channels, *size, self.outputs, k_y, k_x, o_y, o_x = sizes[:9]
        self.size, self.kernel, self.positions = tuple(size), (k_y, k_x), (o_y, o_x)
        self.strides, self.padding = tuple(sizes[9:11]), tuple(sizes[11:13])
        self.dilations, self.groups = tuple(sizes[13:15]), sizes[15]
        self.inner = quotient(self.channels, self.groups)
        self.outer = quotient(self.outputs, self.groups)
        self.taps = k_y * k_x
        self.depth = self.inner * self.taps
        self.area, self.result_area = self.size[0] * self.size[1], o_y * o_x
        triples = zip(self.kernel, self.dilations, self.strides, strict=True)
        self.reach = [quotient((k - 1) * d, s) for k, d, s in triples]
        self.grid = [o + reach for o, reach in zip(self.positions, self.reach, strict=True)]
        #: the elements of a channel that is spread over images of every s-th row and column
        self.plane = self.strides[0] * self.strides[1] * self.grid[0] * self.grid[1]

    def enter_offsets(self, w, offsets):
        """Where the elements of a window lie in the spread image."""
        (s_y, s_x), (d_y, d_x) = self.strides, self.dilations
        with w.loop(self.inner) as c, w.loop(self.kernel[0]) as k, w.loop(self.kernel[1]) as l:
            y, x = k * d_y, l * d_x
            image = (c * s_y + remainder(y, s_y)) * s_x + remainder(x, s_x)
            place = (image * self.grid[0] + quotient(y, s_y)) * self.grid[1] + quotient(x, s_x)
            w.enter(place, offsets, (c * self.kernel[0] + k) * self.kernel[1] + l)

    def spread(self, w, copy, x, image):
        """Copy the channels of a group among zeros, apart into images of every s-th row and column."""
        with w.loop(self.strides[0]) as a, w.loop(self.strides[1]) as b:
            first, count, source = [], [], []
            for k, s, p, size, room in zip(
                (a, b), self.strides, self.padding, self.size, self.grid, strict=True
            ):
                first.append(quotient(p - k + s - 1, s))
                count.append(least(quotient(size + p - k + s - 1, s), room) - first[-1])
                source.append(s * first[-1] + k - p)
            target = (a * self.strides[1] + b) * self.grid[0] + first[0]
            w.call(
                copy, w.at(x, source[0] * self.size[1] + source[1]), self.area,
                self.strides[0] * self.size[1], self.strides[1],
                w.at(image, target * self.grid[1] + first[1]), self.plane, self.grid[1], 1,
                self.inner, *count,
            )  # fmt: skip


def convolve_function(module, number):
    """``out`` from ``x`` and ``weight``."""
    copy, pack = copy_function(module, number), pack_weights_function(module, number)
    tiles = tiles_function(module, number)
    made, w, arguments = routine(module, number, "convolve", SIGNATURE)
    if w is None:
        return made
    x, weight, out, scratch, _, *sizes = arguments
    shapes = Shapes(sizes)
    (rows, columns), width = shapes.positions, shapes.grid[1]
    image_size = shapes.inner * shapes.plane
    offsets, sources, places, scratch = w.carve_tables(
        scratch, shapes.depth, shapes.depth, rows * width + 2
    )
    image, grid, packed, _ = w.carve(scratch, image_size + 32, grid_room(rows, width) * 8, 0)
    shapes.enter_offsets(w, offsets)
    with w.loop(shapes.depth) as r:
        w.enter(r, sources, r)
    count, _ = enter_places(w, places, rows, columns, width)
    w.clear(image, image_size)
    with w.loop(shapes.groups) as g:
        channel, output = g * shapes.inner, g * shapes.outer
        start = w.at(weight, output * shapes.depth)
        w.call(pack, start, shapes.depth, sources, packed, shapes.depth, shapes.outer)
        with w.loop(shapes.batch) as n:
            shapes.spread(w, copy, w.at(x, (n * shapes.channels + channel) * shapes.area), image)
            result = w.at(out, (n * shapes.outputs + output) * shapes.result_area)
            w.call(tiles, packed, image, offsets, shapes.depth, places, count, grid, width, result,
                   shapes.result_area, columns, 1, shapes.outer, rows, columns)  # fmt: skip
    w.builder.ret_void()
    return made


def convolve_transposed_function(module, number):
    """What multiplies ``x``, into ``x``, from ``weight`` and ``out``: for each of the s x s images of
    every s-th row and column a convolution of ``out`` with the elements of the kernel that reach it."""
    copy, pack = copy_function(module, number), pack_weights_function(module, number)
    tiles, by_element = tiles_function(module, number), spread_elements_function(module, number)
    made, w, arguments = routine(module, number, "convolve_transposed", SIGNATURE)
    if w is None:
        return made
    x, weight, out, scratch, _, *sizes = arguments
    shapes = Shapes(sizes)
    # windows beyond the last would add 0 * inf
    with w.builder.if_then(w.builder.not_(all_finite(w, weight, shapes.outputs * shapes.depth))):
        w.call(by_element, *arguments)
        w.builder.ret_void()
    s_y, s_x = shapes.strides
    # of the rows t of an image s t + a - p, the first that is needed of any, and how many are
    axes = list(zip(shapes.size, shapes.strides, shapes.padding, shapes.reach, strict=True))
    low = [quotient(p, s) for _, s, p, _ in axes]
    grid_rows, width = (
        quotient(size - 1 + p, s) - quotient(p, s) + 1 + reach for size, s, p, reach in axes
    )
    plane, depth = grid_rows * width, shapes.outer * shapes.taps
    image_size = shapes.outer * plane
    offsets, sources, places, scratch = w.carve_tables(scratch, depth, depth, plane + 2)
    image, grid, packed, _ = w.carve(scratch, image_size + 32, grid_room(grid_rows, width) * 8, 0)
    w.clear(image, image_size)
    # where the first row of out stands in its image; what lies outside of it is not needed
    zero = w.index(0)
    shift = [reach - start for (*_, reach), start in zip(axes, low, strict=True)]
    inside = [select(item < 0, -item, zero) for item in shift]
    counts = [
        least(size - skipped, room - at - skipped)
        for size, skipped, room, at in zip(
            shapes.positions, inside, (grid_rows, width), shift, strict=True
        )
    ]
    source_place = inside[0] * shapes.positions[1] + inside[1]
    image_place = (shift[0] + inside[0]) * width + shift[1] + inside[1]
    with w.loop(shapes.groups) as g, w.loop(s_y) as a, w.loop(s_x) as b:
        channel, output = g * shapes.inner, g * shapes.outer
        first = [quotient(p - k + s - 1, s) for k, (_, s, p, _) in zip((a, b), axes, strict=True)]
        rows, columns = (
            quotient(size + p - k + s - 1, s) - start
            for k, (size, s, p, _), start in zip((a, b), axes, first, strict=True)
        )
        # an image may be without rows
        count, _ = enter_places(w, places, most(rows, 1), most(columns, 1), width)
        depth = tap_tables(w, shapes, (a, b), (offsets, sources), (first, low), (plane, width))
        w.call(pack, w.at(weight, output * shapes.depth), shapes.taps, sources, packed, depth,
               shapes.inner)  # fmt: skip
        target = (s_y * first[0] + a - shapes.padding[0]) * shapes.size[1]
        target = target + s_x * first[1] + b - shapes.padding[1]
        empty = (rows < 1) | (columns < 1)
        with w.loop(select(empty, zero, shapes.batch)) as n:
            source = (n * shapes.outputs + output) * shapes.result_area + source_place
            w.call(copy, w.at(out, source), shapes.result_area, shapes.positions[1], 1,
                   w.at(image, image_place), plane, width, 1, shapes.outer, *counts)  # fmt: skip
            result = w.at(x, (n * shapes.channels + channel) * shapes.area + target)
            w.call(tiles, packed, image, offsets, depth, places, count, grid, width, result,
                   shapes.area, s_y * shapes.size[1], s_x, shapes.inner, rows, columns)  # fmt: skip
    w.builder.ret_void()
    return made


def all_finite(w, pointer, count):
    """Whether none of the elements is infinite or NaN."""
    builder = w.builder
    total = cgutils.alloca_once_value(builder, w.zero)
    with w.loop(count, step=w.lanes) as i:
        lanes = w.below(least(count - i, w.index(w.lanes)))
        vector = builder.fmul(w.read_lanes(lanes, w.at(pointer, i)), w.zero)
        builder.store(builder.fadd(builder.load(total), vector), total)
    zeros = builder.fcmp_ordered("==", builder.load(total), w.zero)
    flags = ir.IntType(w.lanes)
    return builder.icmp_unsigned("==", builder.bitcast(zeros, flags), flags(-1))


def spread_elements_function(module, number):
    """The transposed convolution, each element of ``out`` to where its window lies, one by one."""
    made, w, arguments = routine(module, number, "spread_elements", SIGNATURE)
    if w is None:
        return made
    # hardly ever called: not worth LLVM's time
    made.attributes.discard("optsize")
    made.attributes.add("optnone")
    x, weight, out, _, _, *sizes = arguments
    shapes, builder = Shapes(sizes), w.builder
    with w.loop(shapes.batch * shapes.channels * shapes.area) as i:
        builder.store(number(0.0), w.at(x, i))
    axes = list(zip(shapes.strides, shapes.dilations, shapes.padding, shapes.size, strict=True))
    with w.loop(shapes.batch) as n, w.loop(shapes.outputs) as o, w.loop(shapes.depth) as r:
        channel = quotient(r, shapes.taps)
        tap = r - channel * shapes.taps
        row = quotient(tap, shapes.kernel[1])
        factor = builder.load(w.at(weight, o * shapes.depth + r))
        plane = n * shapes.channels + quotient(o, shapes.outer) * shapes.inner + channel
        with w.loop(shapes.positions[0]) as y, w.loop(shapes.positions[1]) as z:
            place = ((n * shapes.outputs + o) * shapes.positions[0] + y) * shapes.positions[1] + z
            (i, i_exists), (j, j_exists) = (
                (at * s + k * d - p, (at * s + k * d >= p) & (at * s + k * d - p < size))
                for at, k, (s, d, p, size) in zip(
                    (y, z), (row, tap - row * shapes.kernel[1]), axes, strict=True
                )
            )
            with builder.if_then((i_exists & j_exists).value):
                target = w.at(x, (plane * shapes.size[0] + i) * shapes.size[1] + j)
                product = builder.fmul(factor, builder.load(w.at(out, place)))
                builder.store(builder.fadd(builder.load(target), product), target)
    builder.ret_void()
    return made


def tap_tables(w, shapes, image, tables, starts, spans):
    """The elements of the kernel that reach an image of every s-th row and column: where they find
    the result, and where they stand in the weight. Returns how many there are."""
    (offsets, sources), (first, low), (plane, width) = tables, starts, spans
    position = w.variable()
    with w.loop(shapes.outer) as o, w.loop(shapes.kernel[0]) as k, w.loop(shapes.kernel[1]) as l:
        reached = [tap * d for tap, d in zip((k, l), shapes.dilations, strict=True)]
        matches = [
            remainder(item, s) == a
            for item, s, a in zip(reached, shapes.strides, image, strict=True)
        ]
        with w.builder.if_then((matches[0] & matches[1]).value):
            y, x = (
                reach - quotient(item, s) + start - least_start
                for reach, item, s, start, least_start in zip(
                    shapes.reach, reached, shapes.strides, first, low, strict=True
                )
            )
            number_of = w.entry(position, 0)
            w.enter(o * plane + y * width + x, offsets, number_of)
            w.enter(o * shapes.depth + k * shapes.kernel[1] + l, sources, number_of)
            w.enter(number_of + 1, position, 0)
    return w.entry(position, 0)


def correlate_weight_function(module, number):
    """What multiplies ``weight``, into ``weight``, from ``x`` and ``out``: sums over the positions in
    all images, a few images at a time."""
    copy = copy_function(module, number)
    blocks = {height: correlate_function(module, number, height) for height in CHANNELS}
    made, w, arguments = routine(module, number, "correlate", SIGNATURE)
    if w is None:
        return made
    x, weight, out, scratch, room, *sizes = arguments
    shapes = Shapes(sizes)
    (rows, columns), width, builder = shapes.positions, shapes.grid[1], w.builder
    high = CHANNELS[0]
    bands, pieces = (
        quotient(size + (part - 1), w.index(part))
        for size, part in ((shapes.outer, high), (shapes.depth, TAPS))
    )
    vectors = whole_lines(rows * width + 16)
    # tables, then as many images at a time as there is room for
    begin = scratch
    offsets, places, scratch = w.carve_tables(scratch, shapes.depth + TAPS, rows * width + 2)
    masks, sums, images, _ = w.carve(scratch, vectors, bands * pieces * SUMS, 0)
    taken = builder.sub(*(builder.ptrtoint(item, INDEX) for item in (images, begin)))
    taken = quotient(type(room)(builder, taken), w.index(w.bits // 8))
    image_size = whole_lines(shapes.inner * shapes.plane + 32)
    adjoint_size = bands * high * vectors
    together = most(quotient(room - taken, image_size + adjoint_size), w.index(1))
    adjoints = w.at(images, together * image_size)
    shapes.enter_offsets(w, offsets)
    with w.loop(w.index(TAPS)) as j:
        w.enter(w.entry(offsets, shapes.depth - 1), offsets, shapes.depth + j)
    count, row_step = enter_places(w, places, rows, columns, width)
    w.clear(images, together * (image_size + adjoint_size))
    enter_masks(w, masks, shapes, count, row_step)
    with w.loop(shapes.groups) as g:
        channel, output = g * shapes.inner, g * shapes.outer
        w.clear(sums, bands * pieces * SUMS)
        with w.loop(shapes.batch, step=together) as first:
            number_of = least(together, shapes.batch - first)
            with w.loop(number_of) as n:
                source = (first + n) * shapes.channels + channel
                shapes.spread(w, copy, w.at(x, source * shapes.area), w.at(images, n * image_size))
                source = (first + n) * shapes.outputs + output
                w.call(copy, w.at(out, source * shapes.result_area), shapes.result_area, columns, 1,
                       w.at(adjoints, n * adjoint_size), vectors, row_step, 1, shapes.outer, rows,
                       columns)  # fmt: skip
            with w.loop(bands) as i, w.loop(pieces) as j:
                left = shapes.outer - i * high
                operands = [
                    w.at(adjoints, i * high * vectors), vectors, adjoint_size, images, image_size,
                    w.at(offsets, j * TAPS), places, masks, count, number_of,
                    w.at(sums, (i * pieces + j) * SUMS),
                ]  # fmt: skip
                block = blocks[high]
                for height in CHANNELS[1:]:
                    block = builder.select((left <= height).value, blocks[height], block)
                w.call(block, *operands)
        with w.loop(shapes.outer) as o, w.loop(shapes.depth) as r:
            i, j = quotient(o, w.index(high)), quotient(r, w.index(TAPS))
            place = (i * pieces + j) * SUMS + (o - i * high) * TAPS + r - j * TAPS
            total = builder.load(w.at(sums, place))
            builder.store(total, w.at(weight, (output + o) * shapes.depth + r))
    builder.ret_void()
    return made


def enter_masks(w, masks, shapes, count, row_step):
    """All bits of the lanes that are positions, in vectors over rows that are ``row_step`` apart."""
    w.clear(masks, count * w.lanes)
    number = w.integers.element
    table = w.builder.bitcast(masks, number.as_pointer())
    with w.loop(shapes.positions[0]) as y, w.loop(shapes.positions[1]) as x:
        w.builder.store(number(-1), w.at(table, y * row_step + x))


def convolution(routine_of):
    """An intrinsic ``(x, weight, out, scratch, strides, padding, dilations)`` over the last one or two
    axes; what it computes is the array that ``routine_of`` says."""

    def typed(typing_context, x, weight, out, scratch, strides, padding, dilations):
        for array in (x, weight, out):
            if not (isinstance(array, types.Array) and array.layout == "C" and array.ndim in (3, 4)):
                raise TypingError(f"convolutions take C-contiguous arrays, not {array}")
            if array.dtype != scratch.dtype or array.dtype not in (types.float32, types.float64):
                raise TypingError(f"convolutions take floats of one type, not {array} and {scratch}")

        def generate(context, builder, signature, arguments):
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args[:4], arguments[:4], strict=True)
            ]
            number = context.get_data_type(signature.args[3].dtype)
            shapes = [cgutils.unpack_tuple(builder, array.shape) for array in arrays]
            x, weight, out = ([*shape[:2], *planar(shape[2:], 1)] for shape in shapes[:3])
            options = [
                planar([context.cast(builder, item, kind.dtype, types.intp)
                        for item in cgutils.unpack_tuple(builder, value)], default)
                for value, kind, default in zip(arguments[4:], signature.args[4:], (1, 0, 1),
                                                strict=True)
            ]  # fmt: skip
            groups = builder.sdiv(x[1], weight[1])
            builder.call(routine_of(builder.module, number), [
                *(array.data for array in arrays), shapes[3][0], *x, weight[0], *weight[2:],
                *out[2:], *(item for pair in options for item in pair), groups,
            ])  # fmt: skip
            return context.get_dummy_value()

        return types.void(x, weight, out, scratch, strides, padding, dilations), generate

    return typed


#: ``out``: the convolution (without a flip) of ``x`` by ``weight``
convolve = intrinsic(convolution(convolve_function))
#: ``x``: the adjoint of the convolution, on ``out``
convolve_transposed = intrinsic(convolution(convolve_transposed_function))
#: ``weight``: the adjoint of the kernel
correlate = intrinsic(convolution(correlate_weight_function))
