"""Pooling, written in windows and reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Shape, canonical
from staticgrad.graph.node import Node, located, make_node
from staticgrad.ops import scalar
from staticgrad.ops.composite import composite
from staticgrad.ops.convert import as_node, broadcast, cast, float_dtype, insert_axes
from staticgrad.ops.convolution import per_axis
from staticgrad.ops.diagonals import iota
from staticgrad.ops.joining import pad, slice_axis
from staticgrad.ops.reduction import max as largest
from staticgrad.ops.reduction import min as least
from staticgrad.ops.reduction import reduce_sum
from staticgrad.ops.reduction_rules import spread
from staticgrad.ops.statistics import mean
from staticgrad.ops.table import sample
from staticgrad.ops.windows import FOLD, windows


def _geometry(
    rank: int, size: Any, stride: Any, padding: Any, dilation: Any
) -> dict[str, tuple[Any, ...]]:
    sizes = per_axis(size, rank, "kernel_size")
    pads = per_axis(padding, rank, "padding")
    if any(2 * p > s for p, s in zip(pads, sizes, strict=True)):
        raise ValueError(f"padding {padding} must be at most half of kernel_size {size}")
    return {
        "sizes": sizes,
        "strides": sizes if stride is None else per_axis(stride, rank, "stride"),
        "dilations": per_axis(dilation, rank, "dilation"),
        "padding": tuple((p, p) for p in pads),
    }


def _padded(x: Node, padding: tuple[tuple[int, int], ...], value: float) -> Node:
    if not any(sum(pair) for pair in padding):
        return x
    lead = ((0, 0),) * (x.ndim - len(padding))
    return pad(x, (*lead, *padding), constant_values=value)


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    return tuple(range(node.ndim - rank, node.ndim))


def _windows(x: Node, geometry: Mapping[str, Any], filled: float) -> Node:
    padded = _padded(x, geometry["padding"], filled)
    return windows(padded, geometry["sizes"], geometry["strides"], geometry["dilations"])


def _largest(x: Node, **geometry: Any) -> Node:
    patches = _windows(x, geometry, -math.inf)
    return largest(patches, axis=_axes(patches, len(geometry["sizes"])))


def _position_of_largest(x: Node, **geometry: Any) -> Node:
    """The number of the first largest element in each window, row by row; NaN counts as largest."""
    patches = _windows(x, geometry, -math.inf)
    axes = _axes(patches, len(geometry["sizes"]))
    best = spread(make_node(MAX_POOL, [x], geometry), patches, axes)
    match = scalar.logical_or(scalar.equal(patches, best), scalar.isnan(patches))
    places = _places(patches.shape, axes)
    beyond = broadcast(as_node(math.prod(geometry["sizes"]), places.dtype), patches.shape)
    return least(scalar.where(match, places, beyond), axis=axes)


def _places(shape: Shape, axes: tuple[int, ...]) -> Node:
    """The number of each element in its window."""
    place: Any = iota(shape, axes[0])
    for axis in axes[1:]:
        place = place * shape[axis] + iota(shape, axis)
    return cast(place, np.dtype("int32"))


def _max_pool_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    """The first of equal elements takes the adjoint, as in PyTorch."""
    (x,), geometry = node.inputs, node.attrs
    shape = (*node.shape, *geometry["sizes"])
    axes = tuple(range(node.ndim, len(shape)))
    position, share = (
        broadcast(insert_axes(item, axes), shape)
        for item in (make_node(MAX_POOL_POSITION, [x], geometry), adjoint)
    )
    chosen = scalar.equal(position, _places(shape, axes))
    pads = ((0, 0),) * (x.ndim - len(axes)) + geometry["padding"]
    attrs = {key: geometry[key] for key in ("sizes", "strides", "dilations")}
    attrs["shape"] = tuple(
        canonical(dim + low + high) for dim, (low, high) in zip(x.shape, pads, strict=True)
    )
    result = make_node(FOLD, [scalar.where(chosen, share, 0.0)], attrs)
    for axis, (low, _) in enumerate(pads):
        result = slice_axis(result, axis, low, x.shape[axis])
    return [result]


MAX_POOL = composite("max_pool", _largest, _max_pool_pullback)
MAX_POOL_POSITION = composite(
    "max_pool_position", _position_of_largest, lambda node, adjoint: [None]
)


def _max_pool(rank: int, x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Node:
    node = as_node(x)
    node = cast(node, float_dtype(node.dtype))
    try:
        return make_node(MAX_POOL, [node], _geometry(rank, size, stride, padding, dilation))
    except ValueError as error:
        raise located(error, "pooling", [node]) from None


def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
) -> Node:
    """The largest element of each window of the last axis; the first of ties takes the adjoint."""
    return _max_pool(1, x, kernel_size, stride, padding, dilation)


def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
) -> Node:
    """The largest element of each window of the last two axes, as PyTorch's max_pool2d.

    Args:
        x: shape (..., height, width).
        kernel_size: an integer or two. stride: as ``kernel_size`` unless told.
        padding: with -inf, at most half of the kernel. dilation: the step within a window.

    Raises GraphError where the window does not fit.
    """
    return _max_pool(2, x, kernel_size, stride, padding, dilation)


def _pool_windows(rank: int, x: Any, size: Any, stride: Any, padding: Any) -> Node:
    node = as_node(x)
    node = cast(node, float_dtype(node.dtype))
    try:
        return _windows(node, _geometry(rank, size, stride, padding, 1), 0.0)
    except ValueError as error:
        raise located(error, "pooling", [node]) from None


def _avg_pool(
    rank: int, x: Any, size: Any, stride: Any, padding: Any, count_include_pad: bool,
    divisor: int | None,
) -> Node:  # fmt: skip
    patches = _pool_windows(rank, x, size, stride, padding)
    axes = _axes(patches, rank)
    if divisor is not None:
        return reduce_sum(patches, axes) / divisor
    if count_include_pad or per_axis(padding, rank, "padding") == (0,) * rank:
        return mean(patches, axis=axes)
    node = as_node(x)
    ones = as_node(1.0, patches.dtype)
    inside = broadcast(ones, (1,) * (node.ndim - rank) + node.shape[-rank:])
    counts = reduce_sum(_pool_windows(rank, inside, size, stride, padding), axes)
    return reduce_sum(patches, axes) / counts


def avg_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
) -> Node:
    """The mean of each window of the last axis."""
    return _avg_pool(1, x, kernel_size, stride, padding, count_include_pad, None)


def avg_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Node:  # fmt: skip
    """The mean of each window of the last two axes, as PyTorch's avg_pool2d.

    ``count_include_pad`` says whether zeros of the padding count in the mean; ``divisor_override``
    divides the sum instead of the number of elements.
    """
    return _avg_pool(2, x, kernel_size, stride, padding, count_include_pad, divisor_override)


sample("max_pool1d", lambda a: max_pool1d(a, 2), (2, 3, 6))
sample("max_pool2d", lambda a: max_pool2d(a, 3, stride=2, padding=1), (2, 3, 6, 5))
sample("avg_pool1d", lambda a: avg_pool1d(a, 3, stride=1), (2, 3, 6))
sample("avg_pool2d", lambda a: avg_pool2d(a, (2, 3), padding=1, count_include_pad=False), (2, 3, 4, 5))
