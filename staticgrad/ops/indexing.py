"""Indexing: slices, integer arrays, and the gather and scatter-add that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import number
from staticgrad.graph.dims import (
    Dim,
    broadcast_shapes,
    canonical,
    floor_divide,
    format_dim,
    format_shape,
)
from staticgrad.graph.expression import Call, Expression, Indexed
from staticgrad.graph.node import GraphError, Node, Op, TensorType, located, make_node
from staticgrad.ops.composite import Composite
from staticgrad.ops.convert import as_node, broadcast, cast, normalize_axis
from staticgrad.ops.diagonals import iota
from staticgrad.ops.lowering import ATOM, Index, Reader, Scalar
from staticgrad.ops.movement import permute, reshape_to
from staticgrad.ops.slicing import SLICE
from staticgrad.ops.table import FUNCTIONS, method, register, sample


class Gather(Op):
    """``x[i0, i1, ...]`` with an integer array for each of the first axes of ``x``.

    The arrays have one shape, which stands first in the result's. Negative indices count from the
    end, unless the attribute ``strict`` is set. Which indices are in range is known at the call.
    """

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        source, *indices = inputs
        return TensorType(source.dtype, (*indices[0].shape, *source.shape[len(indices) :]))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        source, *indices = node.inputs
        if not source.differentiable:
            return [None] * len(node.inputs)
        attrs = {"shape": source.shape, "strict": node.attrs["strict"]}
        return [make_node(SCATTER_ADD, [adjoint, *indices], attrs), *[None] * len(indices)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        source, *indices = arrays
        _check_bounds(indices, source.shape, attrs["strict"])
        return source[tuple(indices)]

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        source, *indices = node.inputs
        rank = indices[0].ndim
        place = [subscript(item, index[:rank], reader) for item in indices]
        if not node.attrs["strict"] and not reader.in_memory(source):
            # a negative index counts from the end; memory does that by itself
            place = [
                at if never_negative(item) else reader.subscript(from_the_end(at, size, reader))
                for at, item, size in zip(place, indices, source.shape, strict=False)
            ]  # fmt: skip
        return reader.read(source, (*place, *index[rank:]))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        source, *places = arguments
        return Indexed(source, tuple(places), rank=node.ndim)


class ScatterAdd(Op):
    """Zeros of ``shape`` to which each element is added where its index says; the adjoint of a
    gather. Elements with equal indices add up, in order."""

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(inputs[0].dtype, attrs["shape"])

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        indices = node.inputs[1:]
        taken = make_node(GATHER, [adjoint, *indices], {"strict": node.attrs["strict"]})
        return [taken, *[None] * len(indices)]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        values, *indices = arrays
        _check_bounds(indices, attrs["shape"], attrs["strict"])
        result = np.zeros(attrs["shape"], values.dtype)
        np.add.at(result, tuple(indices), values)
        return result

    def points(self, node: Node) -> Dim:
        return node.inputs[0].size

    def target_index(self, node: Node, own: Index, reader: Reader) -> Index:
        """Where the element at ``own`` of the input is added."""
        indices = node.inputs[1:]
        rank = indices[0].ndim
        found = [subscript(item, own[:rank], reader) for item in indices]
        return (*found, *own[rank:])

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        values, *places = arguments
        return Indexed(values, tuple(places), "scatter_add", rank=node.ndim)


GATHER = register(Gather("gather"))
SCATTER_ADD = register(ScatterAdd("scatter_add"))


def _check_bounds(indices: Sequence[np.ndarray], shape: Sequence[int], strict: bool) -> None:
    for axis, index in enumerate(indices):
        low = 0 if strict else -shape[axis]
        if index.size and (index.min() < low or index.max() >= shape[axis]):
            wrong = index[(index < low) | (index >= shape[axis])].reshape(-1)[0]
            raise IndexError(f"index {wrong} is out of range for an axis of size {shape[axis]}")


def is_position(node: Node) -> bool:
    """Whether a node holds positions along an axis: in generated code, the loop variable itself."""
    while node.op.name == "broadcast_to":
        node = node.inputs[0]
    return node.op.name == "iota"


def never_negative(node: Node) -> bool:
    """Whether an index is known to count from the beginning."""
    while node.op.name in ("broadcast_to", "reshape"):
        node = node.inputs[0]
    if node.op.name == "constant":
        return bool(node.attrs["value"].min(initial=0) >= 0)
    return node.op.name == "iota"


def is_in_range(node: Node, size: Dim, strict: bool) -> bool:
    """Whether an index is known to be in range before any call."""
    if node.op.name == "constant" and isinstance(size, int):
        value = node.attrs["value"]
        low = 0 if strict else -size
        return bool(value.min(initial=0) >= low and value.max(initial=low) < size)
    return node.op.name == "iota"


def from_the_end(index: Any, size: Dim, reader: Reader) -> Scalar:
    """An index that may be negative, as one that is not."""
    text, _ = reader.integer(size)
    return reader.call("where", [f"{index} < 0", f"{index} + {text}", str(index)]), ATOM


def subscript(node: Node, index: Index, reader: Reader) -> Any:
    """What stands between the brackets for an index array: the loop variable or a loaded value."""
    if not is_position(node):
        return reader.subscript(reader.read(node, index))
    while node.op.name == "broadcast_to":
        index = node.op.source_index(node, index)  # type: ignore[attr-defined]
        node = node.inputs[0]
    return index[node.attrs["axis"]]


def as_index(value: Any) -> Node:
    """An integer array as a node. Raises TypeError for other dtypes."""
    if isinstance(value, Node):
        node = value
    else:
        array = np.asarray(value)
        node = as_node(array.astype(np.int64) if array.size == 0 else array)
    if node.dtype.kind == "b":
        raise TypeError(
            "boolean masks select a number of elements known only at the call; "
            "use sg.where(mask, x, 0) instead"
        )
    if node.dtype.kind != "i":
        raise TypeError(f"indices must be integers, got {node.dtype}")
    return cast(node, np.dtype("int64"))


def gather(x: Node, indices: Sequence[Node], strict: bool = False) -> Node:
    """``x[i0, i1, ...]`` on the first axes, with indices that broadcast to one shape."""
    shape = broadcast_shapes(*[index.shape for index in indices])
    known = [broadcast(index, shape) for index in indices]
    for axis, index in enumerate(known):
        if index.inputs == () and index.op.name == "constant" and isinstance(x.shape[axis], int):
            _check_bounds([index.attrs["value"]], [x.shape[axis]], strict)
    return make_node(GATHER, [x, *known], {"strict": strict})


@method()
def getitem(x: Any, key: Any) -> Node:
    """``x[key]`` with integers, slices, None, an ellipsis and integer arrays, as in NumPy.

    Raises GraphError for boolean masks, for indices out of the range of a known dimension, and for
    slices of a named dimension whose length cannot be known.
    """
    node = as_node(x)
    items = list(key) if isinstance(key, tuple) else [key]
    try:
        return _getitem(node, _with_ellipsis(items, node.ndim))
    except (ValueError, TypeError, IndexError) as error:
        if isinstance(error, GraphError):
            raise
        raise located(error, f"getitem[{key!r}]", [node]) from None


def _with_ellipsis(items: list[Any], rank: int) -> list[Any]:
    used = sum(1 for item in items if item is not None and item is not Ellipsis)
    if used > rank:
        raise IndexError(f"{used} indices for {rank} axes")
    dots = [position for position, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("only one ellipsis")
    fill = [slice(None)] * (rank - used)
    if not dots:
        return items + fill
    return items[: dots[0]] + fill + items[dots[0] + 1 :]


def _getitem(node: Node, items: list[Any]) -> Node:
    """Slices and integers first, then new axes, then integer arrays."""
    starts: list[Any] = []
    steps: list[int] = []
    sizes: list[Any] = []
    kept: list[Any] = []
    arrays: dict[int, Node] = {}
    axis = 0
    for item in items:
        if item is None:
            kept.append(1)
            continue
        dim = node.shape[axis]
        if isinstance(item, slice):
            start, step, size = slice_bounds(item, dim)
            kept.append(size)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, (bool, np.bool_)):
            start, step, size = _position(int(item), dim), 1, 1
        else:
            start, step, size = 0, 1, dim
            arrays[len(kept)] = as_index(item)
            kept.append(size)
        starts.append(start)
        steps.append(step)
        sizes.append(size)
        axis += 1
    if any(s != 0 for s in starts) or any(s != 1 for s in steps) or tuple(sizes) != node.shape:
        attrs = {"starts": tuple(starts), "steps": tuple(steps), "shape": tuple(sizes)}
        node = make_node(SLICE, [node], attrs)
    node = reshape_to(node, tuple(kept))
    if not arrays:
        return node
    return _advanced(node, arrays, items)


def _advanced(node: Node, arrays: dict[int, Node], items: list[Any]) -> Node:
    """Integer arrays: their axes go first for the gather. In the result they stand where the first
    of them stood if they are neighbours, else in front: NumPy's rule."""
    axes = sorted(arrays)
    order = [*axes, *(axis for axis in range(node.ndim) if axis not in arrays)]
    result = gather(permute(node, order), [arrays[axis] for axis in axes])
    rank = result.ndim - (node.ndim - len(axes))
    special = [
        k for k, item in enumerate(items)
        if item is not None and not isinstance(item, slice)
    ]  # fmt: skip
    neighbours = special == list(range(special[0], special[0] + len(special)))
    if not neighbours:
        return result
    before = axes[0]
    places = [*range(rank, rank + before), *range(rank), *range(rank + before, result.ndim)]
    return permute(result, places)


