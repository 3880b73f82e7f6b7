"""Running totals along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.node import Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, normalize_axis
from staticgrad.ops.table import FUNCTIONS, method, register, sample


class Cumsum(Op):
    """Running sums along ``axis``; the adjoint runs from the other end."""

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        dtype = inputs[0].dtype
        return TensorType(np.dtype("int64") if dtype.kind in "bi" else dtype, inputs[0].shape)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        if not node.inputs[0].type.is_float:
            return [None]
        flip, axis = FUNCTIONS["flip"], node.attrs["axis"]
        return [flip(make_node(CUMSUM, [flip(adjoint, axis)], {"axis": axis}), axis)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.cumsum(arrays[0], axis=attrs["axis"])


CUMSUM = register(Cumsum("cumsum"))


@method()
def cumsum(x: Any, axis: int | None = None) -> Node:
    """Running sums along ``axis`` (of the flattened array for None); integers give int64."""
    node = as_node(x)
    if axis is None:
        node, axis = FUNCTIONS["reshape"](node, (-1,)), 0
    try:
        position = normalize_axis(axis, node.ndim)
    except (IndexError, TypeError) as error:
        raise located(error, "cumsum", [node]) from None
    return make_node(CUMSUM, [node], {"axis": position})


sample("cumsum", lambda a: cumsum(a, axis=0), (3, 4))
sample("cumsum", lambda a: cumsum(a, axis=1), (2, 3, 4))
sample("cumsum", lambda a: cumsum(a), (3, 4))
