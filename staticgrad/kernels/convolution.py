"""Convolutions and transposed convolutions.

Both come from one sum, of x[n, c, s y + d k - p] weight[o, c, k] out[n, o, y], which is linear in
each of its factors: a routine computes what multiplies the factor that it is not given (the third is
in ``correlation``). How it does is said in ``tiles`` and ``images``. Images, and bands of the result's
channels where images are few, go to several threads; an element has the same bits whoever computes it.
"""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from staticgrad.kernels.images import BOX, Layout, Place, enter_box, lay_out_function
from staticgrad.kernels.shapes import (
    PARTS,
    SIGNATURE,
    SIZES,
    Shapes,
    convolution,
    images_together,
    parts_of,
)
from staticgrad.kernels.tiles import (
    HEIGHTS,
    grid_room,
    pack_weights_function,
    places_function,
    tiles_function,
    vectors_of,
    woven_tiles_function,
)
from staticgrad.kernels.vectors import INDEX
from staticgrad.kernels.writer import (
    TABLE,
    in_parts,
    least,
    most,
    quotient,
    remainder,
    routine,
    whole_lines,
)
from staticgrad.vectormath.straightline import select

#: numbers in the description of a convolution, see ``Convolutions.enter``
FIELDS = 6


class Convolutions:
    """Convolutions of images that are laid out once: with a stride, the adjoint consists of several.
    In the scratch memory stand tables and packed weights, then what each part has for itself.

    ``outputs`` are the rows of the weights of a group, ``extent`` the rows and columns of the largest
    result, ``depth`` the elements of all windows, ``number`` how many convolutions there may be.
    """

    def __init__(self, w, shapes, layout, scratch, room, *, outputs, extent, depth, number):
        self.w, self.shapes, self.layout, self.outputs = w, shapes, layout, outputs
        self.extent, self.depth, self.room = extent, depth, room
        average = quotient(depth + number - 1, number)
        lanes = images_together(w, shapes.batch, layout, outputs, extent, average)
        is_woven = lanes > 1
        elements = layout.planes * layout.steps[0] + w.lanes
        self.span = extent[0] * extent[1] + 2
        # images are woven together only where there is room for it
        sizes = [depth, depth, self.span * number, self.span * number, elements,
                 layout.count * BOX, number * FIELDS, w.index(PARTS)]  # fmt: skip
        weights = shapes.groups * depth * (outputs + HEIGHTS[0])
        taken = whole_lines(weights)
        for size in sizes:
            taken = taken + whole_lines(size * 2)
        fits = taken + self.private(lanes) <= room
        self.unit = select(is_woven & fits, lanes, w.index(1))
        self.is_woven = self.unit > 1
        for k in (3, 4):
            sizes[k] = select(self.is_woven, sizes[k], w.index(0))
        (self.offsets, self.sources, self.places, self.spots, elements, boxes, self.fields,
         self.keys, rest) = w.carve_tables(scratch, *sizes)  # fmt: skip
        self.packed, self.free = w.carve(rest, weights)
        self.left = room - w.distance(scratch, self.free)
        layout.boxes, self.count = boxes, w.variable()
        null = ir.Constant(TABLE, None)
        layout.places = w.builder.select(self.is_woven.value, elements, null)

    def private(self, unit):
        """Elements of memory that each part has for itself."""
        grid = grid_room(self.extent[0], self.layout.row)
        grid = select(unit > 1, self.w.index(self.w.lanes**2), grid)
        return self.layout.room(self.w, unit) + whole_lines(grid * HEIGHTS[0])

    def enter(self, first, depth, extent, target, steps):
        """One convolution more, with the elements of the window from number ``first`` on. Its result
        begins at ``target`` in its plane, where rows and columns are ``steps`` apart."""
        w, number = self.w, self.w.entry(self.count, 0)
        rows, columns = extent
        spots = w.at(self.spots, number * self.span)
        w.call(places_function(w.builder.module, w.number), w.at(self.places, number * self.span), rows,
               columns, self.layout.row, self.unit, spots, target, *steps)  # fmt: skip
        count, *_ = vectors_of(w, rows, columns, self.layout.row)
        count = select(self.is_woven, rows * columns, count)
        fields = (first, depth, count, rows, columns, target)
        for k, value in enumerate(fields):
            w.enter(value, self.fields, number * FIELDS + k)
        w.enter(number + 1, self.count, 0)

    def run(self, source, source_steps, result, result_steps, scattered):
        """Compute all. Steps are those from image to image and from group to group; for the result
        also from plane to plane, row to row and column to column. ``scattered`` says whether planes of
        the result are filled by several convolutions."""
        w, shapes, layout = self.w, self.shapes, self.layout
        with w.builder.if_then(self.is_woven.value):
            layout.enter_places(w, layout.places, self.unit)
        private = self.private(self.unit)
        parts = most(least(parts_of(shapes), quotient(self.left, private)), w.index(1))
        units = quotient(shapes.batch + self.unit - 1, self.unit)
        # bands of the result's channels where there are not enough images
        high = w.index(HEIGHTS[0])
        blocks = quotient(self.outputs + (high - 1), high)
        bands = least(quotient(parts - 1, most(units, w.index(1))) + 1, blocks)
        height = quotient(blocks + bands - 1, bands)
        bands = quotient(blocks + height - 1, height)
        parts = most(least(parts, units * bands), w.index(1))
        with w.loop(parts) as k:
            w.enter(0, self.keys, k)
        spots = ir.Constant(TABLE, None)
        spots = w.builder.select(scattered.value, self.spots, spots)
        steps = {f"step_{k}": item for k, item in enumerate((*source_steps, *result_steps))}
        in_parts(
            w, "part_of_convolution", part_of_convolution, parts,
            **layout.given("layout"), **steps, source=source, result=result, batch=shapes.batch,
            groups=shapes.groups, outputs=self.outputs, height=height * high, bands=bands,
            units=units, unit=self.unit, parts=parts, offsets=self.offsets, places=self.places,
            spots=spots, span=self.span, packed=self.packed, depth=self.depth, fields=self.fields,
            count=w.entry(self.count, 0), keys=self.keys, free=self.free, private=private,
            image_size=layout.room(w, self.unit),
        )  # fmt: skip