def _position(item: int, dim: Dim) -> Dim:
    if isinstance(dim, int):
        if not -dim <= item < dim:
            raise IndexError(f"index {item} is out of range for an axis of size {dim}")
        return item % dim
    return item if item >= 0 else canonical(dim + item)


def slice_bounds(item: slice, dim: Dim) -> tuple[Dim, int, Dim]:
    """Start, step and length of a slice of an axis of size ``dim``.

    On a named dimension the bounds count from the nearer end: ``[2:]``, ``[:-1]``, ``[-3:]``. What
    would depend on which of two numbers is larger, as ``[:10]``, raises ValueError.
    """
    step = 1 if item.step is None else item.step
    if not isinstance(step, (int, np.integer)) or step == 0:
        raise ValueError(f"a slice's step must be an integer other than 0, got {item.step!r}")
    step = int(step)
    for bound in (item.start, item.stop):
        if bound is not None and not isinstance(bound, (int, np.integer)):
            raise TypeError(f"slice bounds must be integers, got {bound!r}")
    if isinstance(dim, int):
        start, stop, step = item.indices(dim)
        return start if len(range(start, stop, step)) else 0, step, len(range(start, stop, step))

    def from_start(value: int) -> Any:
        return value if value >= 0 else dim + value

    if step > 0:
        start = 0 if item.start is None else from_start(item.start)
        stop = dim if item.stop is None else from_start(item.stop)
    else:
        start = dim - 1 if item.start is None else from_start(item.start)
        stop = -1 if item.stop is None else from_start(item.stop)
    from_front = item.stop is not None and item.stop >= 0 and step > 0
    if from_front and not (item.start is not None and item.start >= 0 and item.start >= item.stop):
        raise ValueError(
            f"the length of [{item.start or ''}:{item.stop}] of the named dimension "
            f"{format_dim(dim)} depends on its size; declare the dimension as an integer, or count "
            "from the end"
        )
    span = canonical(stop - start) if step > 0 else canonical(start - stop)
    length = span if abs(step) == 1 else floor_divide(canonical(span + abs(step) - 1), abs(step))
    return canonical(start), step, length


