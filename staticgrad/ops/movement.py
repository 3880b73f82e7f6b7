"""Ops that move elements, in adjoint pairs: broadcast and sum, slice and embed, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.compose import dimension, number, transposed
from staticgrad.graph.dims import (
    Dim,
    Shape,
    canonical,
    format_dim,
    format_shape,
    product,
    shape_of,
)
from staticgrad.graph.expression import Expression, Method
from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, insert_axes, normalize_axes, normalize_axis
from staticgrad.ops.lowering import Index, IndexMap, Reader, Scalar
from staticgrad.ops.table import method, register, sample


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

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
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

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        if self.moves_units_only(node):
            return arguments[0]
        return Method(arguments[0], "reshape", tuple(map(dimension, node.shape)), rank=node.ndim)


BROADCAST = register(Broadcast("broadcast_to"))
RESHAPE = register(Reshape("reshape"))


def reshape_to(node: Node, shape: Shape) -> Node:
    """``node`` under a known shape of the same size; the node itself where it has it already."""
    if node.shape == shape:
        return node
    return make_node(RESHAPE, [node], {"shape": shape})


class Permute(IndexMap, Op):
    """The axes in another order; the adjoint puts them back."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,), axes = inputs, attrs["axes"]
        if sorted(axes) != list(range(len(source.shape))):
            raise ValueError(f"axes {axes} are no permutation of {len(source.shape)} axes")
        return TensorType(source.dtype, tuple(source.shape[axis] for axis in axes))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [permute(adjoint, inverse(node.attrs["axes"]))]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.transpose(arrays[0], attrs["axes"])

    def source_index(self, node: Node, index: Index) -> Index:
        return tuple(index[position] for position in inverse(node.attrs["axes"]))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        (operand,), axes = arguments, node.attrs["axes"]
        if axes == tuple(reversed(range(node.ndim))):
            return transposed(operand)
        if axes == (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2):
            return transposed(operand, stacked=True)
        return Method(operand, "transpose", tuple(map(number, axes)), rank=node.ndim)


PERMUTE = register(Permute("permute_dims"))


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=lambda position: axes[position]))


def permute(node: Node, axes: Sequence[int]) -> Node:
    if tuple(axes) == tuple(range(node.ndim)):
        return node
    return make_node(PERMUTE, [node], {"axes": tuple(axes)})


@method()
def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Node:
    """The axes in the order ``axes``; reversed when none is given.

    Raises GraphError where ``axes`` is no permutation.
    """
    node = as_node(x)
    if axes is None:
        return permute(node, tuple(reversed(range(node.ndim))))
    try:
        order = [normalize_axis(axis, node.ndim) for axis in axes]
    except (IndexError, TypeError) as error:
        raise located(error, "permute_dims", [node]) from None
    return make_node(PERMUTE, [node], {"axes": tuple(order)}) if order != list(
        range(node.ndim)
    ) else node  # fmt: skip


@method()
def matrix_transpose(x: Any) -> Node:
    """The last two axes exchanged."""
    node = as_node(x)
    return permute(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))


@method()
def reshape(x: Any, shape: Any) -> Node:
    """The elements in row-major order under another shape; one dimension may be -1.

    Raises GraphError where the sizes differ.
    """
    node = as_node(x)
    items = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    unknown = [position for position, item in enumerate(items) if isinstance(item, int) and item == -1]
    try:
        if len(unknown) > 1:
            raise ValueError(f"only one dimension can be -1, got {tuple(items)}")
        known = shape_of([1 if k in unknown else item for k, item in enumerate(items)])
        if unknown:
            rest = product(known)
            missing = _quotient(product(node.shape), rest)
            known = (*known[: unknown[0]], missing, *known[unknown[0] + 1 :])
    except (ValueError, TypeError) as error:
        raise located(error, "reshape", [node]) from None
    return reshape_to(node, known)


def _quotient(size: Dim, rest: Dim) -> Dim:
    if rest == 0:
        raise ValueError("-1 is ambiguous beside a dimension of size 0")
    result = canonical(sympy.cancel(sympy.sympify(size) / rest))
    whole = isinstance(result, int) or sympy.fraction(sympy.together(result))[1] == 1
    if not whole or not (isinstance(result, int) or result.is_integer):
        raise ValueError(f"a size of {format_dim(size)} is no multiple of {format_dim(rest)}")
    return result


@method()
def broadcast_to(x: Any, shape: Any) -> Node:
    """``x`` repeated to ``shape`` under NumPy's broadcasting rule.

    Raises GraphError where that is not possible.
    """
    node = as_node(x)
    return make_node(BROADCAST, [node], {"shape": shape_of(shape)})


@method()
def squeeze(x: Any, axis: Any = None) -> Node:
    """Without the given axes of length one (all of them for None).

    Raises GraphError where an axis is longer.
    """
    node = as_node(x)
    try:
        axes = (
            tuple(k for k, dim in enumerate(node.shape) if dim == 1)
            if axis is None
            else normalize_axes(axis, node.ndim)
        )
        for position in axes:
            if node.shape[position] != 1:
                raise ValueError(
                    f"axis {position} has size {format_dim(node.shape[position])}, not 1"
                )
    except (ValueError, IndexError, TypeError) as error:
        raise located(error, "squeeze", [node]) from None
    return reshape_to(node, tuple(d for k, d in enumerate(node.shape) if k not in axes))


@method()
def expand_dims(x: Any, axis: Any = 0) -> Node:
    """With axes of length one inserted at ``axis`` of the result."""
    node = as_node(x)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    try:
        axes = normalize_axes(axis, node.ndim + count)
    except (ValueError, IndexError, TypeError) as error:
        raise located(error, "expand_dims", [node]) from None
    return insert_axes(node, axes)


sample("reshape", lambda a: reshape(a, (2, -1)), (3, 4))
sample("permute_dims", lambda a: permute_dims(a, (2, 0, 1)), (2, 3, 4))
sample("permute_dims", permute_dims, (3, 4))
sample("matrix_transpose", matrix_transpose, (2, 3, 4))
sample("broadcast_to", lambda a: broadcast_to(a, (2, 3, 4)), (3, 1))
sample("squeeze", squeeze, (3, 1, 4))
sample("expand_dims", lambda a: expand_dims(a, 1), (3, 4))
