"""How much memory of their own the routines of convolutions get, however wide vectors are.

It is counted as ``kernels.convolution`` and ``kernels.correlation`` share it out: tables, then for each
part an image among zeros, or some, and what is computed for it. A routine that finds less room than it
would like makes fewer parts.
"""

from __future__ import annotations

import math
from typing import Any

from staticgrad.graph.dims import Dim, Shape, canonical, floor_divide, product, usual
from staticgrad.kernels.correlation import ENOUGH, MOST_SUMS
from staticgrad.kernels.images import TOGETHER
from staticgrad.kernels.shapes import PARTS, SHARE

#: elements that all parts may have for themselves, unless one part alone needs more
MOST_PRIVATE = 2**22
#: enough for pieces to begin at a cache line, and for vectors that go beyond the last element
SLACK = 64


def parts_of(points: Dim) -> int:
    """How many parts a routine makes at most for so many multiplications."""
    return max(1, min(usual(points) >> SHARE, PARTS))


class Memory:
    """The memory for a convolution of images with ``planes`` channels in a group, laid out in ``plane``
    elements each. ``lanes`` is how many images may be side by side: 1 where they are too large."""

    def __init__(self, x: Shape, planes: int, plane: Dim, points: Dim, itemsize: int) -> None:
        self.batch, self.planes, self.plane, self.points = x[0], planes, plane, points
        fits = isinstance(plane, int) and planes * plane * 64 <= TOGETHER and self.batch != 1
        self.lanes = 64 // itemsize if fits else 1

    def parts(self, private: Dim) -> int:
        return max(1, min(parts_of(self.points), MOST_PRIVATE // max(1, usual(private))))

    def for_convolution(
        self, source: Dim, outputs: int, groups: int, depth: int, grid: Dim, extent: Dim, number: int
    ) -> Dim:
        """``source`` elements in a channel that is laid out; ``outputs`` of a group, ``depth`` of all
        windows, ``grid`` elements of a result with rows as long as the image's, ``extent`` without;
        ``number`` of convolutions."""
        shared = 4 * depth + 2 * number * (extent + SLACK) + groups * depth * (outputs + 8)
        private = self.planes * self.plane + 8 * (grid + 32) + SLACK
        if self.lanes > 1:
            shared += 2 * (number * extent + self.planes * source)
            woven = (self.planes * self.plane + 1 + 8 * self.lanes) * self.lanes + SLACK
            private = max(private, woven)
        return canonical(shared + 20 * SLACK + self.parts(private) * private)

    def for_correlation(
        self, source: Dim, outputs: int, groups: int, depth: int, grid: Dim, extent: Dim, number: int
    ) -> Dim:
        """The same, for sums over all positions."""
        shared = 2 * (depth + extent + 4 * number) + grid
        private = self.planes * self.plane + (outputs + 4) * (grid + 32) + SLACK
        if isinstance(extent, int) and extent:
            private = private * min(32, -(-16 * ENOUGH // extent))
        if self.lanes > 1:
            shared += 2 * (self.planes * source + outputs * extent)
            woven = (self.planes * self.plane + 1 + (outputs + 4) * extent) * self.lanes + SLACK
            private = max(private, woven * min(32, -(-ENOUGH // extent)))
        parts = self.parts(private)
        sums = groups * 2 * (outputs + 4) * (depth + 4)
        summed = min(parts, MOST_SUMS // sums, self.batch if isinstance(self.batch, int) else parts)
        return canonical(shared + 20 * SLACK + parts * private + max(1, summed) * sums)


def scratch(x: Shape, weight: Shape, out: Shape, result: int, attrs: Any, itemsize: int) -> Dim:
    """The elements for the routine that computes what multiplies x, weight or out."""
    strides, dilations = attrs["strides"], attrs["dilations"]
    axes = zip(x[2:], weight[2:], out[2:], strides, attrs["padding"], dilations, strict=True)
    grid: Any = 1
    extent: Any = 1
    for size, k, positions, stride, (low, _), dilation in axes:
        reach = (k - 1) * dilation // stride
        own, across = positions, positions
        if result == 0:
            own = floor_divide(size + stride - 1, stride)
            across = floor_divide(size - 1 + low, stride) - low // stride + 1
        grid, extent = grid * (across + reach), extent * own
    images, taps, inner = math.prod(strides), math.prod(weight[2:]), weight[1]
    groups = x[1] // inner
    outer = weight[0] // groups
    points = product((*out, inner, taps))
    if result == 0:
        memory = Memory(x, outer, grid, points, itemsize)
        return memory.for_convolution(
            product(out[2:]), inner, groups, outer * taps, grid, extent, images
        )
    memory = Memory(x, inner, images * grid, points, itemsize)
    count = memory.for_convolution if result == 2 else memory.for_correlation
    number = 1 if result == 2 else images
    return count(product(x[2:]), outer, groups, inner * taps, grid, extent, number)