def part_of_convolution(w, part, number, given):
    """Some of the units of images, and of the first and the last some bands."""
    lay_out = lay_out_function(w.builder.module, w.number)
    tiles = tiles_function(w.builder.module, w.number)
    woven_tiles = woven_tiles_function(w.builder.module, w.number)
    layout = Layout.of(given, "layout")
    steps = [getattr(given, f"step_{k}") for k in range(7)]
    (source_image, source_group), (image_step, group_step, plane, row, step) = steps[:2], steps[2:]
    image = w.at(given.free, number * given.private)
    grid = w.at(image, given.image_size)
    place = Place(w, given.keys, number, image, given.image_size)
    items = given.units * given.bands
    begin, end = (quotient(k * items, given.parts) for k in (part, part + 1))
    last = quotient(end + given.bands - 1, given.bands)
    with w.loop(last, start=quotient(begin, given.bands)) as unit, w.loop(given.groups) as g:
        first = most(begin - unit * given.bands, w.index(0)) * given.height
        stop = least(end - unit * given.bands, given.bands) * given.height
        outputs = least(stop, given.outputs) - first
        n = unit * given.unit
        images = least(given.unit, given.batch - n)
        source = w.at(given.source, n * source_image + g * source_group)
        with place.unless(unit * given.groups + g):
            w.call(lay_out, *layout.call(source, source_image, image, layout.planes, images))
        result = w.at(given.result, n * image_step + g * group_step + first * plane)
        rows = given.outputs + HEIGHTS[0]
        with w.loop(given.count) as k:
            start, depth, count, *extent, target = (
                w.entry(given.fields, k * FIELDS + i) for i in range(FIELDS)
            )
            weights = (g * given.depth + start) * rows + first * depth
            known = [w.at(given.packed, weights), image, w.at(given.offsets, start), depth,
                     w.at(given.places, k * given.span), count, grid]  # fmt: skip
            with w.builder.if_else((given.unit > 1).value) as (woven, single):
                with woven:
                    null = cgutils.is_null(w.builder, given.spots)
                    spots = w.at(given.spots, k * given.span)
                    spots = w.builder.select(null, given.spots, spots)
                    w.call(woven_tiles, *known, result, image_step, plane, outputs, images, spots)
                with single:
                    w.call(tiles, *known, layout.row, w.at(result, target), plane, row, step, outputs,
                           *extent)  # fmt: skip


