"""What a compiled function computes: inputs, outputs, and new values of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.random_numbers import draw_numbers


def effects_of(roots: Sequence[Node]) -> dict[Parameter, Node]:
    """What a call that computes ``roots`` stores besides: running statistics, and how many random
    numbers have been drawn."""
    nodes = topological(roots)
    found: dict[Parameter, Node] = {}
    for node in nodes:
        for parameter, value in node.effects:
            found.setdefault(parameter, value)
    counts: dict[Node, int] = {}
    for node, number in draw_numbers(nodes).items():
        state = node.inputs[0]
        counts[state] = max(counts.get(state, 0), number + 1)
    for state, count in counts.items():
        assert isinstance(state, Parameter)
        found.setdefault(state, state + np.array([0, count]))
    return found


@dataclass(frozen=True, eq=False)
class Graph:
    """Placeholders in the order of the call, outputs, and (parameter, new value) pairs."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Parameter, Node], ...] = ()

    @property
    def roots(self) -> tuple[Node, ...]:
        """Outputs and new values: everything that must be computed."""
        return (*self.outputs, *(value for _, value in self.updates))

    def replace(self, roots: Sequence[Node]) -> Graph:
        """The same graph with other nodes for its roots."""
        count = len(self.outputs)
        updates = tuple(
            (parameter, value)
            for (parameter, _), value in zip(self.updates, roots[count:], strict=True)
        )
        return Graph(self.inputs, tuple(roots[:count]), updates)

    def nodes(self) -> list[Node]:
        """All nodes, inputs before users."""
        return topological(self.roots)
