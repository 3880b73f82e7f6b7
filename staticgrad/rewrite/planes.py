"""The two axes of images as one, where nothing tells them apart.

A loop over a row of an image is short, and what LLVM makes of it is slow: element by element, unrolled.
Elementwise expressions of images, and sums over them, go through a plane in one loop instead.
"""

from __future__ import annotations

from staticgrad.graph.dims import Shape, product
from staticgrad.graph.node import Node, make_node, rewriting
from staticgrad.graph.traverse import inherit, transform
from staticgrad.ops.convert import broadcast
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.movement import Reshape, reshape_to
from staticgrad.ops.reduction import Reduction
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.scalar import Cast
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.rules import fire


def join_planes(graph: Graph) -> Graph:
    """Write elementwise ops on images with one axis for rows and columns."""
    if not any(isinstance(node.op, RoutineOp) for node in graph.nodes()):
        return graph
    roots = set(graph.roots)

    def visit(node: Node) -> Node:
        if node in roots or not isinstance(node.op, Elementwise | Cast | Reduction):
            return node
        with rewriting(node):
            return _joined(node)

    return graph.replace(transform(graph.roots, visit))


def _joined(node: Node) -> Node:
    inputs = [_plane(source) for source in node.inputs]
    attrs = node.attrs
    if isinstance(node.op, Reduction):
        rows, columns = (axis in attrs["axes"] for axis in (2, 3))
        if rows is not columns:
            return node
        attrs = {"axes": tuple(axis for axis in attrs["axes"] if axis != 3)}
    known = [source for source in inputs if source is not None]
    if len(known) < len(inputs):
        return node
    fire("planes joined")
    # what it is called goes to the node itself, the view of it has no name
    return reshape_to(inherit(make_node(node.op, known, attrs), node), node.shape)


def _plane(node: Node) -> Node | None:
    """The node with its last two axes as one; None where that would take another array in memory."""
    if node.ndim != 4:
        return None
    shape: Shape = (*node.shape[:2], product(node.shape[2:]))
    if isinstance(node.op, Reshape) and node.inputs[0].shape == shape:
        return node.inputs[0]
    if node.op.name == "broadcast_to":
        (source,) = node.inputs
        if any(dim != 1 for dim in source.shape[-2:]):
            return None
        if source.ndim > 1:
            source = reshape_to(source, (*source.shape[:-2], 1))
        return broadcast(source, shape)
    in_memory = isinstance(node.op, RoutineOp) or node.op.name == "placeholder"
    return reshape_to(node, shape) if in_memory else None