def convolve_function(module, number):
    """``out`` from ``x`` and ``weight``."""
    pack = pack_weights_function(module, number)
    made, w, arguments = routine(module, number, "convolve", SIGNATURE, is_plain=True)
    if w is None:
        return made
    x, weight, out, scratch, room, *sizes = arguments
    shapes = Shapes(sizes)
    layout, zero, one = shapes.spread(), w.index(0), w.index(1)
    work = Convolutions(w, shapes, layout, scratch, room, outputs=shapes.outer,
                        extent=shapes.positions, depth=shapes.depth, number=one)  # fmt: skip
    shapes.enter_spread(w, work.offsets, layout.boxes, work.unit)
    w.call(count_function(module, number), work.sources, shapes.depth)
    columns = shapes.positions[1]
    work.enter(zero, shapes.depth, shapes.positions, zero, (columns, one))
    with w.loop(shapes.groups) as g:
        packed = g * shapes.depth * (shapes.outer + HEIGHTS[0])
        w.call(pack, w.at(weight, g * shapes.outer * shapes.depth), shapes.depth, work.sources,
               w.at(work.packed, packed), shapes.depth, shapes.outer)  # fmt: skip
    source_steps = (shapes.channels * shapes.area, shapes.inner * shapes.area)
    result_steps = (shapes.outputs * shapes.result_area, shapes.outer * shapes.result_area,
                    shapes.result_area, columns, one)  # fmt: skip
    work.run(x, source_steps, out, result_steps, zero > 0)
    w.builder.ret_void()
    return made


def convolve_transposed_function(module, number):
    """What multiplies ``x``, into ``x``, from ``weight`` and ``out``: for each of the s x s images of
    every s-th row and column a convolution of ``out`` with the elements of the kernel that reach it."""
    pack, by_element = pack_weights_function(module, number), spread_elements_function(module, number)
    made, w, arguments = routine(module, number, "convolve_transposed", SIGNATURE, is_plain=True)
    if w is None:
        return made
    x, weight, out, scratch, room, *sizes = arguments
    shapes = Shapes(sizes)
    # windows beyond the last would add 0 * inf
    is_finite = w.variable()
    w.call(finite_function(module, number), weight, shapes.outputs * shapes.depth, is_finite)
    with w.builder.if_then((w.entry(is_finite, 0) == 0).value):
        w.call(by_element, *arguments)
        w.builder.ret_void()
    s_y, s_x = shapes.strides
    # of the rows t of an image s t + a - p, the first that is needed of any, and how many are
    axes = list(zip(shapes.size, shapes.strides, shapes.padding, shapes.reach, strict=True))
    low = [quotient(p, s) for _, s, p, _ in axes]
    grid_rows, width = (
        quotient(size - 1 + p, s) - quotient(p, s) + 1 + reach for size, s, p, reach in axes
    )
    zero = w.index(0)
    layout = Layout(steps=[shapes.result_area, shapes.positions[1], w.index(1)],
                    plane=grid_rows * width, row=width, planes=shapes.outer,
                    count=w.index(1))  # fmt: skip
    extent = [quotient(size + s - 1, s) for size, s in zip(shapes.size, shapes.strides, strict=True)]
    work = Convolutions(w, shapes, layout, scratch, room, outputs=shapes.inner, extent=extent,
                        depth=shapes.outer * shapes.taps, number=shapes.images)  # fmt: skip
    # where the first row of out stands in its image; what lies outside of it is not needed
    shift = [reach - start for (*_, reach), start in zip(axes, low, strict=True)]
    inside = [select(item < 0, -item, zero) for item in shift]
    counts = [
        least(size - skipped, space - at - skipped)
        for size, skipped, space, at in zip(
            shapes.positions, inside, (grid_rows, width), shift, strict=True
        )
    ]
    place = (shift[0] + inside[0]) * width + shift[1] + inside[1]
    enter_box(w, layout.boxes, zero, inside[0] * shapes.positions[1] + inside[1], place, *counts)
    position, taken = w.variable(), w.variable()
    with w.loop(s_y) as a, w.loop(s_x) as b:
        first = [quotient(p - k + s - 1, s) for k, (_, s, p, _) in zip((a, b), axes, strict=True)]
        rows, columns = (
            quotient(size + p - k + s - 1, s) - start
            for k, (size, s, p, _), start in zip((a, b), axes, first, strict=True)
        )
        # an image may be without rows
        with w.builder.if_then(((rows > 0) & (columns > 0)).value):
            begin = w.entry(position, 0)
            tables = [w.at(table, begin) for table in (work.offsets, work.sources)]
            w.call(tap_tables_function(module, number), *tables, taken, a, b, *first, *low,
                   layout.plane, width, work.unit, *shapes.sizes)  # fmt: skip
            depth = w.entry(taken, 0)
            target = (s_y * first[0] + a - shapes.padding[0]) * shapes.size[1]
            target = target + s_x * first[1] + b - shapes.padding[1]
            work.enter(begin, depth, (rows, columns), target, (s_y * shapes.size[1], s_x))
            with w.loop(shapes.groups) as g:
                packed = (g * work.depth + begin) * (shapes.inner + HEIGHTS[0])
                w.call(pack, w.at(weight, g * shapes.outer * shapes.depth), shapes.taps, tables[1],
                       w.at(work.packed, packed), depth, shapes.inner)  # fmt: skip
            w.enter(begin + depth, position, 0)
    source_steps = (shapes.outputs * shapes.result_area, shapes.outer * shapes.result_area)
    result_steps = (shapes.channels * shapes.area, shapes.inner * shapes.area, shapes.area,
                    s_y * shapes.size[1], s_x)  # fmt: skip
    work.run(out, source_steps, x, result_steps, shapes.images > 1)
    w.builder.ret_void()
    return made


