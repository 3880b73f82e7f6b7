"""Slices and their adjoint, the embedding in zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.compose import dimension, number
from staticgrad.graph.dims import Shape, canonical
from staticgrad.graph.expression import Expression, Indexed, Range
from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, normalize_axes
from staticgrad.ops.lowering import Index, IndexMap, Reader, Scalar, ternary
from staticgrad.ops.table import method, register, sample


class Slice(IndexMap, Op):
    """Every ``steps``-th element from ``starts`` on, ``shape`` of them; steps may be negative."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        attrs = {**node.attrs, "shape": node.inputs[0].shape}
        # a slice of everything is a flip, and its own adjoint
        return [make_node(SLICE if attrs == node.attrs else EMBED, [adjoint], attrs)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return arrays[0][_slices(attrs["starts"], attrs["steps"], attrs["shape"])]

    def source_index(self, node: Node, index: Index) -> Index:
        return tuple(
            start + step * position
            for start, step, position in zip(
                node.attrs["starts"], node.attrs["steps"], index, strict=True
            )
        )

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        places = _places(node.attrs, node.shape, node.inputs[0].shape)
        return Indexed(arguments[0], places, rank=node.ndim)


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
        zero = reader.number(0, node.dtype)
        for start, step, position, size, full in zip(
            node.attrs["starts"], node.attrs["steps"], index, source.shape, node.shape, strict=True
        ):
            if step == 1 and start == 0 and size == full:
                place.append(position)
                continue
            offset = position - start if step > 0 else start - position
            offset = sympy.expand(offset)
            inside = reader.within(0, offset, sympy.expand(size * abs(step)))
            if inside is None:
                return zero
            conditions += inside
            if step in (1, -1):
                place.append(offset)
                continue
            conditions.append(f"({reader.integer(offset)[0]}) % {abs(step)} == 0")
            place.append(sympy.floor(offset / abs(step)))
        return ternary(conditions, reader.read(source, tuple(place)), zero)

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        places = _places(node.attrs, node.inputs[0].shape, node.shape)
        return Indexed(arguments[0], places, "embed", rank=node.ndim)


def _slices(starts: Any, steps: Any, shape: Any) -> tuple[slice, ...]:
    """Python slices that take ``count`` elements; a stop before the first element is None."""
    result = []
    for start, step, count in zip(starts, steps, shape, strict=True):
        stop = start + step * count
        result.append(slice(start, stop if stop >= 0 else None, step) if count else slice(0, 0))
    return tuple(result)


def _places(attrs: Mapping[str, Any], short: Shape, full: Shape) -> tuple[Expression, ...]:
    return tuple(
        _slice(start, step, dim, old)
        for start, step, dim, old in zip(attrs["starts"], attrs["steps"], short, full, strict=True)
    )


def _slice(start: Any, step: int, dim: Any, old: Any) -> Expression:
    if step == 1 and start == 0 and dim == old:
        return Range()
    if step == -1 and dim == old:
        return Range(step=number(-1))
    stop = canonical(start + step * dim)
    to_end = step > 0 and canonical(old - stop) in range(step)
    to_end = to_end or (isinstance(stop, int) and stop < 0)
    return Range(
        dimension(start) if start != 0 else None,
        None if to_end else dimension(stop),
        number(step) if step != 1 else None,
    )


SLICE = register(Slice("slice"))
EMBED = register(Embed("embed"))


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


sample("flip", lambda a: flip(a, axis=1), (3, 4))
