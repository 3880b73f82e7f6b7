"""The graph passes in order, and what must hold after each."""

from __future__ import annotations

from collections.abc import Callable

from staticgrad.graph.node import Node
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.passes import (
    drop_stop_gradients,
    expand_composites,
    fold_constants,
    lower_contractions,
    merge_common_subexpressions,
    number_draws,
    simplify,
    split_sums,
    stabilise,
    sum_runs,
)
from staticgrad.rewrite.planes import join_planes

Pass = Callable[[Graph], Graph]

#: Dead code needs no pass of its own: a graph is walked from its roots, and what nothing leads to
#: is not there.
STABLE_PASSES: tuple[Pass, ...] = (
    number_draws,
    drop_stop_gradients,  # derivation is over
    merge_common_subexpressions,
    fold_constants,
    simplify,
    merge_common_subexpressions,  # so that rules see equal operands as one node
    stabilise,  # on softmax(z) and the like, before they are written out
)
#: what comes after leaves the numbers as they are, but for rounding
GRAPH_PASSES: tuple[Pass, ...] = (
    *STABLE_PASSES,
    expand_composites,
    drop_stop_gradients,
    fold_constants,
    simplify,
    lower_contractions,
    split_sums,
    sum_runs,
    join_planes,
    simplify,
    merge_common_subexpressions,
)


def verify(graph: Graph, before: Graph) -> None:
    """Check what must hold after every pass. Raises RuntimeError."""
    for old, new in zip(before.roots, graph.roots, strict=True):
        if old.type != new.type:
            raise RuntimeError(f"a pass turned a root of {old.type} into {new.type}")
    seen: set[Node] = set()
    for node in graph.nodes():
        if any(source not in seen for source in node.inputs):
            raise RuntimeError(f"{node!r} stands before its inputs")
        seen.add(node)
        if node.inputs and node.op.infer([i.type for i in node.inputs], node.attrs) != node.type:
            raise RuntimeError(f"{node!r} is not of the type that its inputs give it")
