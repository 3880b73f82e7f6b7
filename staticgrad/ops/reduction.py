"""Reductions over axes. A node drops the reduced axes; ``keepdims`` inserts them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import dimension, times
from staticgrad.graph.dims import Dim, format_shape
from staticgrad.graph.expression import Expression
from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import (
    as_node,
    broadcast,
    insert_axes,
    normalize_axes,
    total,
    without_axes,
)
from staticgrad.ops.notation import along
from staticgrad.ops.table import method, register, sample


class Reduction(Op):
    """Combine the elements along ``axes`` by an associative function.

    ``combine`` is the function that generated code calls with the accumulator and an element;
    ``identity(dtype)`` is where the accumulator starts; ``sign`` is how mathematics writes it.
    """

    def __init__(
        self,
        name: str,
        combine: str,
        identity: Callable[[np.dtype], Any],
        numpy: Any,
        sign: str,
    ) -> None:
        super().__init__(name)
        self.combine = combine
        self.identity = identity
        self.numpy = numpy
        self.sign = sign

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (source,), axes = inputs, attrs["axes"]
        dtype = source.dtype
        if self.name in ("sum", "prod") and dtype.kind in "bi":
            dtype = np.dtype("int64")
        if self.name in ("max", "min") and any(source.shape[axis] == 0 for axis in axes):
            raise ValueError(f"no {self.name} of no elements, in {format_shape(source.shape)}")
        return TensorType(dtype, without_axes(source.shape, axes))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        source, axes = node.inputs[0], node.attrs["axes"]
        if not source.differentiable:
            return [None]
        spread = broadcast(insert_axes(adjoint, axes), source.shape)
        if self.name == "sum":
            return [spread]
        from staticgrad.ops.reduction_rules import product_pullback, selection_pullback

        rule = product_pullback if self.name == "prod" else selection_pullback
        return [rule(node, spread)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return self.numpy(arrays[0], axis=attrs["axes"])

    def points(self, node: Node) -> Dim:
        return node.inputs[0].size

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        (source,), axes = node.inputs, node.attrs["axes"]
        if self.name == "sum" and source.op.name == "broadcast_to":
            # what is the same along an axis is counted
            inner = source.inputs[0].shape
            lead = source.ndim - len(inner)
            if all(axis < lead or inner[axis - lead] != source.shape[axis] for axis in axes):
                return times(dimension(total(source.shape, axes)), arguments[0])
        return along(node, arguments, self.sign)


def _lowest(dtype: np.dtype) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


SUM = register(Reduction("sum", "plus", lambda dtype: 0, np.sum, "∑"))
PROD = register(Reduction("prod", "times", lambda dtype: 1, np.prod, "∏"))
MAX = register(Reduction("max", "maximum", _lowest, np.max, "max"))
MIN = register(Reduction("min", "minimum", _highest, np.min, "min"))


def reduce_sum(node: Node, axes: Sequence[int]) -> Node:
    """The sum over known axes; the node itself for none."""
    return make_node(SUM, [node], {"axes": tuple(axes)}) if axes else node


def _reduce(op: Op, x: Any, axis: Any, keepdims: bool) -> Node:
    node = as_node(x)
    try:
        axes = normalize_axes(axis, node.ndim)
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, op.name, [node]) from None
    if not axes and axis is not None:
        return node
    result = make_node(op, [node], {"axes": axes})
    return insert_axes(result, axes) if keepdims else result


@method("sum")
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The sum over ``axis`` (None for all axes); booleans and integers give int64."""
    return _reduce(SUM, x, axis, keepdims)


sample("sum", lambda a: sum(a), (3, 4))
sample("sum", lambda a: sum(a, axis=0), (3, 4))
sample("sum", lambda a: sum(a, axis=(0, 2), keepdims=True), (2, 3, 4))


def reduce_product(node: Node, axes: Sequence[int]) -> Node:
    """The product over known axes; the node itself for none."""
    return make_node(PROD, [node], {"axes": tuple(axes)}) if axes else node


@method("prod")
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The product over ``axis`` (None for all axes); booleans and integers give int64."""
    return _reduce(PROD, x, axis, keepdims)


@method("max")
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The largest element over ``axis``, NaN if one is; ties share the adjoint evenly."""
    return _reduce(MAX, x, axis, keepdims)


@method("min")
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The smallest element over ``axis``, NaN if one is; ties share the adjoint evenly."""
    return _reduce(MIN, x, axis, keepdims)


sample("prod", lambda a: prod(a, axis=1), (3, 4))
sample("prod", lambda a: prod(a), (2, 3), domain=(0.5, 1.5))
sample("max", lambda a: max(a, axis=0), (3, 4))
sample("max", lambda a: max(a), (3, 4))
sample("min", lambda a: min(a, axis=-1, keepdims=True), (2, 3, 4))
