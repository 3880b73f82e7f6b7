"""How the images of a convolution are laid out among zeros, one by one or several side by side.

A layout is a few boxes of elements, each with steps of its own in the source and rows of its own in
the image. One image at a time is copied box by box. Of small images, as many as a vector has lanes
are woven together: what stands at one place in all of them is a vector, so that no lane is lost at
the end of a row, however short rows are. They are transposed on the way in, a square of vectors at a
time, and on the way out.
"""

from contextlib import contextmanager
from types import SimpleNamespace

from numba.core import cgutils

from staticgrad.kernels.writer import least, routine, whole_lines
from staticgrad.vectormath.straightline import select

#: numbers of a box: where it begins in the source and in the image, its rows and its columns
BOX = 4
#: bytes that images side by side may take up: larger ones would not stay in an L2 cache
TOGETHER = 2**20


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


def weave_function(module, number):
    """(source, its step from image to image, elements, places, woven, images): ``elements`` neighbours
    of each image as vectors, each at its place; zeros where there is no image. The places of
    elements beyond the last are written to as well, up to whole vectors."""
    made, w, arguments = routine(module, number, "weave", "fiitfi")
    if w is None:
        return made
    source, step, elements, places, woven, images = arguments
    builder, lanes = w.builder, w.lanes
    room, square = w.room(lanes**2), w.index(lanes**2)
    with w.loop(elements, step=lanes) as e:
        start, left = w.at(source, e), elements - e
        is_whole = (left >= lanes) & (images == lanes)
        with builder.if_then(builder.not_(is_whole.value)):
            mask = w.below(least(left, w.index(lanes)))
            w.clear(room, square)
            with w.loop(images) as n:
                w.write(w.read_lanes(mask, w.at(start, step * n)), room, n * lanes)
        first = builder.select(is_whole.value, start, room)
        across = select(is_whole, step, w.index(lanes))
        rows = [w.read(first, across * n) for n in range(lanes)]
        for j, vector in enumerate(w.transposed(builder, rows)):
            w.write(vector, woven, w.entry(places, e + j))
    builder.ret_void()
    return made


def unweave_function(module, number):
    """(vectors, result, its step from image to image, positions, images, spots): as many vectors as
    there are positions, up to a square, to the images they belong to: side by side, or where the
    table ``spots`` says unless it is null."""
    made, w, arguments = routine(module, number, "unweave", "ffiiit")
    if w is None:
        return made
    vectors, result, step, positions, images, spots = arguments
    builder, lanes = w.builder, w.lanes
    rows = w.transposed(builder, [w.read(vectors, j * lanes) for j in range(lanes)])
    contiguous = cgutils.is_null(builder, spots)
    is_whole = ((positions == lanes) & (images == lanes)).value
    with builder.if_then(builder.and_(contiguous, is_whole)):
        for n, row in enumerate(rows):
            w.write(row, result, step * n)
        builder.ret_void()
    room = w.room(lanes**2)
    for n, row in enumerate(rows):
        w.write(row, room, n * lanes)
    mask = w.below(positions)
    with w.loop(images) as n, builder.if_else(contiguous) as (by_vector, by_element):
        with by_vector:
            w.write_lanes(mask, w.read(room, n * lanes), w.at(result, n * step))
        with by_element, w.loop(positions) as j:
            value = builder.load(w.at(room, n * lanes + j))
            builder.store(value, w.at(result, n * step + w.entry(spots, j)))
    builder.ret_void()
    return made


def lay_out_function(module, number):
    """(source, its steps from image to image, plane to plane, row to row and column to column; image,
    elements of its planes and rows; planes, boxes, how many, places of the elements, images): one
    image, or as many as a vector has lanes where ``places`` is not null."""
    copy, weave = copy_function(module, number), weave_function(module, number)
    made, w, arguments = routine(module, number, "lay_out", "fiiiifiiititi")
    if w is None:
        return made
    source, step, s_plane, s_row, s_step, image, plane, row, planes = arguments[:9]
    boxes, count, places, images = arguments[9:]
    with w.builder.if_then(cgutils.is_not_null(w.builder, places)):
        w.call(weave, source, step, planes * s_plane, places, image, images)
        w.builder.ret_void()
    with w.loop(count) as k:
        begin, target, rows, columns = box(w, boxes, k)
        w.call(copy, w.at(source, begin), s_plane, s_row, s_step, w.at(image, target), plane, row, 1,
               planes, rows, columns)  # fmt: skip
    w.builder.ret_void()
    return made


