"""Blocks of convolutions that stay in vector registers.

The window's element (channel, ky, kx) at the position (y, x) lies ``offset[channel, ky, kx] +
place[y, x]`` elements into the image, whatever stride and dilation are, once an image is copied among
zeros, and for a stride s into s x s images of every s-th row and column. Neighbouring positions are
neighbours in memory then, so a convolution is a matrix product whose right operand is read from where
it lies, and no matrix of windows is made. Vectors of positions run over whole rows, with what lies
between the positions computed and dropped, or each row has vectors of its own, whichever takes fewer.
Written as ``gemm`` is.
"""

from contextlib import contextmanager

from numba.core import cgutils

from staticgrad.kernels.images import copy_function, unweave_function
from staticgrad.kernels.vectors import INDEX, ROWS, VECTOR_BYTES
from staticgrad.kernels.writer import least, quotient, routine
from staticgrad.vectormath.straightline import Value, select

#: how many rows of the result a tile may have, at two vectors of positions
HEIGHTS = tuple(height for height in (ROWS, ROWS - 2, ROWS - 4) if height > 0)
#: how many channels a tile of the kernel's adjoint may have, with TAPS elements of the window
CHANNELS = (4, 2) if VECTOR_BYTES == 64 else (2,)
TAPS = 4
#: the sums of such a tile take up this many elements
SUMS = 16


@contextmanager
def blocks(w, rows):
    """A loop over blocks of rows: the first row of each and its height, which may go beyond the
    last row."""
    position = w.variable()
    head, body, after = (w.builder.append_basic_block(n) for n in ("blocks", "block", "end"))
    w.builder.branch(head)
    w.builder.position_at_end(head)
    first = Value(w.builder, w.builder.load(position))
    w.builder.cbranch((first < rows).value, body, after)
    w.builder.position_at_end(body)
    height = w.index(HEIGHTS[0])
    for lower in HEIGHTS[1:]:
        height = select(rows - first <= lower, w.index(lower), height)
    yield first, height
    w.builder.store((first + height).value, position)
    w.builder.branch(head)
    w.builder.position_at_end(after)


def tile_function(module, number, height):
    """(weights, image, offsets, depth, two places, where their results go, target, its row step):
    ``height`` rows of the result at two vectors."""
    made, w, arguments = routine(module, number, f"tile_{height}", "fftiiiiifi")
    if w is None:
        return made
    weights, image, offsets, depth, *places, one, other, target, step = arguments
    sources = [w.at(image, place) for place in places]
    entry = w.builder.block
    loop, done = (made.append_basic_block(name) for name in ("loop", "done"))
    # a stride may leave elements that no window reaches
    w.builder.cbranch((depth > 0).value, loop, done)
    w.builder.position_at_end(loop)
    r, row = w.builder.phi(INDEX), w.builder.phi(w.pointer)
    totals = [[w.builder.phi(w.type) for _ in sources] for _ in range(height)]
    offset = w.entry(offsets, Value(w.builder, r))
    vectors = [w.read(source, offset) for source in sources]
    sums = []
    for i, totals_of_row in enumerate(totals):
        weight = w.spread(w.builder, w.builder.load(w.at(row, i)))
        pairs = zip(vectors, totals_of_row, strict=True)
        sums.append([w.multiply_add(w.builder, weight, vector, total) for vector, total in pairs])
    after = w.builder.add(r, INDEX(1))
    known = [(r, INDEX(0), after), (row, weights, w.at(row, height))]
    for totals_of_row, sums_of_row in zip(totals, sums, strict=True):
        known += [(t, w.zero, s) for t, s in zip(totals_of_row, sums_of_row, strict=True)]
    for phi, start, new in known:
        phi.add_incoming(start, entry)
        phi.add_incoming(new, loop)
    w.builder.cbranch(w.builder.icmp_signed("<", after, depth.value), loop, done)
    w.builder.position_at_end(done)
    results = []
    for sums_of_row in sums:
        for total in sums_of_row:
            results.append(w.builder.phi(w.type))
            results[-1].add_incoming(w.zero, entry)
            results[-1].add_incoming(total, loop)
    for number_of, result in enumerate(results):
        i, v = divmod(number_of, len(places))
        w.write(result, target, step * i + (one, other)[v])
    w.builder.ret_void()
    return made


def pack_weights_function(module, number):
    """(weight, its row step, places of a row's elements, packed, depth, rows): the rows of each block
    side by side, zeros where there is none."""
    made, w, arguments = routine(module, number, "pack_weights", "fitfii")
    if w is None:
        return made
    weight, step, places, packed, depth, rows = arguments
    with blocks(w, rows) as (first, height):
        count = least(height, rows - first)
        start = w.at(packed, first * depth)
        with w.loop(depth) as r:
            source = w.at(weight, w.entry(places, r) + first * step)
            with w.loop(count) as i:
                w.builder.store(w.builder.load(w.at(source, i * step)), w.at(start, r * height + i))
            with w.loop(height, start=count) as i:
                w.builder.store(number(0.0), w.at(start, r * height + i))
    w.builder.ret_void()
    return made


