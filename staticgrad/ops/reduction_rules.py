"""Pullbacks of the reductions that choose or multiply."""

from __future__ import annotations

from staticgrad.graph.node import Node
from staticgrad.ops.convert import broadcast, cast, insert_axes
from staticgrad.ops.reduction import reduce_product, reduce_sum
from staticgrad.ops.scalar import divide, equal, logical_and, multiply, where


def spread(node: Node, like: Node, axes: tuple[int, ...]) -> Node:
    """A reduced value, back in the shape of what was reduced."""
    return broadcast(insert_axes(node, axes), like.shape)


def selection_pullback(node: Node, adjoint: Node) -> Node:
    """max and min: the adjoint goes to the elements that were chosen, in equal shares."""
    source, axes = node.inputs[0], node.attrs["axes"]
    chosen = equal(source, spread(node, source, axes))
    count = reduce_sum(cast(chosen, source.dtype), axes)
    return where(chosen, divide(adjoint, spread(count, source, axes)), 0.0)


def product_pullback(node: Node, adjoint: Node) -> Node:
    """The derivative by one factor is the product of the others: product / factor where no factor
    is zero; the product of the rest for the only zero; and zero where there are two."""
    source, axes = node.inputs[0], node.attrs["axes"]
    zero = equal(source, 0.0)
    zeros = spread(reduce_sum(cast(zero, source.dtype), axes), source, axes)
    nonzero = where(zero, 1.0, source)
    rest = spread(reduce_product(nonzero, axes), source, axes)
    others = where(
        equal(zeros, 0.0),
        divide(rest, nonzero),
        where(logical_and(zero, equal(zeros, 1.0)), rest, 0.0),
    )
    return multiply(adjoint, others)
