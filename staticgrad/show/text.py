"""Graphs as text: a node as a formula, a graph as a list of lines."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from staticgrad.graph.expression import Expression, Symbol, Transpose
from staticgrad.graph.node import Node, described
from staticgrad.graph.origin import Origin
from staticgrad.graph.traverse import topological
from staticgrad.ops.table import method
from staticgrad.show.colour import has_colours, is_terminal
from staticgrad.show.names import Names
from staticgrad.show.plain import plain
from staticgrad.show.trees import lines_of, tidied

#: of printed formulas, in columns
WIDTH = 100
#: however narrow the terminal is, formulas are not broken into shorter lines
NARROWEST_FORMULA = 32


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
    first = _wrapped("", plain(last.right), "  ")
    if not lines:
        return first
    width = max(len(line.left.name) for line in lines)
    below = [
        _wrapped(f"    {line.left.name:<{width}} = ", plain(line.right), " " * (width + 9))
        for line in lines
    ]
    return "\n".join([first, "  where", *below])


def _wrapped(left: str, right: str, indent: str) -> str:
    """A formula behind ``left``, on as many lines as it takes."""
    return textwrap.fill(
        right, WIDTH, initial_indent=left, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def show(nodes: Node | Sequence[Node], file: TextIO | None = None, width: int | None = None) -> str:
    """Print a graph as a table, a line per node: name, type, formula, module, the user's line.

    Inputs come first, then what the forward pass computes, then the gradients. Constants, broadcasts
    and sizes stand in the formulas of what takes them in.

    Args:
        nodes: the node, or the nodes, that the graph leads to.
        file: where to print, standard output unless told.
        width: columns; formulas that are longer go on below. Unless told, those of the terminal, and
            as many as it takes where the output is no terminal.

    Returns:
        The text, without the colours that a terminal gets.

    Raises:
        TypeError: for what is no node of a graph, an eager tensor for one.
    """
    several = isinstance(nodes, Iterable) and not isinstance(nodes, Node)
    roots: list[Any] = list(nodes) if several else [nodes]
    for root in roots:
        if not isinstance(root, Node) or root.is_eager:
            raise TypeError(f"show: expected nodes of a graph, got {described(root)}")
    out = sys.stdout if file is None else file
    if width is None and is_terminal(out):
        width = shutil.get_terminal_size().columns
    sections = _sections(roots)
    table = list(_table(sections, width))
    coloured = has_colours(out)
    text = "\n".join(line for line, _ in table)
    print("\n".join(f"\x1b[1m{line}\x1b[0m" if title and coloured else line
                    for line, title in table), file=out)  # fmt: skip
    return text


@dataclass(frozen=True)
class Row:
    """What is said of a node."""

    name: str
    type: str
    formula: str
    module: str
    line: str


def _sections(roots: Sequence[Node]) -> dict[str, list[Row]]:
    called = tidied(roots)
    order = topological(called)
    taken_over = _taken_over(order)
    taken_over.update(
        (node, root) for node, root in called.items() if not node.name and not node.role
    )
    names = Names(order)
    built: dict[Node, Expression] = {}
    result: dict[str, list[Row]] = {"inputs": [], "forward": [], "backward": []}
    for node in order:
        leaf = node.op.name in ("placeholder", "parameter")
        made = node.op.express(node, [built[source] for source in node.inputs])
        # what only moves its input, or is a number, stands in the formulas of what takes it in
        plainly = not node.inputs or any(made is built[source] for source in node.inputs)
        turned = isinstance(made, Transpose) and isinstance(made.operand, Symbol)
        if not leaf and (plainly or (turned and node.name is None and node.role is None)):
            built[node] = made
            continue
        shown = taken_over.get(node, node)
        built[node] = Symbol(names[shown], rank=node.ndim)
        title = "inputs" if leaf else "backward" if node.adjoint_of is not None else "forward"
        told = node.op.name if leaf else plain(made)
        origin = node.origin
        module = origin.scope if isinstance(origin, Origin) else ""
        row = Row(names[shown], str(shown.type), told, module, str(origin or ""))
        result[title].append(row)
    return result


def _taken_over(order: Sequence[Node]) -> dict[Node, Node]:
    """Of values without a name, the reshapes and broadcasts of them that have one."""
    result: dict[Node, Node] = {}
    symbols: dict[Node, Symbol] = {}
    computed: dict[Symbol, Node] = {}
    for node in order:
        arguments = [symbols[source] for source in node.inputs]
        made = node.op.express(node, arguments)
        if not any(made is argument for argument in arguments):
            symbols[node] = Symbol(f"_{len(symbols)}")
            computed[symbols[node]] = node
            continue
        assert isinstance(made, Symbol)
        symbols[node] = made
        source = computed[made]
        shown = result.get(source, source)
        if source.inputs and not (shown.name or shown.role) and (node.name or node.role):
            result[source] = node
    return result


def _table(sections: dict[str, list[Row]], width: int | None) -> Iterator[tuple[str, bool]]:
    """The lines, and whether they are titles."""
    rows = [row for section in sections.values() for row in section]
    columns = [[row.name, row.type, row.formula, row.module, row.line] for row in rows]
    widths = [max((len(texts[k]) for texts in columns), default=0) for k in range(5)]
    room, columns_behind = widths[2], [k for k in (3, 4) if widths[k]]
    if width is not None:
        front = 2 + widths[0] + 2 + widths[1] + 2
        while True:
            left = width - front - sum(2 + widths[k] for k in columns_behind)
            if left >= min(room, NARROWEST_FORMULA) or not columns_behind:
                break
            # names tell the modules as well; and in a narrow window formulas come first
            del columns_behind[0]
        room = max(min(room, left), NARROWEST_FORMULA)
    indent = " " * (2 + widths[0] + 2 + widths[1] + 4)
    for title, section in sections.items():
        if not section:
            continue
        yield title, True
        for row in section:
            first, *later = textwrap.wrap(row.formula, room, break_long_words=False) or [""]
            start = f"  {row.name:<{widths[0]}}  {row.type:<{widths[1]}}  {first:<{room}}  "
            behind = [f"{(row.module, row.line)[k - 3]:<{widths[k]}}" for k in columns_behind]
            yield (start + "  ".join(behind)).rstrip(), False
            for rest in textwrap.wrap(" ".join(later), max(room - 2, 1), break_long_words=False):
                yield indent + rest, False


__all__ = ["formula", "show"]