@method()
def take(x: Any, indices: Any, axis: int | None = None) -> Node:
    """Elements at ``indices`` along ``axis`` (of the flattened array for None), as ``numpy.take``.

    Negative indices count from the end. At the call, an index out of bounds raises IndexError.
    """
    node = as_node(x)
    if axis is None:
        node, axis = FUNCTIONS["reshape"](node, (-1,)), 0
    try:
        position = normalize_axis(axis, node.ndim)
        index = as_index(indices)
        items: list[Any] = [slice(None)] * node.ndim
        items[position] = index
        return _getitem(node, items)
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, "take", [node]) from None


def take_along_axis(x: Any, indices: Any, axis: int = -1, strict: bool = False) -> Node:
    """``x[..., indices[...], ...]`` along one axis, as ``numpy.take_along_axis``.

    ``indices`` has the rank of ``x``; other dimensions broadcast. ``strict`` forbids negative
    indices, which count from the end otherwise.
    """
    node = as_node(x)
    try:
        position = normalize_axis(axis, node.ndim)
        index = as_index(indices)
        if index.ndim != node.ndim:
            raise ValueError(
                f"indices of shape {format_shape(index.shape)} need the {node.ndim} axes of x"
            )
        shape = tuple(
            index.shape[k] if k == position else _common(index.shape[k], node.shape[k])
            for k in range(node.ndim)
        )
        parts = [
            broadcast(index, shape) if k == position else iota(shape, k) for k in range(node.ndim)
        ]
        widened = broadcast(
            node, tuple(node.shape[k] if k == position else shape[k] for k in range(node.ndim))
        )
        return gather(widened, parts, strict)
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, "take_along_axis", [node]) from None


