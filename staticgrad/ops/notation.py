"""How ops with axes and extents are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticgrad.graph.dims import Dim
from staticgrad.graph.expression import Along, Expression
from staticgrad.graph.node import Node, options_of

#: what runs along the axes of fixed length
LETTERS = "ijklmn"


def along(
    node: Node,
    arguments: Sequence[Expression],
    sign: str = "",
    usual: Mapping[str, Any] | None = None,
) -> Along:
    """A function along the axes that ``node.attrs`` says. Options with their usual values, all axes
    of a reduction, and the last axis of anything else are not said."""
    (source, *_), axes = node.inputs, node.attrs["axes"]
    reduces = node.ndim < source.ndim
    unsaid = len(axes) == source.ndim if reduces else axes == (source.ndim - 1,)
    options = options_of(
        {
            key: value for key, value in node.attrs.items()
            if key != "axes" and value != (usual or {}).get(key)
        }
    )  # fmt: skip
    indices = () if unsaid else tuple(index_of(source.shape[axis], axis) for axis in axes)
    name = node.op.name
    return Along(
        name, tuple(arguments), options, sign=sign or (name if reduces else ""),
        axes=None if unsaid else axes, indices=indices, rank=node.ndim,
    )  # fmt: skip


def index_of(dim: Dim, axis: int) -> str:
    """What runs along an axis: the name of its dimension, or a letter."""
    return LETTERS[axis % len(LETTERS)] if isinstance(dim, int) else str(dim)


def short(values: tuple[int, ...]) -> Any:
    """One number for equal numbers."""
    return values[0] if len(set(values)) == 1 else values
