"""The graph passes in order, and what to see of them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
)
from staticgrad.rewrite.planes import join_planes
from staticgrad.rewrite.rules import FIRED

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
    join_planes,
    simplify,
    merge_common_subexpressions,
)


@dataclass(frozen=True)
class PassReport:
    """What a pass did: the rules that fired, and the number of nodes after it."""

    name: str
    fired: dict[str, int]
    nodes: int


def rewrite(
    graph: Graph, report: list[PassReport] | None = None, passes: Sequence[Pass] = GRAPH_PASSES
) -> Graph:
    """Run graph passes, all of them unless told.

    ``STATICGRAD_VERIFY=1`` checks the graph after each, ``STATICGRAD_SHOW=<pass>`` prints it after
    that pass.
    """
    checking = os.environ.get("STATICGRAD_VERIFY", "") not in ("", "0")
    shown = os.environ.get("STATICGRAD_SHOW", "")
    for step in passes:
        fired: Counter[str] = Counter()
        token = FIRED.set(fired)
        try:
            before, graph = graph, step(graph)
        finally:
            FIRED.reset(token)
        if report is not None:
            report.append(PassReport(step.__name__, dict(fired), len(graph.nodes())))
        if checking:
            verify(graph, before)
        if shown == step.__name__:
            print(listing(graph), file=sys.stderr)
    return graph


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


def listing(graph: Graph) -> str:
    """A line per node: number, type, op, numbers of the inputs."""
    numbers: dict[Node, int] = {}
    lines = []
    for node in graph.nodes():
        numbers[node] = len(numbers)
        inputs = ", ".join(f"%{numbers[source]}" for source in node.inputs)
        label = f"  # {node.name}" if node.name else ""
        attrs = {k: v for k, v in node.attrs.items() if k != "value"}
        lines.append(f"%{numbers[node]}: {node.type} = {node.op.name}({inputs}) {attrs or ''}{label}")
    return "\n".join(lines)
