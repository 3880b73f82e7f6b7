"""Ops that generated code computes by a call of a routine on whole arrays."""

from __future__ import annotations

from collections.abc import Sequence

from staticgrad.graph.dims import Dim
from staticgrad.graph.node import Node, Op


class RoutineOp(Op):
    """An op whose routine, ``kernel`` of the module ``kernels.<module>``, takes arrays, among them the
    one it stores, and options."""

    def __init__(self, name: str, module: str, kernel: str) -> None:
        super().__init__(name)
        self.module, self.kernel = module, kernel

    def operands(self, node: Node) -> Sequence[Node]:
        """The arrays in the routine's order, the node itself among them."""
        return [*node.inputs, node]

    def options(self, node: Node) -> list[str]:
        """What stands behind the arrays in the call."""
        raise NotImplementedError

    def scratch(self, node: Node) -> Dim | None:
        """Elements of memory for its own use that the routine takes after the arrays; None for none."""
        return None

    def uses_threads(self, node: Node) -> bool:
        """Whether the routine may go to several threads; a named dimension counts as 128."""
        return False
