"""Composite ops: a node of their own, written in other ops.

As long as it is one node, ``softmax(z)`` prints as such, and rules can match it; a pass expands it
later. Type and execution follow from the expansion; the pullback is a closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Dim, canonical, concrete
from staticgrad.graph.expression import Expression
from staticgrad.graph.leaves import PLACEHOLDER
from staticgrad.graph.node import Node, Op, TensorType
from staticgrad.graph.traverse import topological
from staticgrad.ops.notation import along
from staticgrad.ops.table import register


class Composite(Op):
    """An op declared by ``expansion(*inputs, **attrs)``, which makes nodes."""

    flops = 0

    def __init__(
        self,
        name: str,
        expansion: Callable[..., Node],
        pullback: Callable[..., Sequence[Node | None]],
        sign: str = "",
        usual: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name)
        self.expansion = expansion
        self.closed_form = pullback
        self.sign = sign
        self.usual = usual or {}

    def expand(self, node: Node) -> Node:
        """The node written in other ops."""
        return self.expansion(*node.inputs, **node.attrs)

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return self._written_out(inputs, attrs).type

    def _written_out(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> Node:
        stand_ins = [Node(PLACEHOLDER, (), {}, item) for item in inputs]
        return self.expansion(*stand_ins, **attrs)

    def work(self, node: Node) -> Dim:
        parts = topological([self._written_out([i.type for i in node.inputs], node.attrs)])
        return canonical(sum(part.op.work(part) for part in parts))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return self.closed_form(node, adjoint)

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        values: dict[Node, Any] = {}
        inputs = []
        for array in map(np.asarray, arrays):
            inputs.append(Node(PLACEHOLDER, (), {}, TensorType(array.dtype, array.shape)))
            values[inputs[-1]] = array
        result = self.expansion(*inputs, **attrs)
        for node in topological([result]):
            if node not in values:
                plain = {key: concrete(value, {}) for key, value in node.attrs.items()}
                values[node] = node.op.execute([values[source] for source in node.inputs], plain)
        return values[result]

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        if "axes" in node.attrs:
            return along(node, arguments, self.sign, self.usual)
        return super().express(node, arguments)


def composite(
    name: str,
    expansion: Callable[..., Node],
    pullback: Callable[..., Sequence[Node | None]],
    sign: str = "",
    usual: Mapping[str, Any] | None = None,
) -> Composite:
    """Declare a composite op. ``sign`` is the operator that mathematics writes for it, ``usual`` the
    values of attributes that need not be printed."""
    op = Composite(name, expansion, pullback, sign, usual)
    register(op)
    return op
