"""Max pooling and its derivatives: one element of each window counts, the first of the largest.

NaN counts as the largest, and padding is not looked at. Windows two elements wide, side by side, are
gone through in vectors, and windows two by two of small images in vectors of several rows; others
element by element. Many planes go to several threads.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.kernels.vectors import FLAG, INDEX
from staticgrad.kernels.writer import in_parts, least, most, planar, quotient, routine

#: planes; height and width, and those of the result; windows' sizes, strides, padding, dilations
SIZES = "i" * 13
#: a part has 2**SHARE elements of x at least, 10 to 30 microseconds, and this is the most parts
SHARE, PARTS = 16, 16


class Windows:
    """Goes through the windows of all planes."""

    def __init__(self, w, sizes):
        self.w = w
        self.planes, self.height, self.width, self.rows, self.columns, *pairs = sizes
        pairs = [tuple(pairs[i : i + 2]) for i in range(0, 8, 2)]
        self.sizes, self.strides, self.padding, self.dilations = pairs
        self.area, self.result_area = self.height * self.width, self.rows * self.columns

    def pairs(self):
        """Whether windows stand side by side and are two elements wide."""
        (_, k), (_, s), (_, p), (_, d) = self.sizes, self.strides, self.padding, self.dilations
        return (k == 2) & (s == 2) & (p == 0) & (d == 1)

    def cover(self):
        """Whether each element stands in one such window."""
        (k, _), (s, _), (p, _), (d, _) = self.sizes, self.strides, self.padding, self.dilations
        whole = (self.rows * k == self.height) & (self.columns * 2 == self.width)
        return self.pairs() & whole & (k == s) & (p == 0) & (d == 1)

    def by_rows(self, visit):
        """Where windows two by two cover narrow planes, and rows of results fill vectors: call
        ``visit(columns, place in the result, mask, masks of the four vectors of x)``, with the columns
        of the result as a number, and return."""
        w, builder = self.w, self.w.builder
        squares = (self.cover() & (self.sizes[0] == 2)).value
        with builder.if_then(squares):
            count = self.planes * self.result_area
            for columns in (2, 4, 8):
                if columns > w.lanes:
                    continue
                with builder.if_then((self.columns == columns).value):
                    with w.loop(count, step=w.lanes) as place:
                        left, lanes = count - place, w.index(w.lanes)
                        masks = [w.below(least(left * 4 - i * w.lanes, lanes)) for i in range(4)]
                        visit(columns, place, w.below(least(left, lanes)), masks)
                    builder.ret_void()

    def in_height(self, y, k):
        """The row of a window's element, and whether there is one."""
        row = y * self.strides[0] + k * self.dilations[0] - self.padding[0]
        return row, (row >= 0) & (row < self.height)

    def by_element(self, visit, finish):
        """Call ``visit(place in the result, place in x)`` for each element of each window, and
        ``finish(place in the result)`` after them."""
        w = self.w
        with w.loop(self.planes) as p, w.loop(self.rows) as y, w.loop(self.columns) as x:
            place = p * self.result_area + y * self.columns + x
            with w.loop(self.sizes[0]) as k:
                row, exists = self.in_height(y, k)
                with w.builder.if_then(exists.value), w.loop(self.sizes[1]) as l:
                    column = x * self.strides[1] + l * self.dilations[1] - self.padding[1]
                    inside = (column >= 0) & (column < self.width)
                    with w.builder.if_then(inside.value):
                        visit(place, p * self.area + row * self.width + column)
            finish(place)

    def by_vector(self, begin, visit, finish):
        """The same for vectors of windows: ``begin(place, mask)``, ``visit(place, masks of the two
        vectors that hold the windows' rows)``, ``finish(place, mask)``."""
        w = self.w
        with w.loop(self.planes) as p, w.loop(self.rows) as y, w.loop(self.columns, step=w.lanes) as x:
            place = p * self.result_area + y * self.columns + x
            left = self.columns - x
            mask = w.below(least(left, w.index(w.lanes)))
            # lanes beyond the first vector come from the second
            masks = [w.below(least(left * 2 - i * w.lanes, w.index(w.lanes))) for i in (0, 1)]
            begin(place, mask)
            with w.loop(self.sizes[0]) as k:
                row, exists = self.in_height(y, k)
                with w.builder.if_then(exists.value):
                    visit(p * self.area + row * self.width + x * 2, masks)
            finish(place, mask)