def element_places_function(module, number):
    """(the source's steps from plane to plane, row to row and column to column; elements of an image's
    planes and rows; planes, boxes, how many, places, images side by side): fill the table of the
    places of all elements. What no window reaches goes to the place behind the image."""
    made, w, arguments = routine(module, number, "element_places", "iiiiiititi")
    if w is None:
        return made
    s_plane, s_row, s_step, plane, row, planes, boxes, count, places, unit = arguments
    with w.loop(planes * s_plane + w.lanes) as e:
        w.enter(planes * plane * unit, places, e)
    with w.loop(count) as k:
        begin, target, rows, columns = box(w, boxes, k)
        with w.loop(planes) as c, w.loop(rows) as i, w.loop(columns) as j:
            place = (c * plane + target + i * row + j) * unit
            w.enter(place, places, c * s_plane + begin + i * s_row + j * s_step)
    w.builder.ret_void()
    return made


def box(w, boxes, k):
    return [w.entry(boxes, k * BOX + i) for i in range(BOX)]


def enter_box(w, boxes, k, *numbers):
    for i, value in enumerate(numbers):
        w.enter(value, boxes, k * BOX + i)


class Layout(SimpleNamespace):
    """Where elements of a source go: ``steps`` of the source from plane to plane, row to row and
    column to column, ``plane`` and ``row`` elements in the planes and rows of an image, ``planes``,
    the table of ``boxes`` and ``count`` of them, and ``places`` of all elements if images are woven
    together, else null."""

    def given(self, name):
        """What a function of a part is given, with names that begin with ``name``."""
        items = [*self.steps, self.plane, self.row, self.planes, self.boxes, self.count, self.places]
        return {f"{name}_{k}": item for k, item in enumerate(items)}

    @staticmethod
    def of(given, name):
        """The layout that was given by that name."""
        *steps, plane, row, planes, boxes, count, places = (
            getattr(given, f"{name}_{k}") for k in range(9)
        )
        return Layout(steps=steps, plane=plane, row=row, planes=planes, boxes=boxes, count=count,
                      places=places)  # fmt: skip

    def call(self, source, step, image, planes, images):
        """The arguments of ``lay_out_function``."""
        return [source, step, *self.steps, image, self.plane, self.row, planes, self.boxes,
                self.count, self.places, images]  # fmt: skip

    def enter_places(self, w, places, unit):
        """Fill the table of the places of all elements, ``unit`` images side by side."""
        w.call(element_places_function(w.builder.module, w.number), *self.steps, self.plane, self.row,
               self.planes, self.boxes, self.count, places, unit)  # fmt: skip

    def room(self, w, unit):
        """Elements of memory for an image, or for ``unit`` of them side by side."""
        return whole_lines(self.planes * self.plane * unit + select(unit > 1, unit, w.index(32)))


class Place:
    """Memory that belongs to the place of a thread, for what its parts lay out. A thread that goes from
    one part to the next finds what it has laid out before: the table holds a key for each place, 0
    while the memory is not in use."""

    def __init__(self, w, keys, number, memory, size):
        self.w, self.keys, self.number = w, keys, number
        with w.builder.if_then((w.entry(keys, number) == 0).value):
            w.clear(memory, size)

    @contextmanager
    def unless(self, key):
        """What to do unless the place holds what has this key, counted from zero."""
        w = self.w
        with w.builder.if_then((w.entry(self.keys, self.number) != key + 1).value):
            yield
            w.enter(key + 1, self.keys, self.number)
