"""Graphs in float64, evaluated again and again with one variable changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import concrete
from staticgrad.graph.leaves import CONSTANT, PLACEHOLDER, Parameter
from staticgrad.graph.node import Node, TensorType
from staticgrad.graph.traverse import topological
from staticgrad.ops.random_numbers import draw_numbers

DOUBLE = np.dtype("float64")


def in_double(roots: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """A graph with float64 in the place of float32; derivatives are nodes like others, so that what
    they compute stays the same. Returns its roots, and what stands for each placeholder and parameter
    (placeholders)."""
    order = topological(roots)
    draws = draw_numbers(order)
    copies: dict[Node, Node] = {}
    leaves: dict[Node, Node] = {}
    for node in order:
        dtype = DOUBLE if node.type.is_float else node.dtype
        type = TensorType(dtype, node.shape)
        if isinstance(node, Parameter) or node.op is PLACEHOLDER:
            copies[node] = leaves[node] = Node(PLACEHOLDER, (), {}, type, node.name, node.origin)
            continue
        attrs = dict(node.attrs)
        if node.op is CONSTANT:
            attrs["value"] = attrs["value"].astype(dtype)
        if "dtype" in attrs and np.dtype(attrs["dtype"]).kind == "f":
            attrs["dtype"] = DOUBLE
        if node in draws:
            attrs["draw"] = draws[node]
        inputs = tuple(copies[source] for source in node.inputs)
        copies[node] = Node(node.op, inputs, attrs, type, node.name, node.origin)
    return [copies[root] for root in roots], leaves


class Evaluator:
    """The values of a graph at a point, and at others that differ in one leaf.

    What ``stop_gradient`` holds constant to differentiation stays what it is at the point.
    """

    def __init__(
        self, roots: Sequence[Node], values: Mapping[Node, np.ndarray], sizes: Mapping[Any, int]
    ) -> None:
        self.roots = list(roots)
        self._order = topological(roots)
        self._attrs = {
            node: {key: concrete(value, sizes) for key, value in node.attrs.items()}
            for node in self._order
        }
        computed = {node.inputs[0] for node in self._order if node.op.name == "custom_gradient"}
        #: stop_gradient nodes, but for those that hold the value of a custom gradient
        self._held = {
            n for n in self._order if n.op.name == "stop_gradient" and n not in computed
        }
        self._users: dict[Node, list[Node]] = {}
        self.values: dict[Node, np.ndarray] = dict(values)
        self._run([node for node in self._order if node not in self.values], self.values)

    def at(self, leaf: Node, array: np.ndarray) -> list[np.ndarray]:
        """The values of the roots where ``leaf`` is ``array``."""
        if leaf not in self._users:
            above = {leaf}
            for node in self._order:
                if node not in self._held and any(source in above for source in node.inputs):
                    above.add(node)
            self._users[leaf] = [n for n in self._order if n in above and n is not leaf]
        changed = {**self.values, leaf: array}
        self._run(self._users[leaf], changed)
        return [changed[root] for root in self.roots]

    def _run(self, nodes: Sequence[Node], values: dict[Node, np.ndarray]) -> None:
        with np.errstate(all="ignore"):
            for node in nodes:
                arrays = [values[source] for source in node.inputs]
                result = node.op.execute(arrays, self._attrs[node])
                values[node] = np.asarray(result, dtype=node.dtype)


__all__ = ["Evaluator", "in_double"]
