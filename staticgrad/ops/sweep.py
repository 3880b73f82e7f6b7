"""The reverse sweep: adjoints of a graph's nodes, by their ops' pullbacks."""

from __future__ import annotations

from collections.abc import Iterable

from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import Node, adjoint_context
from staticgrad.graph.traverse import topological


def sweep(
    output: Node, adjoint: Node, wrt: Iterable[Node], derivative: bool = False
) -> dict[Node, Node]:
    """Propagate ``adjoint`` (of ``output``) back to ``wrt``.

    Returns the adjoint of each node of ``wrt`` that something flows back to. Only nodes on a path
    between ``wrt`` and ``output`` are visited, in reverse topological order, so that each pullback
    runs once, on the complete adjoint of its node. ``derivative`` says that ``adjoint`` is 1, so that
    the adjoints are the derivatives of ``output``.
    """
    targets = set(wrt)
    order = topological([output])
    leads: set[Node] = set()
    for node in order:
        if node in targets or any(source in leads for source in node.inputs):
            leads.add(node)
    totals: dict[Node, Node] = {output: adjoint}
    told: set[Node] = set()
    for node in reversed(order):
        total = totals.get(node)
        if total is None or node not in leads:
            continue
        if total.role is None and total.adjoint_of is not None:
            total.role, total.adjoint_of = "adjoint", node
            total.derivative_of = output if derivative else None
            told.add(total)
        elif total in told:
            total.adjoint_too_of = (*total.adjoint_too_of, node)
        if not any(source in leads for source in node.inputs):
            continue
        with adjoint_context(node):
            contributions = node.op.pullback(node, total)
            for source, contribution in zip(node.inputs, contributions, strict=True):
                if contribution is None or source not in leads:
                    continue
                known = totals.get(source)
                totals[source] = (
                    contribution if known is None else FUNCTIONS["add"](known, contribution)
                )
    return {node: totals[node] for node in targets if node in totals}
