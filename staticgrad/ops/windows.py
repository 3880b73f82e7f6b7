"""Windows of an array, as convolution and pooling see it, and their adjoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Dim, canonical, floor_divide, format_shape
from staticgrad.graph.expression import Call, Expression
from staticgrad.graph.node import (
    GraphError,
    Node,
    Op,
    TensorType,
    located,
    make_node,
    options_of,
)
from staticgrad.ops.convert import as_node
from staticgrad.ops.lowering import Index, IndexMap, Reader
from staticgrad.ops.notation import short
from staticgrad.ops.table import register, sample


class Windows(IndexMap, Op):
    """``out[..., o, k] = x[..., stride * o + dilation * k]`` for each of the last axes of ``x``: all
    positions ``o`` first, then all places ``k`` in the window."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,) = inputs
        sizes, strides, dilations = attrs["sizes"], attrs["strides"], attrs["dilations"]
        count = len(sizes)
        if len(source.shape) < count:
            raise ValueError(f"windows of {count} axes need as many axes, got {source}")
        positions = []
        for dim, size, stride, dilation in zip(
            source.shape[-count:], sizes, strides, dilations, strict=True
        ):
            positions.append(window_count(dim, size, stride, dilation))
        return TensorType(source.dtype, (*source.shape[:-count], *positions, *sizes))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [make_node(FOLD, [adjoint], {**node.attrs, "shape": node.inputs[0].shape})]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return window_view(arrays[0], attrs["sizes"], attrs["strides"], attrs["dilations"])

    def source_index(self, node: Node, index: Index) -> Index:
        count = len(node.attrs["sizes"])
        lead = index[: -2 * count]
        return (*lead, *_places(node, index, count))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        return Call(self.name, tuple(arguments), _options(node.attrs), rank=node.ndim)


class Fold(Op):
    """Zeros of ``shape`` to which every element of every window is added where it came from."""

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        attrs = {key: value for key, value in node.attrs.items() if key != "shape"}
        return [make_node(WINDOWS, [adjoint], attrs)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        result = np.zeros(attrs["shape"], arrays[0].dtype)
        # one place of the window at a time: within it no two elements meet
        for place in np.ndindex(*attrs["sizes"]):
            count = len(place)
            spots = tuple(
                slice(dilation * k, dilation * k + stride * (positions - 1) + 1, stride)
                for k, stride, dilation, positions in zip(
                    place, attrs["strides"], attrs["dilations"],
                    arrays[0].shape[-2 * count : -count], strict=True,
                )
            )  # fmt: skip
            target: tuple[Any, ...] = (..., *spots)
            result[target] += arrays[0][(..., *place)]
        return result

    def points(self, node: Node) -> Dim:
        return node.inputs[0].size

    def covers_once(self, node: Node) -> bool:
        """Whether each element of the result comes from one element of one window."""
        attrs, count = node.attrs, len(node.attrs["sizes"])
        return all(
            size == stride and dilation == 1 and canonical(positions * size - length) == 0
            for size, stride, dilation, positions, length in zip(
                attrs["sizes"], attrs["strides"], attrs["dilations"],
                node.inputs[0].shape[-2 * count : -count], node.shape[-count:], strict=True,
            )
        )  # fmt: skip

    def target_index(self, node: Node, own: Index, reader: Reader) -> Index:
        """Where the element at ``own`` of the input is added."""
        count = len(node.attrs["sizes"])
        return (*own[: -2 * count], *_places(node, own, count))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        shape = options_of({"shape": node.shape})
        options = (*shape, *_options(node.attrs))
        return Call(self.name, tuple(arguments), options, rank=node.ndim)


def _options(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    steps = {key: short(attrs[key]) for key in ("strides", "dilations")}
    given = {key: value for key, value in steps.items() if value != 1}
    return options_of({"sizes": attrs["sizes"], **given})


def _places(node: Node, index: Index, count: int) -> Index:
    return tuple(
        stride * position + dilation * k
        for position, k, stride, dilation in zip(
            index[-2 * count : -count], index[-count:],
            node.attrs["strides"], node.attrs["dilations"], strict=True,
        )
    )  # fmt: skip


def window_count(dim: Dim, size: int, stride: int, dilation: int) -> Dim:
    """The positions of windows along an axis. Raises ValueError where none fits."""
    room = canonical(dim - dilation * (size - 1) - 1)
    if isinstance(room, int) and room < 0:
        raise ValueError(
            f"a window of {dilation * (size - 1) + 1} elements does not fit an axis of {dim}"
        )
    return canonical((room if stride == 1 else floor_divide(room, stride)) + 1)


def window_view(
    array: np.ndarray, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    count = len(sizes)
    spans = [dilation * (size - 1) + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    axes = tuple(range(array.ndim - count, array.ndim))
    view = np.lib.stride_tricks.sliding_window_view(array, spans, axes)
    steps = [slice(None, None, stride) for stride in strides]
    places = [slice(None, None, dilation) for dilation in dilations]
    key: tuple[Any, ...] = (..., *steps, *places)
    return view[key]


WINDOWS = register(Windows("windows"))
FOLD = register(Fold("fold"))


def windows(x: Any, sizes: Any, strides: Any = 1, dilations: Any = 1) -> Node:
    """Sliding windows over the last axes of ``x``.

    Args:
        x: shape (..., L1, ..., Lk).
        sizes: k window sizes. strides, dilations: k numbers, or one for all axes.

    Returns:
        Shape (..., O1, ..., Ok, size1, ..., sizek), with O = (L - dilation (size - 1) - 1) // stride
        + 1 positions along each axis.

    Raises GraphError where a window does not fit.
    """
    node = as_node(x)
    extents = tuple(int(size) for size in sizes)
    attrs = {"sizes": extents}
    for name, value in (("strides", strides), ("dilations", dilations)):
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(extents)
        if len(values) != len(extents) or any(item < 1 for item in values):
            raise located(
                GraphError(f"{name} must be {len(extents)} positive integers, got {value}"),
                "windows", [node],
            )  # fmt: skip
        attrs[name] = tuple(int(item) for item in values)
    if any(size < 1 for size in extents):
        raise located(
            GraphError(f"window sizes must be positive, got {format_shape(extents)}"),
            "windows", [node],
        )  # fmt: skip
    return make_node(WINDOWS, [node], attrs)


sample("windows", lambda a: windows(a, (3,), strides=2), (2, 8))
sample("windows", lambda a: windows(a, (2, 3), strides=(1, 2), dilations=(2, 1)), (2, 5, 7))
