"""Joining and splitting arrays along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from staticgrad.graph.dims import canonical, format_dim, format_shape
from staticgrad.graph.expression import Call, Expression, Listed
from staticgrad.graph.node import GraphError, Node, Op, TensorType, located, make_node
from staticgrad.graph.origin import assigned
from staticgrad.ops.convert import (
    as_node,
    cast,
    common_dtype,
    insert_axes,
    normalize_axis,
    without_axes,
)
from staticgrad.ops.lowering import Index, Reader, Scalar, ternary
from staticgrad.ops.slicing import EMBED, SLICE
from staticgrad.ops.table import FUNCTIONS, register, sample


class Concat(Op):
    """Arrays one after the other along ``axis``; the adjoint is sliced apart."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        axis, first = attrs["axis"], inputs[0]
        length: Any = 0
        for item in inputs:
            if len(item.shape) != len(first.shape) or any(
                a != b
                for k, (a, b) in enumerate(zip(item.shape, first.shape, strict=True))
                if k != axis
            ):
                raise ValueError(
                    f"{format_shape(item.shape)} does not fit {format_shape(first.shape)} "
                    f"along axis {axis}"
                )
            length = length + item.shape[axis]
        shape = (*first.shape[:axis], canonical(length), *first.shape[axis + 1 :])
        return TensorType(first.dtype, shape)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        axis, start, results = node.attrs["axis"], 0, []
        for source in node.inputs:
            results.append(slice_axis(adjoint, axis, start, source.shape[axis]))
            start = canonical(start + source.shape[axis])
        return results

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.concatenate(arrays, axis=attrs["axis"])

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        """The piece that this position lies in: a chain of choices along the axis."""
        axis = node.attrs["axis"]
        starts: list[Any] = [0]
        for source in node.inputs:
            starts.append(canonical(starts[-1] + source.shape[axis]))
        result: Scalar | None = None
        for source, start, stop in reversed(
            list(zip(node.inputs, starts[:-1], starts[1:], strict=True))
        ):
            # what the pieces before leave for this one and those after it
            beyond = reader.within(start, index[axis], None)
            conditions = reader.within(None, index[axis], stop)
            if beyond is None or conditions is None:
                continue
            place = (*index[:axis], index[axis] - start, *index[axis + 1 :])
            value = reader.read(source, place)
            result = value if result is None else ternary(conditions, value, result)
        # no piece at all: there are no elements
        return reader.number(0, node.dtype) if result is None else result

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        axis = node.attrs["axis"]
        # an axis of length one that was put in for this is the new axis of a stack
        stacked = all(
            source.op.name == "reshape"
            and source.shape[axis] == 1
            and source.inputs[0].shape == without_axes(source.shape, (axis,))
            for source in node.inputs
        )
        options = (("axis", axis),) if axis else ()
        name = "stack" if stacked else self.name
        return Call(name, (Listed(tuple(arguments)),), options, rank=node.ndim)


CONCAT = register(Concat("concat"))


def slice_axis(node: Node, axis: int, start: Any, size: Any, step: int = 1) -> Node:
    """``size`` elements along one axis."""
    if start == 0 and step == 1 and size == node.shape[axis]:
        return node
    starts = tuple(start if k == axis else 0 for k in range(node.ndim))
    steps = tuple(step if k == axis else 1 for k in range(node.ndim))
    shape = (*node.shape[:axis], size, *node.shape[axis + 1 :])
    return make_node(SLICE, [node], {"starts": starts, "steps": steps, "shape": shape})


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Node:
    """Join arrays along an axis (flattened first for None).

    Raises GraphError where there are none, or their other dimensions differ.
    """
    items = list(arrays)
    if not items:
        raise GraphError("concat: needs at least one array")
    dtype = common_dtype(items)
    nodes = [cast(as_node(item, dtype), dtype) for item in items]
    if axis is None:
        nodes = [FUNCTIONS["reshape"](node, (-1,)) for node in nodes]
        axis = 0
    try:
        position = normalize_axis(axis, nodes[0].ndim)
    except (IndexError, TypeError) as error:
        raise located(error, "concat", nodes) from None
    if len(nodes) == 1:
        return nodes[0]
    return make_node(CONCAT, nodes, {"axis": position})


