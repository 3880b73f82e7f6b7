"""Ops that move elements, in adjoint pairs: broadcast and sum, slice and embed, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.dims import (
    Dim,
    Shape,
    canonical,
    format_dim,
    format_shape,
    product,
    shape_of,
)
from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, insert_axes, normalize_axes, normalize_axis
from staticgrad.ops.lowering import Index, IndexMap, Reader, Scalar, ternary
from staticgrad.ops.table import FUNCTIONS, method, register, sample


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
        if self.moves_units_only(node):
            return arguments[0]
        text, bound = arguments[0]
        return f"{text if bound >= 100 else f'({text})'}.reshape{format_shape(node.shape)}", 100


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

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        text, bound = arguments[0]
        text = text if bound >= 100 else f"({text})"
        if node.attrs["axes"] == tuple(reversed(range(node.ndim))):
            return f"{text}.T", 100
        return f"{text}.transpose{node.attrs['axes']}", 100


class Slice(IndexMap, Op):
    """Every ``steps``-th element from ``starts`` on, ``shape`` of them; steps may be negative."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        attrs = {**node.attrs, "shape": node.inputs[0].shape}
        return [make_node(EMBED, [adjoint], attrs)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return arrays[0][_slices(attrs["starts"], attrs["steps"], attrs["shape"])]

    def source_index(self, node: Node, index: Index) -> Index:
        return tuple(
            start + step * position
            for start, step, position in zip(
                node.attrs["starts"], node.attrs["steps"], index, strict=True
            )
        )

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        text, bound = arguments[0]
        inner = ", ".join(
            _format_slice(start, step, dim, old)
            for start, step, dim, old in zip(
                node.attrs["starts"], node.attrs["steps"], node.shape, node.inputs[0].shape,
                strict=True,
            )
        )  # fmt: skip
        return f"{text if bound >= 100 else f'({text})'}[{inner}]", 100


class Embed(Op):
    """Zeros of ``shape`` with the input at ``starts + steps * position``: the adjoint of a slice."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [make_node(SLICE, [adjoint], {**node.attrs, "shape": node.inputs[0].shape})]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        result = np.zeros(attrs["shape"], arrays[0].dtype)
        result[_slices(attrs["starts"], attrs["steps"], arrays[0].shape)] = arrays[0]
        return result

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        """The element that lands here, or zero: a guard for each axis that needs one."""
        source = node.inputs[0]
        conditions: list[str] = []
        place = []
        for start, step, position, size, full in zip(
            node.attrs["starts"], node.attrs["steps"], index, source.shape, node.shape, strict=True
        ):
            if step == 1 and start == 0 and size == full:
                place.append(position)
                continue
            offset = position - start if step > 0 else start - position
            low, text = reader.integer(sympy.Integer(0))[0], reader.integer(sympy.expand(offset))[0]
            if step in (1, -1):
                conditions.append(f"{low} <= {text} < {reader.integer(size)[0]}")
                place.append(sympy.expand(offset))
                continue
            span = reader.integer(sympy.expand(size * abs(step)))[0]
            conditions += [f"{low} <= {text} < {span}", f"({text}) % {abs(step)} == 0"]
            place.append(sympy.floor(offset / abs(step)))
        zero = reader.number(0, node.dtype)
        return ternary(conditions, reader.read(source, tuple(place)), zero)

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        inner = ", ".join(
            _format_slice(start, step, dim, old)
            for start, step, dim, old in zip(
                node.attrs["starts"], node.attrs["steps"], node.inputs[0].shape, node.shape,
                strict=True,
            )
        )  # fmt: skip
        return f"embed({arguments[0][0]} at [{inner}])", 100


def _slices(starts: Any, steps: Any, shape: Any) -> tuple[slice, ...]:
    """Python slices that take ``count`` elements; a stop before the first element is None."""
    result = []
    for start, step, count in zip(starts, steps, shape, strict=True):
        stop = start + step * count
        result.append(slice(start, stop if stop >= 0 else None, step) if count else slice(0, 0))
    return tuple(result)


def _format_slice(start: Any, step: int, dim: Any, old: Any) -> str:
    if step == 1 and start == 0 and dim == old:
        return ":"
    if step == -1 and dim == old:
        return "::-1"
    first = format_dim(start) if start != 0 else ""
    stop = canonical(start + step * dim)
    last = "" if step > 0 and canonical(old - stop) in range(step) else format_dim(stop)
    if isinstance(stop, int) and stop < 0:
        last = ""
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


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
        conditions = [f"{row} == {column}"]
        if offset < 0:
            conditions.append(f"{reader.integer(index[first])[0]} >= {-offset}")
        size = node.inputs[0].shape[-1]
        if size != node.shape[first]:
            conditions.append(f"{reader.integer(along)[0]} < {reader.integer(size)[0]}")
        value = reader.read(node.inputs[0], (*rest, along))
        return ternary(conditions, value, reader.number(0, node.dtype))


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

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        return f"arange({format_dim(node.shape[node.attrs['axis']])})", 100


PERMUTE = register(Permute("permute_dims"))
SLICE = register(Slice("slice"))
EMBED = register(Embed("embed"))
DIAGONAL = register(Diagonal("diagonal"))
EMBED_DIAGONAL = register(EmbedDiagonal("embed_diagonal"))
IOTA = register(Iota("iota"))


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=lambda position: axes[position]))


def permute(node: Node, axes: Sequence[int]) -> Node:
    if tuple(axes) == tuple(range(node.ndim)):
        return node
    return make_node(PERMUTE, [node], {"axes": tuple(axes)})


def iota(shape: Shape, axis: int) -> Node:
    """The position along ``axis`` of an array of ``shape``, as int64."""
    return make_node(IOTA, [], {"shape": tuple(shape), "axis": axis})


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


@method()
def flip(x: Any, axis: Any = None) -> Node:
    """The elements in reversed order along ``axis`` (all axes for None)."""
    node = as_node(x)
    try:
        axes = normalize_axes(axis, node.ndim)
    except (ValueError, IndexError, TypeError) as error:
        raise located(error, "flip", [node]) from None
    if not axes:
        return node
    starts = tuple(dim - 1 if k in axes else 0 for k, dim in enumerate(node.shape))
    steps = tuple(-1 if k in axes else 1 for k in range(node.ndim))
    return make_node(
        SLICE, [node],
        {"starts": tuple(canonical(s) for s in starts), "steps": steps, "shape": node.shape},
    )  # fmt: skip


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


sample("reshape", lambda a: reshape(a, (2, -1)), (3, 4))
sample("permute_dims", lambda a: permute_dims(a, (2, 0, 1)), (2, 3, 4))
sample("permute_dims", permute_dims, (3, 4))
sample("matrix_transpose", matrix_transpose, (2, 3, 4))
sample("broadcast_to", lambda a: broadcast_to(a, (2, 3, 4)), (3, 1))
sample("squeeze", squeeze, (3, 1, 4))
sample("expand_dims", lambda a: expand_dims(a, 1), (3, 4))
sample("flip", lambda a: flip(a, axis=1), (3, 4))
sample("diagonal", lambda a: diagonal(a, offset=1), (4, 4))
sample("diagonal", lambda a: diagonal(a, offset=-1, axis1=0, axis2=2), (4, 2, 3))
sample("tril", tril, (4, 4))
sample("triu", lambda a: triu(a, 1), (3, 4))