def tiles_function(module, number):
    """(packed weights, image, offsets, depth, places, how many, grid, its rows' length, result, its
    steps, its planes, rows and columns): all tiles of an image's result, which are computed in the
    grid first, where rows are as long as the image's."""
    copy = copy_function(module, number)
    tiles = {height: tile_function(module, number, height) for height in HEIGHTS}
    made, w, arguments = routine(module, number, "tiles", "fftitififiiiiii")
    if w is None:
        return made
    weights, image, offsets, depth, places, count, grid, width, result, *sizes = arguments
    plane, row, step, planes, rows, columns = sizes
    grid_plane = grid_room(rows, width)
    with blocks(w, planes) as (first, height):
        start = w.at(weights, first * depth)
        tile = tile_of(w, tiles, height)
        with w.loop(count, step=2) as k:
            pair = (w.entry(places, k), w.entry(places, k + 1))
            w.call(tile, start, image, offsets, depth, *pair, *pair, grid, grid_plane)
        w.call(copy, grid, grid_plane, width, 1, w.at(result, first * plane), plane, row, step,
               least(height, planes - first), rows, columns)  # fmt: skip
    w.builder.ret_void()
    return made


def tile_of(w, tiles, height):
    """The routine of the tiles that are as high, or higher."""
    tile = tiles[HEIGHTS[0]]
    for lower in HEIGHTS[1:]:
        tile = w.builder.select((height <= lower).value, tiles[lower], tile)
    return tile


def woven_tiles_function(module, number):
    """(packed weights, images, offsets, depth, places, positions, grid, result, its steps from image
    to image and plane to plane, planes, how many images, spots): all tiles of the result of images
    woven together, a square of positions and images at a time. Positions are side by side in the
    result's planes, or where ``spots`` says unless it is null."""
    unweave = unweave_function(module, number)
    tiles = {height: tile_function(module, number, height) for height in HEIGHTS}
    made, w, arguments = routine(module, number, "woven_tiles", "fftitiffiiiit")
    if w is None:
        return made
    weights, image, offsets, depth, places, count, grid, result, *rest = arguments
    step, plane, planes, images, spots = rest
    lanes, square = w.index(w.lanes), w.lanes**2
    scattered = Value(w.builder, cgutils.is_not_null(w.builder, spots))
    with blocks(w, planes) as (first, height):
        tile, present = tile_of(w, tiles, height), least(height, planes - first)
        with w.loop(count, step=lanes) as k:
            positions = least(lanes, count - k)
            with w.loop(positions, step=2) as j:
                pair = (w.entry(places, k + j), w.entry(places, k + j + 1))
                targets = (j * lanes, (j + 1) * lanes)
                w.call(tile, w.at(weights, first * depth), image, offsets, depth, *pair, *targets,
                       grid, square)  # fmt: skip
            begin = first * plane + select(scattered, w.index(0), k)
            here = w.builder.select(scattered.value, w.at(spots, k), spots)
            with w.loop(present) as i:
                w.call(unweave, w.at(grid, i * square), w.at(result, begin + i * plane), step,
                       positions, images, here)  # fmt: skip
    w.builder.ret_void()
    return made


def grid_room(rows, width):
    """The elements that vectors over rows may touch."""
    return rows * width + 32


def vectors_of(w, rows, columns, width):
    """How many vectors of positions rows of length ``width`` take, how many of them stand in a row,
    and how far apart rows are if vectors follow each other."""
    lanes = w.index(w.lanes)
    in_row = quotient(columns + (lanes - 1), lanes)
    joined = quotient((rows - 1) * width + columns + (lanes - 1), lanes)
    is_apart = in_row * rows <= joined
    count, in_row_or_all = (
        select(is_apart, apart, joined) for apart in (in_row * rows, in_row)
    )
    return count, in_row_or_all, select(is_apart, in_row * lanes, width)