def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays of one shape along a new axis."""
    items = list(arrays)
    if not items:
        raise GraphError("stack: needs at least one array")
    dtype = common_dtype(items)
    nodes = [cast(as_node(item, dtype), dtype) for item in items]
    try:
        position = normalize_axis(axis, nodes[0].ndim + 1)
        for node in nodes:
            if node.shape != nodes[0].shape:
                raise ValueError(
                    f"{format_shape(node.shape)} is not {format_shape(nodes[0].shape)}"
                )
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, "stack", nodes) from None
    return concat([insert_axes(node, [position]) for node in nodes], axis=position)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Node]:
    """Parts along an axis: that many equal ones, or cut before the given positions.

    Raises GraphError where equal parts are not possible, or the size is a named dimension.
    """
    node = as_node(x)
    try:
        position = normalize_axis(axis, node.ndim)
        size = node.shape[position]
        if isinstance(indices_or_sections, (int, np.integer)):
            count = int(indices_or_sections)
            length: Any = canonical(size / count) if not isinstance(size, int) else size // count
            if isinstance(size, int) and size % count:
                raise ValueError(f"{size} elements do not split into {count} equal parts")
            if not isinstance(size, int) and not length.is_integer:
                raise ValueError(f"{format_dim(size)} may not be a multiple of {count}")
            cuts = [canonical(length * k) for k in range(count + 1)]
        else:
            inner = [int(cut) for cut in indices_or_sections]
            if isinstance(size, int):
                inner = [min(max(cut + size if cut < 0 else cut, 0), size) for cut in inner]
            cuts = [0, *inner, size]
    except (ValueError, TypeError, IndexError) as error:
        raise located(error, "split", [node]) from None
    parts = [
        slice_axis(node, position, start, canonical(stop - start))
        for start, stop in pairwise(cuts)
    ]
    if not node.is_eager:
        for name, part in assigned(split, parts):
            if isinstance(part, Node) and part is not node:
                part.assigned = name
    return parts


def pad(x: Any, pad_width: Any, constant_values: float = 0) -> Node:
    """Padded with a constant, as ``numpy.pad``: ``pad_width`` is a number, a pair (before, after)
    for every axis, or a pair for each axis.

    Raises GraphError for negative widths or another number of pairs.
    """
    node = as_node(x)
    try:
        pairs = _pairs(pad_width, node.ndim)
    except (ValueError, TypeError) as error:
        raise located(error, "pad", [node]) from None
    if not any(before or after for before, after in pairs):
        return node
    shape = tuple(
        canonical(dim + before + after)
        for dim, (before, after) in zip(node.shape, pairs, strict=True)
    )
    starts = tuple(before for before, _ in pairs)
    attrs = {"starts": starts, "steps": (1,) * node.ndim, "shape": shape}
    padded = make_node(EMBED, [node], attrs)
    if constant_values == 0:
        return padded
    ones = FUNCTIONS["broadcast_to"](as_node(True), node.shape)
    inside = make_node(EMBED, [ones], attrs)
    return FUNCTIONS["where"](inside, padded, constant_values)


def _pairs(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu" or (widths < 0).any():
        raise ValueError(f"widths must be non-negative integers, got {pad_width}")
    return [(int(a), int(b)) for a, b in np.broadcast_to(widths, (rank, 2))]


sample("concat", lambda a, b: concat([a, b], axis=1), (3, 4), (3, 2))
sample("concat", lambda a, b: concat([a, b, a]), (3, 4), (2, 4))
sample("stack", lambda a, b: stack([a, b], axis=1), (3, 4), (3, 4))
sample("split", lambda a: split(a, 2, axis=1)[1], (3, 4))
sample("split", lambda a: split(a, [1, 3])[1], (5, 2))
sample("pad", lambda a: pad(a, [(1, 2), (0, 1)]), (3, 4))
sample("pad", lambda a: pad(a, 1, constant_values=2.5), (3, 4))
