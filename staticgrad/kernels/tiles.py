"""Blocks of convolutions that stay in vector registers, and how images are laid out for them.

The window's element (channel, ky, kx) at the position (y, x) lies ``offset[channel, ky, kx] +
place[y, x]`` elements into the image, whatever stride and dilation are, once an image is copied among
zeros, and for a stride s into s x s images of every s-th row and column. Neighbouring positions are
neighbours in memory then, so a convolution is a matrix product whose right operand is read from where
it lies, and no matrix of windows is made. Vectors of positions run over whole rows, with what lies
between the positions computed and dropped, or each row has vectors of its own, whichever takes fewer.
Written as ``gemm`` is.
"""

from contextlib import contextmanager

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


def copy_function(module, number):
    """(source, its steps, target, its steps, planes, rows, columns): copy a box of elements."""
    made, w, arguments = routine(module, number, "copy_box", "fiiifiiiiii")
    if w is None:
        return made
    source, s_plane, s_row, s_step, target, t_plane, t_row, t_step, planes, rows, columns = arguments
    whole = (columns >> w.lanes.bit_length() - 1) * w.lanes
    rest = w.below(columns - whole)
    contiguous = (s_step == 1) & (t_step == 1)
    with w.builder.if_else(contiguous.value) as (by_vector, by_element):
        for branch in (by_vector, by_element):
            with branch, w.loop(planes) as p, w.loop(rows) as i:
                start = w.at(source, p * s_plane + i * s_row)
                place = w.at(target, p * t_plane + i * t_row)
                if branch is by_element:
                    with w.loop(columns) as j:
                        value = w.builder.load(w.at(start, j * s_step))
                        w.builder.store(value, w.at(place, j * t_step))
                else:
                    with w.loop(whole, step=w.lanes) as j:
                        w.write(w.read(start, j), place, j)
                    with w.builder.if_then((columns != whole).value):
                        w.write_lanes(rest, w.read_lanes(rest, w.at(start, whole)), w.at(place, whole))
    w.builder.ret_void()
    return made


def tile_function(module, number, height):
    """(weights, image, offsets, depth, two places, target, its row step): ``height`` rows of the
    result at two vectors of positions."""
    made, w, arguments = routine(module, number, f"tile_{height}", "fftiiifi")
    if w is None:
        return made
    weights, image, offsets, depth, *places, target, step = arguments
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
        w.write(result, target, step * i + places[v])
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
        tile = tiles[HEIGHTS[0]]
        for lower in HEIGHTS[1:]:
            tile = w.builder.select((height <= lower).value, tiles[lower], tile)
        with w.loop(count, step=2) as k:
            pair = (w.entry(places, k), w.entry(places, k + 1))
            w.call(tile, start, image, offsets, depth, *pair, grid, grid_plane)
        w.call(copy, grid, grid_plane, width, 1, w.at(result, first * plane), plane, row, step,
               least(height, planes - first), rows, columns)  # fmt: skip
    w.builder.ret_void()
    return made


def grid_room(rows, width):
    """The elements that vectors over rows may touch."""
    return rows * width + 32


def enter_places(w, places, rows, columns, width):
    """Fill the table of the vectors' places in rows of length ``width``. Returns how many there are,
    how many stand in a row, and how far apart rows are if vectors follow each other."""
    lanes = w.index(w.lanes)
    in_row = quotient(columns + (lanes - 1), lanes)
    joined = quotient((rows - 1) * width + columns + (lanes - 1), lanes)
    is_apart = in_row * rows <= joined
    count = select(is_apart, in_row * rows, joined)
    in_row = select(is_apart, in_row, joined)
    with w.loop(count) as k:
        row = quotient(k, in_row)
        w.enter(row * width + (k - row * in_row) * lanes, places, k)
    # the last vector may lack a partner
    w.enter(w.entry(places, count - 1), places, count)
    return count, select(is_apart, in_row * lanes, width)


def correlate_function(module, number, height):
    """(vectors of the adjoint, their row step, their image step, image, its step, offsets, places,
    masks, vectors in an image, images, sums): add to the sums, for ``height`` channels and TAPS
    elements of the window, the products at all positions."""
    made, w, arguments = routine(module, number, f"correlate_{height}", "fiifittfiif")
    if w is None:
        return made
    adjoint, row_step, image_step, image, step, offsets, places, masks, count, images, sums = arguments
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
    mask = w.read(masks, start, w.integers)
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