def places_function(module, number):
    """(places, rows, columns, width, images side by side, spots, where the result begins, its steps
    from row to row and column to column): fill the table of the vectors' places in an image with rows
    of length ``width``. Of one image, those that ``vectors_of`` counts; of images side by side, one for
    each position, and unless ``spots`` is null, there the position's place in the result."""
    made, w, arguments = routine(module, number, "places", "tiiiitiii")
    if w is None:
        return made
    places, rows, columns, width, unit, spots, *steps = arguments
    single, in_row, _ = vectors_of(w, rows, columns, width)
    is_woven = unit > 1
    count, in_row = select(is_woven, rows * columns, single), select(is_woven, columns, in_row)
    step, row_step = select(is_woven, unit, w.index(w.lanes)), width * unit
    with w.loop(count) as k:
        row = quotient(k, in_row)
        w.enter(row * row_step + (k - row * in_row) * step, places, k)
    # the last vector may lack a partner
    w.enter(w.entry(places, count - 1), places, count)
    has_spots = w.builder.and_(is_woven.value, cgutils.is_not_null(w.builder, spots))
    with w.builder.if_then(has_spots):
        target, row_step, step = steps
        with w.loop(rows) as y, w.loop(columns) as x:
            w.enter(target + y * row_step + x * step, spots, y * columns + x)
    w.builder.ret_void()
    return made


def masks_function(module, number):
    """(masks, rows, columns, row step, elements): all bits of the lanes that are positions, in rows
    that are a step apart, and none of the others."""
    made, w, arguments = routine(module, number, "masks", "fiiii")
    if w is None:
        return made
    masks, rows, columns, row_step, size = arguments
    w.clear(masks, size)
    kind = w.integers.element
    table = w.builder.bitcast(masks, kind.as_pointer())
    with w.loop(rows) as y, w.loop(columns) as x:
        w.builder.store(kind(-1), w.at(table, y * row_step + x))
    w.builder.ret_void()
    return made


def correlate_function(module, number, height):
    """(vectors of the adjoint, their row step, their image step, image, its step, offsets, places,
    masks, their step, vectors in an image, images, sums): add to the sums, for ``height`` channels and
    TAPS elements of the window, the products at all positions."""
    made, w, arguments = routine(module, number, f"correlate_{height}", "fiifittfiiif")
    if w is None:
        return made
    adjoint, row_step, image_step, image, step, offsets, places, masks, *rest = arguments
    mask_step, count, images, sums = rest
    builder = w.builder
    distances = [w.entry(offsets, j) for j in range(TAPS)]
    entry = builder.block
    outer, inner, between, done = (
        made.append_basic_block(name) for name in ("image", "positions", "next", "done")
    )
    builder.branch(outer)
    builder.position_at_end(outer)
    n, rows, pixels = builder.phi(INDEX), builder.phi(w.pointer), builder.phi(w.pointer)
    before = [builder.phi(w.type) for _ in range(height * TAPS)]
    builder.branch(inner)
    builder.position_at_end(inner)
    k = builder.phi(INDEX)
    totals = [builder.phi(w.type) for _ in before]
    number_of = Value(builder, k)
    start = number_of * w.lanes
    mask = w.read(masks, number_of * mask_step, w.integers)
    place = w.entry(places, number_of)
    taps = [w.read(pixels, place + distance, w.integers) for distance in distances]
    # what lies between rows counts for nothing, even where it is not finite
    taps = [builder.bitcast(builder.and_(tap, mask), w.type) for tap in taps]
    products = []
    for i in range(height):
        vector = w.read(rows, row_step * i + start)
        for j, tap in enumerate(taps):
            products.append(w.multiply_add(builder, vector, tap, totals[i * TAPS + j]))
    after = builder.add(k, INDEX(1))
    builder.cbranch(builder.icmp_signed("<", after, count.value), inner, between)
    builder.position_at_end(between)
    following = builder.add(n, INDEX(1))
    moved = (w.at(rows, image_step), w.at(pixels, step))
    builder.cbranch(builder.icmp_signed("<", following, images.value), outer, done)
    for phi, first, new in ((n, INDEX(0), following), (rows, adjoint, moved[0]),
                            (pixels, image, moved[1])):  # fmt: skip
        phi.add_incoming(first, entry)
        phi.add_incoming(new, between)
    k.add_incoming(INDEX(0), outer)
    k.add_incoming(after, inner)
    for old, total, product in zip(before, totals, products, strict=True):
        old.add_incoming(w.zero, entry)
        old.add_incoming(product, between)
        total.add_incoming(old, outer)
        total.add_incoming(product, inner)
    builder.position_at_end(done)
    for v, vector in enumerate(summed(w, products)):
        place = w.at(sums, v * w.lanes)
        w.store(builder, builder.fadd(w.load(builder, place), vector), place)
    builder.ret_void()
    return made


def summed(w, vectors):
    """The sums over the lanes of each vector, one after the other."""
    vectors = [*vectors, *[w.zero] * (w.lanes - len(vectors))]
    even, odd = list(range(0, 2 * w.lanes, 2)), list(range(1, 2 * w.lanes, 2))
    for _ in range(w.lanes.bit_length() - 1):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            w.builder.fadd(*(w.shuffle(w.builder, a, b, lanes) for lanes in (even, odd)))
            for a, b in pairs
        ]
    return vectors
