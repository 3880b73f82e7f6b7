"""Correlations: the adjoints of the kernels of convolutions.

See ``convolution``. Sums over the positions of some images stay in vector registers, and are added up
over their lanes at the end. A part, for any thread, is some of the images and some of the result's
channels; the sums over images are combined in their order.
"""

from llvmlite import ir
from numba.extending import intrinsic

from staticgrad.kernels.images import BOX, Layout, Place, enter_box, lay_out_function
from staticgrad.kernels.shapes import (
    PARTS,
    SIGNATURE,
    Shapes,
    convolution,
    images_together,
    parts_of,
)
from staticgrad.kernels.tiles import (
    CHANNELS,
    SUMS,
    TAPS,
    correlate_function,
    masks_function,
    places_function,
    vectors_of,
)
from staticgrad.kernels.writer import TABLE, in_parts, least, most, quotient, routine, whole_lines
from staticgrad.vectormath.straightline import select

#: vectors of positions that are worth the sums over lanes at their end
ENOUGH = 48
#: sums of all parts, unless one part alone has more
MOST_SUMS = 2**21
HIGH = CHANNELS[0]
#: the channels of a part are a multiple of
GRAIN = 2 * HIGH


def correlate_weight_function(module, number):
    """What multiplies ``weight``, into ``weight``, from ``x`` and ``out``."""
    made, w, arguments = routine(module, number, "correlate", SIGNATURE, is_plain=True)
    if w is None:
        return made
    x, weight, out, scratch, room, *sizes = arguments
    shapes, builder = Shapes(sizes), w.builder
    (rows, columns), width, zero, one = shapes.positions, shapes.grid[1], w.index(0), w.index(1)
    size = rows * columns
    blocks, pieces = shares(shapes.outer, HIGH), shares(shapes.depth, TAPS)
    # how vectors of positions lie if images are taken one by one
    single, _, row_step = vectors_of(w, rows, columns, width)
    line = whole_lines(rows * width + 16)
    channels = shapes.spread()
    adjoint = Layout(steps=[shapes.result_area, columns, one], plane=size, row=columns,
                     planes=shapes.outer, count=one)  # fmt: skip
    unit = images_together(w, shapes.batch, channels, shapes.outer, shapes.positions, shapes.depth)
    # tables, the sums of each part, then the images that each works on; woven where there is room
    tables = [shapes.depth + TAPS, size + 2, shapes.images * BOX, one * BOX, one * PARTS]
    elements = [layout.planes * layout.steps[0] + w.lanes for layout in (channels, adjoint)]
    sums_size = shapes.groups * blocks * pieces * SUMS
    needed = sum((whole_lines(item * 2) for item in (*tables, *elements)), sums_size + 16)
    needed = needed + channels.room(w, unit) + blocks * HIGH * size * unit
    woven = (unit > 1) & (needed <= room)
    unit, count = select(woven, unit, one), select(woven, size, single)
    adjoint.plane, adjoint.row = select(woven, size, line), select(woven, columns, row_step)
    elements = [select(woven, item, zero) for item in elements]
    offsets, places, channels.boxes, adjoint.boxes, keys, *elements, rest = w.carve_tables(
        scratch, *tables, *elements
    )
    masks, sums = w.carve(rest, select(woven, w.index(w.lanes), line))
    left = room - w.distance(scratch, sums)
    # as many units of images at a time as are worth the sums at their end
    units = quotient(shapes.batch + unit - 1, unit)
    image_size = channels.room(w, unit)
    adjoint_size = blocks * HIGH * adjoint.plane * unit
    together = least(shares(w.index(ENOUGH), count), w.index(32))
    together = least(together, quotient(left - sums_size, image_size + adjoint_size))
    together = most(least(together, units), one)
    private = together * (image_size + adjoint_size)
    image_parts = least(parts_of(shapes), shares(units, together))
    image_parts = least(image_parts, quotient(w.index(MOST_SUMS), sums_size))
    image_parts = most(least(image_parts, quotient(left - private, sums_size)), one)
    parts = least(parts_of(shapes), quotient(left - image_parts * sums_size, private))
    image_parts = most(least(image_parts, parts), one)
    share = most(shares(units, image_parts), one)
    together = shares(share, shares(share, together))
    bands = most(least(quotient(parts, image_parts), shares(shapes.outer, GRAIN)), one)
    height = shares(shares(shapes.outer, GRAIN), bands) * GRAIN
    bands = shares(shapes.outer, height)

    shapes.enter_spread(w, offsets, channels.boxes, unit)
    with w.loop(TAPS) as j:
        w.enter(w.entry(offsets, shapes.depth - 1), offsets, shapes.depth + j)
    enter_box(w, adjoint.boxes, zero, zero, zero, rows, columns)
    for layout, table in zip((channels, adjoint), elements, strict=True):
        layout.places = builder.select(woven.value, table, ir.Constant(TABLE, None))
    null = ir.Constant(TABLE, None)
    w.call(places_function(module, number), places, rows, columns, width, unit, null, 0, 0, 0)
    with builder.if_then(woven.value):
        for layout in (channels, adjoint):
            layout.enter_places(w, layout.places, unit)
    # of images side by side all lanes are positions
    lanes = w.index(w.lanes)
    w.call(masks_function(module, number), masks, select(woven, one, rows),
           select(woven, lanes, columns), row_step, select(woven, lanes, single * lanes))  # fmt: skip
    free = w.at(sums, image_parts * sums_size)
    with w.loop(image_parts * bands) as k:
        w.enter(0, keys, k)
    in_parts(
        w, "part_of_correlation", part_of_correlation, image_parts * bands,
        **channels.given("channels"), **adjoint.given("adjoint"), x=x, out=out, sums=sums, free=free,
        keys=keys,
        image_step=shapes.channels * shapes.area, out_step=shapes.outputs * shapes.result_area,
        batch=shapes.batch, groups=shapes.groups, outer=shapes.outer, height=height, bands=bands,
        image_parts=image_parts, units=units, unit=unit, together=together, private=private,
        image_size=image_size, adjoint_size=adjoint_size, pieces=pieces, sums_size=sums_size,
        group_sums=blocks * pieces * SUMS, offsets=offsets, places=places, masks=masks,
        mask_step=select(woven, zero, w.index(w.lanes)), count=count,
    )  # fmt: skip
    w.call(finish_function(module, number), sums, sums_size, image_parts, weight, shapes.groups,
           shapes.outer, shapes.depth)  # fmt: skip
    builder.ret_void()
    return made


