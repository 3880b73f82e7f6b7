"""Positions, diagonals and triangles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import dimension
from staticgrad.graph.dims import Shape, canonical, format_shape
from staticgrad.graph.expression import Call, Expression, Positions
from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, normalize_axis
from staticgrad.ops.lowering import Index, IndexMap, Reader, Scalar, ternary
from staticgrad.ops.table import FUNCTIONS, register, sample


class Diagonal(IndexMap, Op):
    """The diagonal of two axes, as a new last axis."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,) = inputs
        first, second, offset = attrs["axis1"], attrs["axis2"], attrs["offset"]
        rest = tuple(d for axis, d in enumerate(source.shape) if axis not in (first, second))
        rows, columns = source.shape[first], source.shape[second]
        if rows == columns:
            length: Any = canonical(rows - abs(offset))
        elif isinstance(rows, int) and isinstance(columns, int):
            length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
        else:
            raise ValueError(f"the diagonal's length is not known for {format_shape(source.shape)}")
        return TensorType(source.dtype, (*rest, length))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [make_node(EMBED_DIAGONAL, [adjoint], {**node.attrs, "shape": node.inputs[0].shape})]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.diagonal(arrays[0], attrs["offset"], attrs["axis1"], attrs["axis2"])

    def source_index(self, node: Node, index: Index) -> Index:
        first, second, offset = node.attrs["axis1"], node.attrs["axis2"], node.attrs["offset"]
        rest = iter(index[:-1])
        shift = {first: max(-offset, 0), second: max(offset, 0)}
        return tuple(
            index[-1] + shift[axis] if axis in shift else next(rest)
            for axis in range(node.inputs[0].ndim)
        )


    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        options = _options(node.attrs, node.inputs[0].ndim)
        return Call(self.name, tuple(arguments), options, rank=node.ndim)


class EmbedDiagonal(Op):
    """Zeros with the input on the diagonal of two axes: the adjoint of ``diagonal``."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        attrs = {key: node.attrs[key] for key in ("offset", "axis1", "axis2")}
        return [make_node(DIAGONAL, [adjoint], attrs)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        result = np.zeros(attrs["shape"], arrays[0].dtype)
        moved = np.moveaxis(result, (attrs["axis1"], attrs["axis2"]), (-2, -1))
        along = np.arange(arrays[0].shape[-1])
        offset = attrs["offset"]
        moved[..., along + max(-offset, 0), along + max(offset, 0)] = arrays[0]
        return result

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        first, second, offset = node.attrs["axis1"], node.attrs["axis2"], node.attrs["offset"]
        rest = [index[axis] for axis in range(node.ndim) if axis not in (first, second)]
        along = index[first] - max(-offset, 0)
        row, column = reader.integer(index[first] + offset)[0], reader.integer(index[second])[0]
        zero = reader.number(0, node.dtype)
        inside = reader.within(0, along, node.inputs[0].shape[-1])
        if inside is None:
            return zero
        value = reader.read(node.inputs[0], (*rest, along))
        return ternary([f"{row} == {column}", *inside], value, zero)

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        options = _options(node.attrs, node.ndim)
        return Call(self.name, tuple(arguments), options, rank=node.ndim)


def _options(attrs: Mapping[str, Any], rank: int) -> tuple[tuple[str, Any], ...]:
    usual = {"offset": 0, "axis1": rank - 2, "axis2": rank - 1}
    return tuple((key, attrs[key]) for key in usual if attrs[key] != usual[key])


class Iota(Op):
    """The position along an axis, as int64; no inputs, attributes ``shape`` and ``axis``."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(np.dtype("int64"), attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return []

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        shape, axis = attrs["shape"], attrs["axis"]
        view = [1] * len(shape)
        view[axis] = shape[axis]
        return np.broadcast_to(np.arange(shape[axis]).reshape(view), shape)

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        return reader.integer(index[node.attrs["axis"]])

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        axis = node.attrs["axis"]
        # axes of length one are not written anywhere
        behind = sum(dim != 1 for dim in node.shape[axis + 1 :])
        return Positions(dimension(node.shape[axis]), axis, rank=axis + 1 + behind)


DIAGONAL = register(Diagonal("diagonal"))
EMBED_DIAGONAL = register(EmbedDiagonal("embed_diagonal"))
IOTA = register(Iota("iota"))


def iota(shape: Shape, axis: int) -> Node:
    """The position along ``axis`` of an array of ``shape``, as int64."""
    return make_node(IOTA, [], {"shape": tuple(shape), "axis": axis})



def diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Node:
    """The diagonal of two axes, as a new last axis, as ``numpy.diagonal``."""
    node = as_node(x)
    try:
        first, second = normalize_axis(axis1, node.ndim), normalize_axis(axis2, node.ndim)
        if first == second:
            raise ValueError("axis1 and axis2 must differ")
    except (ValueError, IndexError, TypeError) as error:
        raise located(error, "diagonal", [node]) from None
    return make_node(DIAGONAL, [node], {"offset": offset, "axis1": first, "axis2": second})


def tril(x: Any, k: int = 0) -> Node:
    """The lower triangle of the last two axes, zeros above diagonal ``k``."""
    node = as_node(x)
    return _triangle(node, FUNCTIONS["less_equal"], k)


def triu(x: Any, k: int = 0) -> Node:
    """The upper triangle of the last two axes, zeros below diagonal ``k``."""
    node = as_node(x)
    return _triangle(node, FUNCTIONS["greater_equal"], k)


def _triangle(node: Node, compare: Any, k: int) -> Node:
    if node.ndim < 2:
        raise located(ValueError("needs two axes at least"), "tril/triu", [node])
    rows, columns = iota(node.shape, node.ndim - 2), iota(node.shape, node.ndim - 1)
    zero = 0.0 if node.type.is_float else 0
    return FUNCTIONS["where"](compare(columns, rows + k if k else rows), node, zero)


sample("diagonal", lambda a: diagonal(a, offset=1), (4, 4))
sample("diagonal", lambda a: diagonal(a, offset=-1, axis1=0, axis2=2), (4, 2, 3))
sample("tril", tril, (4, 4))
sample("triu", lambda a: triu(a, 1), (3, 4))
