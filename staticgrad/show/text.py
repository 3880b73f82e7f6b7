"""Graphs as text: a node as a formula, a graph as a list of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticgrad.graph.expression import Expression, Symbol
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.table import method
from staticgrad.show.names import Names, adjoint_name, name_results
from staticgrad.show.plain import plain
from staticgrad.show.trees import lines_of


@method("format_node")
def formula(node: Node) -> str:
    """A node as an expression in the user's names.

    Named intermediates, and what is used more than once, stand in lines of their own below::

        x.T @ d_logits
          where
            logits   = x @ W + b
            d_logits = (softmax(logits) - one_hot(y, 10)) / batch
    """
    *lines, last = lines_of([node])
    if not lines:
        return plain(last.right)
    width = max(len(line.left.name) for line in lines)
    below = [f"    {line.left.name:<{width}} = {plain(line.right)}" for line in lines]
    return "\n".join([plain(last.right), "  where", *below])


def show(nodes: Node | Sequence[Node], file: Any = None) -> str:
    """Print a graph, a line per node: name, type, formula, the user's line. Returns the text."""
    roots = [nodes] if isinstance(nodes, Node) else list(nodes)
    name_results(roots)
    order = topological(roots)
    names = Names(order)
    hidden = {node for node in order if node.op.name in ("broadcast_to", "constant", "size")
              and node.name is None}  # fmt: skip
    built: dict[Node, Expression] = {}
    rows = []
    for node in order:
        arguments = [
            built[source] if source in hidden else Symbol(names[source], rank=source.ndim)
            for source in node.inputs
        ]
        built[node] = node.op.express(node, arguments)
        if node in hidden:
            continue
        text = plain(built[node]) if node.inputs else node.op.name
        rows.append((names[node], str(node.type), text, str(node.origin or "")))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    text = "\n".join(
        f"{name:<{widths[0]}}  {type:<{widths[1]}}  {expression:<{min(widths[2], 60)}}  {line}".rstrip()
        for name, type, expression, line in rows
    )
    print(text, file=file)
    return text


__all__ = ["adjoint_name", "formula", "show"]