def _common(a: Dim, b: Dim) -> Dim:
    return broadcast_shapes((a,), (b,))[0]


def one_hot(indices: Any, num_classes: int, dtype: Any = "float32") -> Node:
    """A new last axis of ``num_classes``: 1 at the position that ``indices`` names, 0 elsewhere.

    An index out of range gives a row of zeros.
    """
    attrs = {"num_classes": num_classes, "dtype": np.dtype(dtype)}
    return make_node(ONE_HOT, [as_index(indices)], attrs)


def _one_hot(index: Node, num_classes: int, dtype: np.dtype) -> Node:
    shape = (*index.shape, num_classes)
    column = broadcast(reshape_to(index, (*index.shape, 1)), shape)
    return cast(FUNCTIONS["equal"](column, iota(shape, len(shape) - 1)), dtype)


class OneHot(Composite):
    """Of indices; no adjoint flows back to them."""

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        notation = Call("onehot", tuple(arguments))
        classes = number(node.attrs["num_classes"])
        return Call(self.name, (*arguments, classes), notation=notation, rank=node.ndim)


ONE_HOT = register(OneHot("one_hot", _one_hot, lambda node, adjoint: [None]))


sample("getitem", lambda a: a[1:, ::2], (3, 4))
sample("getitem", lambda a: a[::-2, -1], (5, 4))
sample("getitem", lambda a: a[None, ..., 1], (3, 4))
sample("getitem", lambda a: a[np.array([0, 2, 2, -1])], (3, 4))
sample("getitem", lambda a: a[np.array([[0], [2]]), :, np.array([1, 1, 0])], (3, 2, 4))
sample("take", lambda a: take(a, np.array([[0, 1], [3, 3]]), axis=1), (3, 4))
sample("take", lambda a: take(a, np.array([0, 11, 5])), (3, 4))
sample(
    "take_along_axis",
    lambda a: take_along_axis(a, np.array([[0, 2], [1, 1], [3, 0]]), axis=1),
    (3, 4),
)
sample("one_hot", lambda a: one_hot(np.array([0, 2, 1]), 4, a.dtype) * a, (3, 4))
