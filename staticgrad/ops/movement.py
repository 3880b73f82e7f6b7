"""Ops that move elements, in adjoint pairs: broadcast and sum, slice and embed, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.dims import Shape, format_shape, product
from staticgrad.graph.node import Node, Op, TensorType, make_node
from staticgrad.ops.lowering import Index, IndexMap, Reader, Scalar
from staticgrad.ops.table import register


class Broadcast(IndexMap, Op):
    """Repeat along new leading axes and along axes of length one; the adjoint is the sum."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,), shape = inputs, attrs["shape"]
        tail = shape[len(shape) - len(source.shape) :]
        if len(shape) < len(source.shape) or any(
            old != new and old != 1 for old, new in zip(source.shape, tail, strict=True)
        ):
            raise ValueError(f"cannot broadcast to {format_shape(shape)}")
        return TensorType(source.dtype, shape)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        from staticgrad.ops.reduction import reduce_sum

        (source,) = node.inputs
        lead = node.ndim - source.ndim
        repeated = [
            axis for axis in range(node.ndim)
            if axis < lead or source.shape[axis - lead] != node.shape[axis]
        ]  # fmt: skip
        return [reshape_to(reduce_sum(adjoint, repeated), source.shape)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.broadcast_to(arrays[0], attrs["shape"])

    def source_index(self, node: Node, index: Index) -> Index:
        (source,) = node.inputs
        tail = index[node.ndim - source.ndim :]
        return tuple(
            sympy.Integer(0) if dim == 1 else position
            for dim, position in zip(source.shape, tail, strict=True)
        )

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        return arguments[0]


class Reshape(Op):
    """The same elements in row-major order under another shape; its own adjoint, backwards.

    The compiler never moves an element for it: where axes of length one come or go, only the index
    changes, and else the result is another view of the same memory.
    """

    flops = 0

    def moves_units_only(self, node: Node) -> bool:
        """Whether the shapes differ in axes of length one alone."""
        old, new = node.inputs[0].shape, node.shape
        return [dim for dim in old if dim != 1] == [dim for dim in new if dim != 1]

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        """For a reshape that moves axes of length one only."""
        kept = iter(position for position, dim in zip(index, node.shape, strict=True) if dim != 1)
        source = node.inputs[0]
        place = tuple(sympy.Integer(0) if dim == 1 else next(kept) for dim in source.shape)
        return reader.read(source, place)

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,), shape = inputs, attrs["shape"]
        if product(source.shape) != product(shape):
            raise ValueError(f"cannot reshape to {format_shape(shape)}: the sizes differ")
        return TensorType(source.dtype, shape)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [reshape_to(adjoint, node.inputs[0].shape)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.reshape(arrays[0], attrs["shape"])

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        return f"{arguments[0][0]}.reshape{format_shape(node.shape)}", 100


BROADCAST = register(Broadcast("broadcast_to"))
RESHAPE = register(Reshape("reshape"))


def reshape_to(node: Node, shape: Shape) -> Node:
    """``node`` under a known shape of the same size; the node itself where it has it already."""
    if node.shape == shape:
        return node
    return make_node(RESHAPE, [node], {"shape": shape})
