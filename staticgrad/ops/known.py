"""What is known of a node's elements before any call."""

from __future__ import annotations

from typing import Any

from staticgrad.graph.node import Node

#: ops whose elements are all elements of their input
MOVEMENT = frozenset(("broadcast_to", "permute_dims", "reshape", "slice", "windows"))


def scalar_value(node: Node) -> Any:
    """The number that every element of ``node`` is known to be, or None."""
    while node.op.name in MOVEMENT:
        node = node.inputs[0]
    if node.op.name == "constant" and node.attrs["value"].size == 1:
        return node.attrs["value"].reshape(())[()]
    return None


def is_zero(node: Node) -> bool:
    value = scalar_value(node)
    return value is not None and value == 0
