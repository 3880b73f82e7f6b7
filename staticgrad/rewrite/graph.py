"""What a compiled function computes: inputs, outputs, and new values of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological


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
