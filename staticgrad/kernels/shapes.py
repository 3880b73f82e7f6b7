"""The sizes of convolutions, and how their routines are called."""

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from staticgrad.kernels.images import TOGETHER, Layout, enter_box
from staticgrad.kernels.tiles import vectors_of
from staticgrad.kernels.writer import least, most, planar, quotient, remainder, routine
from staticgrad.vectormath.straightline import select

#: x, weight, out, scratch and its size; batch, channels, height, width; outputs, the kernel's height
#: and width; the result's; strides, padding, dilations and groups
SIZES = "i" * 16
SIGNATURE = "ffffi" + SIZES
#: a part has 2**SHARE multiplications at least, some 20 microseconds: shorter ones gain less than it
#: takes to wake a thread; and this is the most parts
SHARE, PARTS = 20, 16
#: what a vector that is woven costs, or a row that is copied, in multiplications of vectors
WEAVING, COPYING = 6, 8


class Shapes:
    """The sizes in a convolution. ``grid`` is what the positions take up together with what the last
    window reaches beyond them."""

    def __init__(self, sizes):
        self.sizes = sizes
        self.batch, self.channels, *size, self.outputs, k_y, k_x, o_y, o_x = sizes[:9]
        self.size, self.kernel, self.positions = tuple(size), (k_y, k_x), (o_y, o_x)
        self.strides, self.padding = tuple(sizes[9:11]), tuple(sizes[11:13])
        self.dilations, self.groups = tuple(sizes[13:15]), sizes[15]
        self.inner = quotient(self.channels, self.groups)
        self.outer = quotient(self.outputs, self.groups)
        self.taps = k_y * k_x
        self.depth = self.inner * self.taps
        self.area, self.result_area = self.size[0] * self.size[1], o_y * o_x
        #: how many images of every s-th row and column there are
        self.images = self.strides[0] * self.strides[1]
        triples = zip(self.kernel, self.dilations, self.strides, strict=True)
        self.reach = [quotient((k - 1) * d, s) for k, d, s in triples]
        self.grid = [o + reach for o, reach in zip(self.positions, self.reach, strict=True)]
        #: the elements of a channel that is spread over images of every s-th row and column
        self.plane = self.images * self.grid[0] * self.grid[1]
        self.work = self.batch * self.outputs * self.result_area * self.depth

    def spread(self):
        """The layout of the channels of a group, apart into images of every s-th row and column."""
        steps = [self.area, self.strides[0] * self.size[1], self.strides[1]]
        return Layout(steps=steps, plane=self.plane, row=self.grid[1], planes=self.inner,
                      count=self.images)  # fmt: skip

    def enter_spread(self, w, offsets, boxes, unit):
        """The boxes of that layout, and where the elements of a window lie in the image, ``unit``
        images side by side."""
        w.call(spread_function(w.builder.module, w.number), offsets, boxes, unit, *self.sizes)


def spread_function(module, number):
    """(offsets, boxes, images side by side, sizes): see ``Shapes.enter_spread``."""
    made, w, arguments = routine(module, number, "spread", "tti" + SIZES)
    if w is None:
        return made
    offsets, boxes, unit, *sizes = arguments
    shapes = Shapes(sizes)
    (s_y, s_x), (d_y, d_x), (rows, columns) = shapes.strides, shapes.dilations, shapes.grid
    with w.loop(shapes.inner) as c, w.loop(shapes.kernel[0]) as k, w.loop(shapes.kernel[1]) as l:
        y, x = k * d_y, l * d_x
        image = (c * s_y + remainder(y, s_y)) * s_x + remainder(x, s_x)
        place = (image * rows + quotient(y, s_y)) * columns + quotient(x, s_x)
        w.enter(place * unit, offsets, (c * shapes.kernel[0] + k) * shapes.kernel[1] + l)
    with w.loop(s_y) as a, w.loop(s_x) as b:
        first, count, source = [], [], []
        for k, s, p, size, room in zip(
            (a, b), shapes.strides, shapes.padding, shapes.size, shapes.grid, strict=True
        ):
            first.append(quotient(p - k + s - 1, s))
            count.append(least(quotient(size + p - k + s - 1, s), room) - first[-1])
            source.append(s * first[-1] + k - p)
        image = a * s_x + b
        target = (image * rows + first[0]) * columns + first[1]
        enter_box(w, boxes, image, source[0] * shapes.size[1] + source[1], target, *count)
    w.builder.ret_void()
    return made


def parts_of(shapes):
    """How many parts the work is worth."""
    zero = shapes.work.literal(0)
    return most(least(shapes.work >> SHARE, zero + PARTS), zero + 1)


def images_together(w, batch, layout, outputs, extent, depth):
    """How many images are computed at once: as many as a vector has lanes where that costs less than
    lanes that are lost at the ends of rows, and where so many images stay in the cache; else one."""
    rows, columns = extent
    count, *_ = vectors_of(w, rows, columns, layout.row)
    # vectors are computed in pairs
    single = batch * outputs * (((count + 1) >> 1) * 2 * depth + rows * COPYING)
    units = quotient(batch + (w.lanes - 1), w.index(w.lanes))
    moved = outputs * rows * columns + layout.planes * layout.steps[0]
    woven = units * (outputs * rows * columns * depth + moved * WEAVING)
    fits = layout.planes * layout.plane * (w.lanes * w.bits // 8) <= TOGETHER
    return select(fits & (woven < single), w.index(w.lanes), w.index(1))


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
