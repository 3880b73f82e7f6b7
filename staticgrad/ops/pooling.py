"""Pooling: maxima by routines of their own, means written in windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Dim, canonical, product, usual
from staticgrad.graph.expression import Call, Expression
from staticgrad.graph.node import Node, TensorType, located, make_node
from staticgrad.kernels.pooling import SHARE
from staticgrad.ops.convert import as_node, broadcast, cast, float_dtype
from staticgrad.ops.convolution import per_axis
from staticgrad.ops.joining import pad
from staticgrad.ops.notation import short
from staticgrad.ops.reduction import reduce_sum
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.statistics import mean
from staticgrad.ops.table import register, sample
from staticgrad.ops.windows import FOLD, window_count, window_view, windows


def _geometry(
    rank: int, size: Any, stride: Any, padding: Any, dilation: Any
) -> dict[str, tuple[Any, ...]]:
    sizes = per_axis(size, rank, "kernel_size")
    pads = per_axis(padding, rank, "padding")
    if any(2 * p > s for p, s in zip(pads, sizes, strict=True)):
        raise ValueError(f"padding {padding} must be at most half of kernel_size {size}")
    strides = sizes if stride is None else per_axis(stride, rank, "stride")
    dilations = per_axis(dilation, rank, "dilation")
    if min(sizes + strides + dilations) < 1:
        raise ValueError("kernel_size, stride and dilation must be positive")
    return {
        "sizes": sizes,
        "strides": strides,
        "dilations": dilations,
        "padding": tuple((p, p) for p in pads),
    }


class MaxPool(RoutineOp):
    """The largest element of each window: of x, or of ``values`` what stands where x has it, or x's
    zeros with an adjoint added there. The first of equal ones counts, and NaN as the largest."""

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        shape = inputs[0].shape
        if self is MAX_POOL_SPREAD:
            return TensorType(inputs[0].dtype, shape)
        rank = len(attrs["sizes"])
        if len(shape) < rank:
            raise ValueError(f"windows of {rank} axes need as many axes, got {inputs[0]}")
        positions = (
            window_count(canonical(dim + 2 * low), size, stride, dilation)
            for dim, (low, _), size, stride, dilation in zip(
                shape[-rank:], attrs["padding"], attrs["sizes"], attrs["strides"],
                attrs["dilations"], strict=True,
            )
        )  # fmt: skip
        return TensorType(inputs[0].dtype, (*shape[:-rank], *positions))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        if self is MAX_POOL:
            return [make_node(MAX_POOL_SPREAD, [*node.inputs, node, adjoint], node.attrs)]
        other = MAX_POOL_TAKE if self is MAX_POOL_SPREAD else MAX_POOL_SPREAD
        return [None, None, make_node(other, [*node.inputs[:2], adjoint], node.attrs)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        x, *rest = arrays
        rank = len(attrs["sizes"])
        pads = ((0, 0),) * (x.ndim - rank) + attrs["padding"]

        def patches(array: np.ndarray, filled: Any) -> np.ndarray:
            padded = np.pad(array, pads, constant_values=filled)
            view = window_view(padded, attrs["sizes"], attrs["strides"], attrs["dilations"])
            return view.reshape(*view.shape[:-rank], math.prod(attrs["sizes"]))

        windows = patches(x, -np.inf)
        if self is MAX_POOL:
            return windows.max(axis=-1)
        out, values = rest
        inside = patches(np.ones(x.shape, bool), False)
        match = ((windows == out[..., None]) | np.isnan(windows)) & inside
        first = match & (np.cumsum(match, axis=-1) == 1)
        if self is MAX_POOL_TAKE:
            return np.where(first, patches(values, 0), 0).sum(axis=-1)
        shares = np.where(first, values[..., None], 0).reshape(*out.shape, *attrs["sizes"])
        full = tuple(size + low + high for size, (low, high) in zip(x.shape, pads, strict=True))
        folded = FOLD.execute([shares.astype(x.dtype)], {**attrs, "shape": full})
        return folded[tuple(slice(low, low + n) for (low, _), n in zip(pads, x.shape, strict=True))]

    def points(self, node: Node) -> Dim:
        """All elements of all windows are compared."""
        positions = node if self is MAX_POOL else node.inputs[1]
        return product((*positions.shape, *node.attrs["sizes"]))

    def uses_threads(self, node: Node) -> bool:
        return usual(product(node.inputs[0].shape)) >> SHARE > 1

    def options(self, node: Node) -> list[str]:
        attrs = node.attrs
        padding = tuple(low for low, _ in attrs["padding"])
        return [str(item) for item in (attrs["sizes"], attrs["strides"], padding, attrs["dilations"])]

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        attrs = node.attrs
        padding = tuple(low for low, _ in attrs["padding"])
        usual = {"stride": attrs["sizes"], "padding": (0,) * len(padding),
                 "dilation": (1,) * len(padding)}  # fmt: skip
        given = {"stride": attrs["strides"], "padding": padding, "dilation": attrs["dilations"]}
        options = [("kernel_size", short(attrs["sizes"]))]
        options += [(key, short(given[key])) for key in usual if given[key] != usual[key]]
        name = f"{self.name}{len(padding)}d" if self is MAX_POOL else self.name
        return Call(name, tuple(arguments), tuple(options), rank=node.ndim)


MAX_POOL = register(MaxPool("max_pool", "pooling", "max_pool"))
#: of (x, the maxima, the adjoint of the maxima) the adjoint of x
MAX_POOL_SPREAD = register(MaxPool("max_pool_spread", "pooling", "max_pool_spread"))
#: of (x, the maxima, values) the values where the maxima are
MAX_POOL_TAKE = register(MaxPool("max_pool_take", "pooling", "max_pool_take"))


def _padded(x: Node, padding: tuple[tuple[int, int], ...]) -> Node:
    if not any(sum(pair) for pair in padding):
        return x
    return pad(x, (*((0, 0),) * (x.ndim - len(padding)), *padding))


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
        geometry = _geometry(rank, size, stride, padding, 1)
        padded = _padded(node, geometry["padding"])
        return windows(padded, geometry["sizes"], geometry["strides"])
    except ValueError as error:
        raise located(error, "pooling", [node]) from None


def _avg_pool(
    rank: int, x: Any, size: Any, stride: Any, padding: Any, count_include_pad: bool,
    divisor: int | None,
) -> Node:  # fmt: skip
    if divisor == 0:
        raise located(ValueError("divisor_override must not be zero"), "pooling", [as_node(x)])
    patches = _pool_windows(rank, x, size, stride, padding)
    axes = tuple(range(patches.ndim - rank, patches.ndim))
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