def finite_function(module, number):
    """(elements, how many, place): enter there -1 if none of them is infinite or NaN, else 0."""
    made, w, arguments = routine(module, number, "finite", "fit")
    if w is None:
        return made
    pointer, count, place = arguments
    builder = w.builder
    total = cgutils.alloca_once_value(builder, w.zero)
    with w.loop(count, step=w.lanes) as i:
        lanes = w.below(least(count - i, w.index(w.lanes)))
        vector = builder.fmul(w.read_lanes(lanes, w.at(pointer, i)), w.zero)
        builder.store(builder.fadd(builder.load(total), vector), total)
    zeros = builder.fcmp_ordered("==", builder.load(total), w.zero)
    flags = ir.IntType(w.lanes)
    are_all = builder.icmp_unsigned("==", builder.bitcast(zeros, flags), flags(-1))
    builder.store(builder.sext(are_all, INDEX), place)
    builder.ret_void()
    return made


def spread_elements_function(module, number):
    """The transposed convolution, each element of ``out`` to where its window lies, one by one; it is
    hardly ever called."""
    made, w, arguments = routine(module, number, "spread_elements", SIGNATURE, is_plain=True)
    if w is None:
        return made
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


def tap_tables_function(module, number):
    """(offsets, sources, place, the image's row and column, its first ones, the least of any, elements
    in a plane and in a row, images side by side, sizes): where the elements of the kernel that reach
    an image of every s-th row and column find the result, and where they stand in the weight. Enters
    at the place how many there are."""
    made, w, arguments = routine(module, number, "tap_tables", "ttt" + "i" * 9 + SIZES)
    if w is None:
        return made
    offsets, sources, position, *rest = arguments
    image, first, low, (plane, width, unit) = rest[:2], rest[2:4], rest[4:6], rest[6:9]
    shapes = Shapes(rest[9:])
    w.enter(0, position, 0)
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
            count = w.entry(position, 0)
            w.enter((o * plane + y * width + x) * unit, offsets, count)
            w.enter(o * shapes.depth + k * shapes.kernel[1] + l, sources, count)
            w.enter(count + 1, position, 0)
    w.builder.ret_void()
    return made


def count_function(module, number):
    """(table, count): 0, 1, 2, ..."""
    made, w, arguments = routine(module, number, "count", "ti")
    if w is None:
        return made
    table, count = arguments
    with w.loop(count) as k:
        w.enter(k, table, k)
    w.builder.ret_void()
    return made


#: ``out``: the convolution (without a flip) of ``x`` by ``weight``
convolve = intrinsic(convolution(convolve_function))
#: ``x``: the adjoint of the convolution, on ``out``
convolve_transposed = intrinsic(convolution(convolve_transposed_function))
