"""From what a user writes to the inputs of an op: nodes, dtypes, broadcasts, axes.

dtypes follow NumPy 2: Python numbers adapt to the array beside them, arrays promote. Broadcasting
becomes explicit ``broadcast_to`` nodes here, so that no pullback has to undo it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Shape, broadcast_shapes, canonical
from staticgrad.graph.leaves import check_dtype, constant
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import GraphTypeError, Node, described, located, make_node
from staticgrad.graph.origin import variable_of

NUMBER = (bool, int, float)


def as_node(value: Any, like: np.dtype | None = None) -> Node:
    """``value`` as a node: nodes stay, arrays become constants under the names of the variables that
    hold them, Python numbers take ``like``."""
    if isinstance(value, Node):
        return value
    if isinstance(value, NUMBER):
        return constant(value, like)
    if isinstance(value, complex):
        raise GraphTypeError(f"complex numbers are not supported, got {value!r}")
    if isinstance(value, (list, tuple)) and any(isinstance(item, Node) for item in value):
        raise GraphTypeError(
            f"a {type(value).__name__} of nodes is no array: sg.stack(nodes) or sg.concat(nodes) makes "
            "one of them"
        )
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        node = constant(value)
        if node.ndim:
            node.name = variable_of(value)
        return node
    raise GraphTypeError(f"expected a node, an array or a number, got {described(value)}")


def common_dtype(values: Sequence[Any]) -> np.dtype:
    """The dtype that NumPy gives to an operation on ``values``, nodes among them."""
    stand_ins = [
        value.dtype if isinstance(value, Node)
        else value.dtype if isinstance(value, np.ndarray)
        else value if isinstance(value, NUMBER)
        else value.dtype if isinstance(value, np.generic)
        else _dtype_of(value)
        for value in values
    ]  # fmt: skip
    if all(isinstance(item, NUMBER) for item in stand_ins):
        result = np.result_type(*[np.asarray(item).dtype for item in stand_ins])
        return np.dtype("float32") if result == np.float64 else result
    return check_dtype(np.result_type(*stand_ins))


def _dtype_of(value: Any) -> np.dtype:
    """The dtype of a list as NumPy sees it; as_node's error for what is no array."""
    node = as_node(value)
    return np.asarray(value).dtype if isinstance(value, (list, tuple)) else node.dtype


def all_alike(values: Sequence[Any]) -> list[Node] | None:
    """The values as nodes where that needs no thought: floating-point nodes of one type, and Python
    numbers, which take it. None where it does."""
    like = next((value for value in values if isinstance(value, Node)), None)
    if like is None or like.dtype.kind != "f":
        return None
    nodes = []
    for value in values:
        kind = type(value)
        if kind is float or kind is int:
            value = FUNCTIONS["number_beside"](value, like) if like.is_eager else broadcast(
                constant(value, like.dtype), like.shape
            )
        elif not isinstance(value, Node) or value.type != like.type:
            return None
        nodes.append(value)
    return nodes


def float_dtype(dtype: np.dtype) -> np.dtype:
    """The floating-point dtype for a function of ``dtype``: integers and booleans give float64."""
    return dtype if dtype.kind == "f" else np.dtype("float64")


def cast(node: Node, dtype: Any) -> Node:
    """``node`` as ``dtype``; the node itself where it has it already."""
    from staticgrad.ops.scalar import CAST

    wanted = check_dtype(dtype)
    if node.dtype == wanted:
        return node
    if node.op.name == "constant":
        return constant(node.attrs["value"].astype(wanted), name=node.name)
    return make_node(CAST, [node], {"dtype": wanted})


def broadcast(node: Node, shape: Shape) -> Node:
    """``node`` broadcast to ``shape``; the node itself where it has that shape already."""
    from staticgrad.ops.movement import BROADCAST

    if node.shape == shape:
        return node
    return make_node(BROADCAST, [node], {"shape": shape})


def broadcast_together(name: str, nodes: Sequence[Node]) -> list[Node]:
    """All of ``nodes`` in their common shape. The error names the op, the shapes, the line."""
    try:
        shape = broadcast_shapes(*[node.shape for node in nodes])
    except ValueError as error:
        raise located(error, name, nodes) from None
    return [broadcast(node, shape) for node in nodes]


def normalize_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises IndexError where there is no such axis."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"an axis must be an integer, got {axis!r}")
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} is out of range for an array with {rank} axes")
    return int(axis) % rank


def normalize_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """``axis`` (None for all, an integer or several) as sorted positions."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    result = sorted(normalize_axis(item, rank) for item in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"an axis occurs twice in {axis}")
    return tuple(result)


def without_axes(shape: Shape, axes: Sequence[int]) -> Shape:
    """``shape`` with ``axes`` removed."""
    return tuple(dim for position, dim in enumerate(shape) if position not in axes)


def insert_axes(node: Node, axes: Sequence[int]) -> Node:
    """``node`` with axes of length one inserted, so that they stand at ``axes`` of the result."""
    from staticgrad.ops.movement import reshape_to

    shape: list[Any] = list(node.shape)
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return reshape_to(node, tuple(shape))


def total(shape: Shape, axes: Sequence[int]) -> Any:
    """The number of elements along ``axes``."""
    count: Any = 1
    for axis in axes:
        count = count * shape[axis]
    return canonical(count)
