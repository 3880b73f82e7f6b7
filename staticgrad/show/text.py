"""Graphs as text: a node as a formula, a graph as a list of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticgrad.graph.node import ATOM, Node
from staticgrad.graph.traverse import topological, users
from staticgrad.ops.table import method
from staticgrad.rewrite.simplify import SIMPLIFY
from staticgrad.show.names import Names, adjoint_name, name_results

#: a subexpression used more than once gets a line of its own from this many operations on
SHARED_SIZE = 3


@method("format_node")
def formula(node: Node) -> str:
    """A node as an expression in the user's names.

    Named intermediates, and what is used more than once, stand in lines of their own below::

        x.T @ d_logits
          where
            logits   = x @ W + b
            d_logits = (softmax(logits) - one_hot(y)) / batch
    """
    name_results([node])
    order = topological([node])
    if any(item.adjoint_of is not None for item in order):
        # what derivation leaves behind, products by one and double transposes, tells nothing
        (node,) = SIMPLIFY.apply([node])
        order = topological([node])
    lines = _let_bound(node, order)
    names = _line_names(lines)
    texts = _texts(order, names, node)
    width = max((len(names[item]) for item in lines), default=0)
    result = texts[node][0]
    if lines:
        below = [f"    {names[item]:<{width}} = {texts[item][0]}" for item in lines]
        result = "\n".join([result, "  where", *below])
    return result


def _let_bound(root: Node, order: Sequence[Node]) -> list[Node]:
    """The nodes below ``root`` that get a line of their own."""
    takers = users(order)
    size: dict[Node, int] = {}
    result: list[Node] = []
    for node in order:
        size[node] = 1 if not node.inputs else 0
        if node.inputs:
            inner = sum(size[source] for source in node.inputs)
            size[node] = inner + (node.op.flops > 0 or node.op.name != "broadcast_to")
        if node is root or not node.inputs:
            continue
        shared = len(takers[node]) > 1 and size[node] >= SHARED_SIZE
        if node.name is not None or shared or size[node] > 12:
            result.append(node)
            size[node] = 1
    return result


def _line_names(lines: Sequence[Node]) -> dict[Node, str]:
    names = Names(lines)
    return {node: names[node] for node in lines}


def _texts(
    order: Sequence[Node], names: dict[Node, str], root: Node
) -> dict[Node, tuple[str, int]]:
    """The expression of every node, in which the nodes of ``names`` are not written out."""
    texts: dict[Node, tuple[str, int]] = {}
    for node in order:
        arguments = [
            (names[source], ATOM) if source in names else texts[source] for source in node.inputs
        ]
        if not node.inputs and node.name is not None:
            texts[node] = node.name, ATOM
        else:
            texts[node] = node.op.format(node, arguments)
    return texts


def show(nodes: Node | Sequence[Node], file: Any = None) -> str:
    """Print a graph, a line per node: name, type, formula, the user's line. Returns the text."""
    roots = [nodes] if isinstance(nodes, Node) else list(nodes)
    name_results(roots)
    order = topological(roots)
    names = Names(order)
    hidden = {node for node in order if node.op.name in ("broadcast_to", "constant", "size")
              and node.name is None}  # fmt: skip
    texts: dict[Node, tuple[str, int]] = {}
    rows = []
    for node in order:
        arguments = [
            texts[source] if source in hidden else (names[source], ATOM) for source in node.inputs
        ]
        texts[node] = node.op.format(node, arguments)
        if node in hidden:
            continue
        text = texts[node][0] if node.inputs else node.op.name
        rows.append((names[node], str(node.type), text, str(node.origin or "")))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    text = "\n".join(
        f"{name:<{widths[0]}}  {type:<{widths[1]}}  {expression:<{min(widths[2], 60)}}  {line}".rstrip()
        for name, type, expression, line in rows
    )
    print(text, file=file)
    return text


__all__ = ["adjoint_name", "formula", "show"]
