"""Convolution and pooling, written in windows, contractions and reductions."""

from __future__ import annotations

import math
import string
from typing import Any

from staticgrad.graph.dims import canonical, format_shape
from staticgrad.graph.node import GraphError, Node, located
from staticgrad.ops.contraction import einsum
from staticgrad.ops.convert import as_node, broadcast, cast, common_dtype, float_dtype
from staticgrad.ops.indexing import take_along_axis
from staticgrad.ops.joining import pad
from staticgrad.ops.movement import reshape_to
from staticgrad.ops.reduction import reduce_sum
from staticgrad.ops.statistics import argmax, mean
from staticgrad.ops.table import sample
from staticgrad.ops.windows import windows


def per_axis(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """A number for each axis, or one for all. Raises GraphError for anything else."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or not all(isinstance(item, int) and item >= 0 for item in values):
        raise GraphError(f"{what} must be an integer or {rank} integers, got {value!r}")
    return values


def _padded(x: Node, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Node:
    if not any(sum(pair) for pair in padding):
        return x
    lead = ((0, 0),) * (x.ndim - len(padding))
    return pad(x, (*lead, *padding), constant_values=value)


def _convolution(
    rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Node:
    name = f"conv{rank}d"
    dtype = float_dtype(common_dtype([x, weight]))
    source, kernel = (cast(as_node(value, dtype), dtype) for value in (x, weight))
    try:
        strides = per_axis(stride, rank, "stride")
        dilations = per_axis(dilation, rank, "dilation")
        _check(rank, source, kernel, groups)
        sizes = kernel.shape[2:]
        source = _padded(source, _padding(padding, rank, sizes, strides, dilations))
        patches = windows(source, sizes, strides, dilations)
    except ValueError as error:
        raise located(error, name, [source, kernel]) from None
    batch, channels = source.shape[:2]
    outputs = kernel.shape[0]
    # the letters of the axes: positions and places in the window
    positions, places = string.ascii_lowercase[:rank], string.ascii_lowercase[rank : 2 * rank]
    if groups == 1:
        result = einsum(f"zx{positions}{places},yx{places}->zy{positions}", patches, kernel)
    else:
        inner = canonical(channels // groups)
        patches = reshape_to(patches, (batch, groups, inner, *patches.shape[2:]))
        kernel = reshape_to(kernel, (groups, outputs // groups, *kernel.shape[1:]))
        result = einsum(f"zwx{positions}{places},wyx{places}->zwy{positions}", patches, kernel)
        result = reshape_to(result, (batch, outputs, *result.shape[3:]))
    if bias is None:
        return result
    return result + reshape_to(as_node(bias), (outputs, *(1,) * rank))


def _check(rank: int, x: Node, weight: Node, groups: int) -> None:
    if x.ndim != rank + 2 or weight.ndim != rank + 2:
        raise ValueError(
            f"expected an input (batch, channels, {'length' if rank == 1 else 'height, width'}) and a "
            f"weight (out, channels / groups, *kernel), of {rank + 2} axes each"
        )
    channels, outputs = x.shape[1], weight.shape[0]
    if not isinstance(channels, int) or not all(isinstance(dim, int) for dim in weight.shape):
        raise ValueError("the channels and the kernel's sizes must be integers")
    if groups < 1 or channels % groups or outputs % groups:
        raise ValueError(f"{channels} channels to {outputs} do not divide into {groups} groups")
    if weight.shape[1] * groups != channels:
        raise ValueError(
            f"the input has {channels} channels; a weight of shape {format_shape(weight.shape)} in "
            f"{groups} groups expects {weight.shape[1] * groups}"
        )


def _padding(
    padding: Any, rank: int, sizes: Any, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        if any(stride != 1 for stride in strides):
            raise ValueError("padding='same' needs stride 1")
        totals = [d * (size - 1) for size, d in zip(sizes, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((item, item) for item in per_axis(padding, rank, "padding"))


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    """The cross-correlation over the last axis, as PyTorch's conv1d.

    Args:
        x: shape (batch, channels, length).
        weight: shape (out, channels / groups, kernel). bias: shape (out,), or None.
        stride, dilation: integers. padding: an integer, "valid" or "same".

    Returns:
        Shape (batch, out, (length + 2 padding - dilation (kernel - 1) - 1) // stride + 1).

    Raises GraphError where shapes do not fit.
    """
    return _convolution(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    """The cross-correlation over the last two axes, as PyTorch's conv2d; see ``conv1d``.

    ``stride``, ``padding`` and ``dilation`` are one integer, or one for each axis.
    """
    return _convolution(2, x, weight, bias, stride, padding, dilation, groups)


def _pool_windows(
    rank: int, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, filled: float
) -> Node:
    node = as_node(x)
    node = cast(node, float_dtype(node.dtype))
    try:
        sizes = per_axis(size, rank, "kernel_size")
        strides = sizes if stride is None else per_axis(stride, rank, "stride")
        pads = per_axis(padding, rank, "padding")
        if any(2 * p > s for p, s in zip(pads, sizes, strict=True)):
            raise ValueError(f"padding {padding} must be at most half of kernel_size {size}")
        node = _padded(node, tuple((p, p) for p in pads), filled)
        return windows(node, sizes, strides, per_axis(dilation, rank, "dilation"))
    except ValueError as error:
        raise located(error, "pooling", [node]) from None


def _max_pool(rank: int, x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Node:
    patches = _pool_windows(rank, x, size, stride, padding, dilation, -math.inf)
    lead = patches.shape[: patches.ndim - rank]
    flat = reshape_to(patches, (*lead, math.prod(patches.shape[-rank:])))  # type: ignore[arg-type]
    # the first of equal elements takes the adjoint, as in PyTorch
    best = argmax(flat, axis=-1, keepdims=True)
    return reshape_to(take_along_axis(flat, best, axis=-1, strict=True), lead)


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


def _avg_pool(
    rank: int, x: Any, size: Any, stride: Any, padding: Any, count_include_pad: bool,
    divisor: int | None,
) -> Node:  # fmt: skip
    patches = _pool_windows(rank, x, size, stride, padding, 1, 0.0)
    axes = tuple(range(patches.ndim - rank, patches.ndim))
    if divisor is not None:
        return reduce_sum(patches, axes) / divisor
    if count_include_pad or per_axis(padding, rank, "padding") == (0,) * rank:
        return mean(patches, axis=axes)
    node = as_node(x)
    ones = as_node(1.0, patches.dtype)
    inside = broadcast(ones, (1,) * (node.ndim - rank) + node.shape[-rank:])
    counts = reduce_sum(_pool_windows(rank, inside, size, stride, padding, 1, 0.0), axes)
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


sample("conv1d", lambda a, w: conv1d(a, w, stride=2, padding=1), (2, 3, 8), (4, 3, 3))
sample("conv2d", lambda a, w, b: conv2d(a, w, b, padding="same"), (2, 3, 5, 4), (2, 3, 3, 3), (2,))
sample("conv2d", lambda a, w: conv2d(a, w, stride=(2, 1), dilation=(1, 2), groups=2),
       (2, 4, 5, 6), (6, 2, 2, 2))  # fmt: skip
sample("max_pool1d", lambda a: max_pool1d(a, 2), (2, 3, 6))
sample("max_pool2d", lambda a: max_pool2d(a, 3, stride=2, padding=1), (2, 3, 6, 5))
sample("avg_pool1d", lambda a: avg_pool1d(a, 3, stride=1), (2, 3, 6))
sample("avg_pool2d", lambda a: avg_pool2d(a, (2, 3), padding=1, count_include_pad=False), (2, 3, 4, 5))
