"""Walking and rebuilding graphs. All of it is iterative: depth is limited by memory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from staticgrad.graph.node import Node


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Every node that ``outputs`` depend on, inputs before users, in a reproducible order."""
    order: list[Node] = []
    done: set[int] = set()
    for output in outputs:
        stack: list[tuple[Node, int]] = [(output, 0)]
        while stack:
            node, position = stack.pop()
            if id(node) in done:
                continue
            if position < len(node.inputs):
                stack.append((node, position + 1))
                if id(node.inputs[position]) not in done:
                    stack.append((node.inputs[position], 0))
            else:
                done.add(id(node))
                order.append(node)
    return order


def users(nodes: Iterable[Node]) -> dict[Node, list[Node]]:
    """For each node the nodes that take it as an input, once per use."""
    result: dict[Node, list[Node]] = {}
    for node in nodes:
        result.setdefault(node, [])
        for source in node.inputs:
            result.setdefault(source, []).append(node)
    return result


def with_inputs(node: Node, inputs: Sequence[Node]) -> Node:
    """The same node over other inputs; provenance is kept."""
    if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
        return node
    result = Node(node.op, tuple(inputs), node.attrs, node.type, node.name, node.origin)
    return inherit(result, node)


def inherit(node: Node, replaced: Node) -> Node:
    """Give ``node`` the provenance of the node it replaces, unless it has a name of its own."""
    if node is replaced or not node.inputs:
        return node
    if node.name is None:
        node.name = replaced.name
    node.declared = replaced.declared
    node.origin = replaced.origin
    node.adjoint_of = replaced.adjoint_of
    if node.role is None:
        take_role(node, replaced)
    node.effects = node.effects or replaced.effects
    return node


def lend_role(node: Node, replaced: Node) -> None:
    """A part of a derivation that turns out to be a whole adjoint is called so."""
    if node.role is None and node.name is None and node.adjoint_of is not None and node.inputs:
        take_role(node, replaced)


def take_role(node: Node, other: Node) -> None:
    """Say of ``node`` that it is the adjoint that ``other`` is."""
    node.role, node.adjoint_of = other.role, other.adjoint_of
    node.adjoint_too_of, node.derivative_of = other.adjoint_too_of, other.derivative_of
    node.assigned = other.assigned


def transform(
    outputs: Sequence[Node], visit: Callable[[Node], Node], keep: Iterable[Node] = ()
) -> list[Node]:
    """Rebuild a graph bottom-up: ``visit`` gets each node over rebuilt inputs and returns its
    replacement. Nodes in ``keep`` stand as they are, with everything below them."""
    mapping: dict[Node, Node] = {node: node for node in keep}
    for node in topological(outputs):
        if node not in mapping:
            mapping[node] = visit(with_inputs(node, [mapping[source] for source in node.inputs]))
    return [mapping[output] for output in outputs]


def interning_key(node: Node) -> tuple:
    """Nodes with equal keys compute the same value. Placeholders and parameters equal themselves
    only."""
    if node.op.name in ("placeholder", "parameter"):
        return (id(node),)
    attrs = tuple(
        (key, (value.dtype.str, value.shape, value.tobytes()))
        if isinstance(value, np.ndarray)
        else (key, value)
        for key, value in sorted(node.attrs.items())
    )
    return (node.op.name, str(node.dtype), node.shape, attrs, tuple(id(i) for i in node.inputs))