def halves(w, vectors):
    """Of two vectors side by side the even and the odd lanes."""
    return [
        w.shuffle(w.builder, *vectors, list(range(first, 2 * w.lanes, 2))) for first in (0, 1)
    ]


def woven(w, even, odd):
    """The two vectors that have ``even`` and ``odd`` as their halves."""
    lanes = [lane for i in range(w.lanes) for lane in (i, w.lanes + i)]
    return [w.shuffle(w.builder, even, odd, lanes[i : i + w.lanes]) for i in (0, w.lanes)]


def corners(w, columns, vectors):
    """Of four vectors of rows, each of twice as many elements as ``columns``, vectors of the elements
    of windows two by two: top left, top right, bottom left, bottom right."""
    first, second = halves(w, vectors[:2]), halves(w, vectors[2:])
    found = []
    for row in (0, 1):
        lanes = [lane for lane in range(2 * w.lanes) if lane // columns % 2 == row]
        found += [
            w.shuffle(w.builder, *pair, lanes) for pair in zip(first, second, strict=True)
        ]
    return found


def rows_of_corners(w, columns, found):
    """The four vectors that have these corners."""
    places = [divmod(lane, columns) for lane in range(2 * w.lanes)]
    lanes = [group % 2 * w.lanes + group // 2 * columns + at for group, at in places]
    left, right = (
        [w.shuffle(w.builder, top, bottom, half) for half in (lanes[: w.lanes], lanes[w.lanes :])]
        for top, bottom in (found[::2], found[1::2])
    )
    return [vector for pair in zip(left, right, strict=True) for vector in woven(w, *pair)]


def exceeds(builder, value, best):
    """Whether a value takes the place of the largest: it is greater, or NaN."""
    greater = builder.fcmp_ordered(">", value, best)
    return builder.or_(greater, builder.fcmp_unordered("uno", value, value))


def matches(builder, value, best):
    """Whether a value is the largest, or NaN, which makes the largest NaN."""
    equal = builder.fcmp_ordered("==", value, best)
    return builder.or_(equal, builder.fcmp_unordered("uno", value, value))


def max_pool_function(module, number):
    """(x, out, sizes)"""
    made, w, arguments = routine(module, number, "max_pool", "ff" + SIZES)
    if w is None:
        return made
    x, out, *sizes = arguments
    windows, builder = Windows(w, sizes), w.builder
    lowest = ir.Constant(w.type, [float("-inf")] * w.lanes)
    many, one = (cgutils.alloca_once(builder, kind) for kind in (w.type, number))

    def enlarge(best, value):
        old = builder.load(best)
        builder.store(builder.select(exceeds(builder, value, old), value, old), best)

    def visit_vectors(place, masks):
        pair = [w.read_lanes(mask, w.at(x, place + i * w.lanes)) for i, mask in enumerate(masks)]
        for value in halves(w, pair):
            enlarge(many, value)

    def finish(place):
        builder.store(builder.load(one), w.at(out, place))
        builder.store(number(float("-inf")), one)

    def visit_rows(columns, place, mask, masks):
        ends = [w.at(x, place * 4 + i * w.lanes) for i in range(4)]
        rows = [w.read_lanes(inside, end) for inside, end in zip(masks, ends, strict=True)]
        best, *others = corners(w, columns, rows)
        for value in others:
            best = builder.select(exceeds(builder, value, best), value, best)
        w.write_lanes(mask, best, w.at(out, place))

    windows.by_rows(visit_rows)
    with builder.if_then(windows.pairs().value):
        windows.by_vector(
            lambda place, mask: builder.store(lowest, many),
            visit_vectors,
            lambda place, mask: w.write_lanes(mask, builder.load(many), w.at(out, place)),
        )
        builder.ret_void()
    builder.store(number(float("-inf")), one)
    windows.by_element(lambda place, source: enlarge(one, builder.load(w.at(x, source))), finish)
    builder.ret_void()
    return made


def max_pool_spread_function(module, number):
    """(x, out, adjoint of out, adjoint of x, sizes)"""
    made, w, arguments = routine(module, number, "max_pool_spread", "ffff" + SIZES)
    if w is None:
        return made
    x, out, adjoint, result, *sizes = arguments
    windows, builder = Windows(w, sizes), w.builder
    flags = ir.VectorType(FLAG, w.lanes)
    room = [cgutils.alloca_once(builder, kind) for kind in (w.type, w.type, flags, FLAG)]
    best, share, open_lanes, is_open = room

    def visit_rows(columns, place, mask, masks):
        starts = [place * 4 + i * w.lanes for i in range(4)]
        rows = [w.read_lanes(m, w.at(x, start)) for m, start in zip(masks, starts, strict=True)]
        largest, more = (w.read_lanes(mask, w.at(source, place)) for source in (out, adjoint))
        free, shares = mask, []
        for value in corners(w, columns, rows):
            found = builder.and_(free, matches(builder, value, largest))
            free = builder.and_(free, builder.not_(found))
            shares.append(builder.select(found, more, w.zero))
        made = rows_of_corners(w, columns, shares)
        for vector, inside, start in zip(made, masks, starts, strict=True):
            w.write_lanes(inside, vector, w.at(result, start))

    windows.by_rows(visit_rows)
    covers = windows.cover().value
    with builder.if_then(builder.not_(covers)):
        clear(w, result, windows.planes * windows.area)

    def begin(place, mask):
        for source, target in ((out, best), (adjoint, share)):
            builder.store(w.read_lanes(mask, w.at(source, place)), target)
        builder.store(mask, open_lanes)

    def visit_vectors(place, masks):
        ends = [w.at(result, place + i * w.lanes) for i in (0, 1)]
        pair = [w.read_lanes(mask, w.at(x, place + i * w.lanes)) for i, mask in enumerate(masks)]
        shares = []
        for value in halves(w, pair):
            free = builder.load(open_lanes)
            found = builder.and_(free, matches(builder, value, builder.load(best)))
            builder.store(builder.and_(free, builder.not_(found)), open_lanes)
            shares.append(builder.select(found, builder.load(share), w.zero))
        with builder.if_else(covers) as (alone, together):
            for branch in (alone, together):
                with branch:
                    for mask, end, more in zip(masks, ends, woven(w, *shares), strict=True):
                        if branch is together:
                            more = builder.fadd(w.read_lanes(mask, end), more)
                        w.write_lanes(mask, more, end)

    def visit(place, source):
        free = builder.load(is_open)
        value, largest = builder.load(w.at(x, source)), builder.load(w.at(out, place))
        found = builder.and_(free, matches(builder, value, largest))
        with builder.if_then(found):
            end = w.at(result, source)
            more = builder.load(w.at(adjoint, place))
            builder.store(builder.fadd(builder.load(end), more), end)
            builder.store(FLAG(0), is_open)

    with builder.if_then(windows.pairs().value):
        # windows below each other may have rows in common, windows side by side have no elements
        windows.by_vector(begin, visit_vectors, lambda place, mask: None)
        builder.ret_void()
    builder.store(FLAG(1), is_open)
    windows.by_element(visit, lambda place: builder.store(FLAG(1), is_open))
    builder.ret_void()
    return made


def max_pool_take_function(module, number):
    """(x, out, values in the shape of x, result in that of out, sizes)"""
    made, w, arguments = routine(module, number, "max_pool_take", "ffff" + SIZES)
    if w is None:
        return made
    x, out, values, result, *sizes = arguments
    windows, builder = Windows(w, sizes), w.builder
    is_open = cgutils.alloca_once(builder, FLAG)
    clear(w, result, windows.planes * windows.result_area)

    def visit(place, source):
        value, largest = builder.load(w.at(x, source)), builder.load(w.at(out, place))
        found = builder.and_(builder.load(is_open), matches(builder, value, largest))
        with builder.if_then(found):
            builder.store(builder.load(w.at(values, source)), w.at(result, place))
            builder.store(FLAG(0), is_open)

    builder.store(FLAG(1), is_open)
    windows.by_element(visit, lambda place: builder.store(FLAG(1), is_open))
    builder.ret_void()
    return made


def clear(w, pointer, count):
    cgutils.memset(w.builder, pointer, (count * (w.bits // 8)).value, 0)


def shared_function(module, number, routine_of, positions):
    """The routine, in parts if it is worth it: each some of the planes. ``positions`` says of each
    array whether its planes have an element for each window, or one for each element of ``x``."""
    pool = routine_of(module, number)
    name = pool.name.removeprefix("staticgrad_").rpartition("_")[0]
    made, w, arguments = routine(module, number, f"shared_{name}", "f" * len(positions) + SIZES)
    if w is None:
        return made
    arrays, (planes, *sizes) = arguments[: len(positions)], arguments[len(positions) :]
    area, result_area = (sizes[k] * sizes[k + 1] for k in (0, 2))
    one = w.index(1)
    parts = least(least((planes * area) >> SHARE, w.index(PARTS)), planes)
    given = {f"array_{k}": array for k, array in enumerate(arrays)}
    given |= {f"size_{k}": size for k, size in enumerate(sizes)}

    def part(w, number, place, given):
        first, stop = (quotient(k * given.planes, given.parts) for k in (number, number + 1))
        steps = [given.result_area if each else given.area for each in positions]
        pieces = [w.at(getattr(given, f"array_{k}"), first * step) for k, step in enumerate(steps)]
        own = [getattr(given, f"size_{k}") for k in range(len(sizes))]
        w.call(pool, *pieces, stop - first, *own)

    in_parts(w, f"part_of_{name}", part, most(parts, one), **given, planes=planes, area=area,
             result_area=result_area, parts=most(parts, one))  # fmt: skip
    w.builder.ret_void()
    return made


def pooling(routine_of, arrays, options, positions):
    """What an intrinsic returns that calls a routine on arrays, the first with the axes that windows
    go over as its last, with the windows' sizes, strides, padding and dilations. ``positions`` says
    which arrays have an element for each window."""
    for array in arrays:
        if not (isinstance(array, types.Array) and array.layout == "C"):
            raise TypingError(f"pooling takes C-contiguous arrays, not {array}")
        if array.dtype != arrays[0].dtype or array.dtype not in (types.float32, types.float64):
            raise TypingError(f"pooling takes floats of one type, not {array}")
    rank = len(options[0])

    def generate(context, builder, signature, arguments):
        made = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(arrays, arguments[: len(arrays)], strict=True)
        ]
        x, out = (cgutils.unpack_tuple(builder, array.shape) for array in made[:2])
        planes = INDEX(1)
        for size in x[:-rank]:
            planes = builder.mul(planes, size)
        sizes = [planes, *planar(x[-rank:], 1), *planar(out[-rank:], 1)]
        given = zip(options, arguments[len(arrays) :], (1, 1, 0, 1), strict=True)
        for kind, value, default in given:
            items = cgutils.unpack_tuple(builder, value)
            cast = [context.cast(builder, item, kind.dtype, types.intp) for item in items]
            sizes += planar(cast, default)
        number = context.get_data_type(arrays[0].dtype)
        shared = shared_function(builder.module, number, routine_of, positions)
        builder.call(shared, [*(a.data for a in made), *sizes])
        return context.get_dummy_value()

    return types.void(*arrays, *options), generate


@intrinsic
def max_pool(typing_context, x, out, sizes, strides, padding, dilations):
    """The largest element of each window of ``x``, into ``out``."""
    return pooling(max_pool_function, (x, out), (sizes, strides, padding, dilations), (0, 1))


@intrinsic
def max_pool_spread(typing_context, x, out, adjoint, d_x, sizes, strides, padding, dilations):
    """The adjoint of ``out``, added where the largest elements of ``x`` are; zero elsewhere."""
    options = (sizes, strides, padding, dilations)
    return pooling(max_pool_spread_function, (x, out, adjoint, d_x), options, (0, 1, 1, 0))


@intrinsic
def max_pool_take(typing_context, x, out, values, taken, sizes, strides, padding, dilations):
    """Of ``values`` those that stand where the largest elements of ``x`` are."""
    options = (sizes, strides, padding, dilations)
    return pooling(max_pool_take_function, (x, out, values, taken), options, (0, 1, 0, 1))