def finish_function(module, number):
    """(sums, how many a part has, parts, weight, groups, channels of a group, depth): add up the sums
    of all parts, in order, and store them where they belong."""
    made, w, arguments = routine(module, number, "finish_correlation", "fiifiii")
    if w is None:
        return made
    sums, size, parts, weight, groups, outer, depth = arguments
    with w.loop(parts, start=1) as part, w.loop(size, step=w.lanes) as k:
        more = w.read(sums, part * size + k)
        w.write(w.builder.fadd(w.read(sums, k), more), sums, k)
    blocks, pieces = shares(outer, HIGH), shares(depth, TAPS)
    with w.loop(groups) as g, w.loop(outer) as o, w.loop(depth) as r:
        i, j = quotient(o, w.index(HIGH)), quotient(r, w.index(TAPS))
        place = ((g * blocks + i) * pieces + j) * SUMS + (o - i * HIGH) * TAPS + r - j * TAPS
        w.builder.store(w.builder.load(w.at(sums, place)), w.at(weight, (g * outer + o) * depth + r))
    w.builder.ret_void()
    return made


def shares(count, size):
    """How many shares of a size there are in ``count``, the last of which may be smaller."""
    return quotient(count + (size - 1), count.literal(size))


def part_of_correlation(w, part, number, given):
    """The sums over some of the units of images, for some of the result's channels."""
    module, builder = w.builder.module, w.builder
    lay_out = lay_out_function(module, w.number)
    tiles = {height: correlate_function(module, w.number, height) for height in CHANNELS}
    channels, adjoint = Layout.of(given, "channels"), Layout.of(given, "adjoint")
    images = w.at(given.free, number * given.private)
    adjoints = w.at(images, given.together * given.image_size)
    place = Place(w, given.keys, number, images, given.private)
    section = quotient(part, given.bands)
    first = (part - section * given.bands) * given.height
    outputs = least(given.height, given.outer - first)
    begin, end = (quotient(k * given.units, given.image_parts) for k in (section, section + 1))
    row_step = adjoint.plane * given.unit
    with w.loop(given.groups) as g:
        sums = w.at(given.sums, section * given.sums_size + g * given.group_sums)
        sums = w.at(sums, quotient(first, w.index(HIGH)) * given.pieces * SUMS)
        w.clear(sums, shares(outputs, HIGH) * given.pieces * SUMS)
        x = w.at(given.x, g * channels.planes * channels.steps[0])
        out = w.at(given.out, (g * given.outer + first) * adjoint.steps[0])
        with w.loop(end, start=begin, step=given.together) as unit:
            units = least(given.together, end - unit)
            with place.unless(unit * given.groups + g), w.loop(units) as k:
                n = (unit + k) * given.unit
                w.call(lay_out, *channels.call(
                    w.at(x, n * given.image_step), given.image_step, w.at(images, k * given.image_size),
                    channels.planes, least(given.unit, given.batch - n),
                ))  # fmt: skip
            with w.loop(units) as k:
                n = (unit + k) * given.unit
                w.call(lay_out, *adjoint.call(
                    w.at(out, n * given.out_step), given.out_step,
                    w.at(adjoints, k * given.adjoint_size), outputs, least(given.unit, given.batch - n),
                ))  # fmt: skip
            with w.loop(outputs, step=HIGH) as i, w.loop(given.pieces) as j:
                tile = tiles[HIGH]
                for height in CHANNELS[1:]:
                    tile = builder.select((outputs - i <= height).value, tiles[height], tile)
                target = (quotient(i, w.index(HIGH)) * given.pieces + j) * SUMS
                w.call(tile, w.at(adjoints, i * row_step), row_step, given.adjoint_size, images,
                       given.image_size, w.at(given.offsets, j * TAPS), given.places, given.masks,
                       given.mask_step, given.count, units, w.at(sums, target))  # fmt: skip


#: ``weight``: the adjoint of the kernel
correlate = intrinsic(convolution(correlate_weight_function))
