"""The panes of text: the user's source, the equations, the generated code.

A line or an equation carries ``data-v``: the numbers of the values that it stands for, then, after a
semicolon, of those which have a part in it.
"""

from __future__ import annotations

import html
import linecache
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from staticgrad.codegen.module import Generated
from staticgrad.explain.mathematics import equation, renewal
from staticgrad.explain.stages import kernels_of
from staticgrad.explain.values import FORWARD, Values
from staticgrad.graph.node import Node
from staticgrad.show.highlight import highlighted_lines

#: lines of the user's file that are shown around one that a node comes from
AROUND = 4
#: a shorter file is shown as a whole
WHOLE_FILE = 80
SECTIONS = ("Forward", "Backward", "Update")


class Links:
    """Writes ``data-v``, of the values that are drawn somewhere."""

    def __init__(self, values: Values, drawn: set[int]) -> None:
        self.values = values
        self.drawn = drawn

    def numbers(self, nodes: Iterable[Node]) -> list[int]:
        found = (self.values[node].number for node in nodes if node in self.values)
        return list(dict.fromkeys(number for number in found if number in self.drawn))

    def attribute(self, own: Sequence[int], others: Sequence[int] = (), chosen: int = 0) -> str:
        """``own`` and ``others``; a click chooses the first ``chosen`` of its own, or all."""
        rest = [number for number in others if number not in own]
        if not own and not rest:
            return ""
        text = " ".join(map(str, own)) + (";" + " ".join(map(str, rest)) if rest else "")
        only = f' data-n="{chosen}"' if 0 < chosen < len(own) else ""
        return f' data-v="{text}"{only}'


def line(number: int, text: str, link: str = "", extra: str = "") -> str:
    return f'<div class="ln"{link}{extra}><i>{number}</i><code>{text}</code></div>'


# ---- the user's source ---------------------------------------------------------------------------


def source_pane(links: Links) -> str:
    """The lines of the user's files that values come from, with those around them."""
    own: dict[str, dict[int, tuple[list[int], list[int]]]] = {}
    for value in links.values.all:
        if value.origin is None or value.number not in links.drawn:
            continue
        lines = own.setdefault(value.origin.file, {})
        first, others = lines.setdefault(value.origin.line, ([], []))
        (first if value.lane == FORWARD else others).append(value.number)
    return "".join(_file(file, lines, links) for file, lines in sorted(own.items()))


def _file(file: str, own: dict[int, tuple[list[int], list[int]]], links: Links) -> str:
    title = f'<h3 class="file">{html.escape(Path(file).name)}</h3>'
    text = "".join(linecache.getlines(file))
    shown = highlighted_lines(text)
    body: list[str] = []
    last = 0
    for number in range(1, len(shown) + 1):
        near = any(abs(number - other) <= AROUND for other in own)
        if len(shown) > WHOLE_FILE and not near:
            continue
        if number != last + 1 and body:
            body.append('<div class="gap">⋯</div>')
        last = number
        first, others = own.get(number, ([], []))
        link = links.attribute([*first, *others], (), len(first))
        body.append(line(number, shown[number - 1], link))
    if not shown:
        body = [
            line(number, "(the source cannot be read)", links.attribute([*first, *others]))
            for number, (first, others) in sorted(own.items())
        ]
    return f'{title}<div class="sg-code lines">{"".join(body)}</div>'


# ---- the mathematics -----------------------------------------------------------------------------


def equations_pane(generated: Generated, links: Links, renewed: Mapping[Node, Node]) -> str:
    """What the program computes, a formula for each value that has a name in the code. ``renewed``
    says which parameter takes a new value."""
    program = generated.program
    named = {node: buffer.name for node, buffer in program.readers.items()}
    parts: list[list[str]] = [[], [], []]
    done: set[Node] = set()
    for kernel in kernels_of(program.items):
        for node in kernel.nodes:
            if node in done or not node.inputs or node not in links.values:
                continue
            done.add(node)
            own = links.numbers([node])
            others = links.numbers(_inlined(node, named))
            if node in renewed:
                text = renewal(
                    renewed[node], node, {renewed[node]: program.names[renewed[node]], **named}
                )
            else:
                text = equation(node, named.get(node) or program.names[node], named)
            parts[links.values[node].lane].append(
                f'<div class="eq"{links.attribute(own or others, others)}>{text}</div>'
            )
    return "".join(
        f'<h3 class="lane{lane}">{title}</h3>{"".join(equations)}'
        for lane, (title, equations) in enumerate(zip(SECTIONS, parts, strict=True))
        if equations
    )


def _inlined(node: Node, named: dict[Node, str]) -> list[Node]:
    """What is written out within the formula of a node."""
    found: dict[Node, None] = {}
    waiting = list(node.inputs)
    while waiting:
        item = waiting.pop()
        if item not in named and item not in found:
            found[item] = None
            waiting += item.inputs
    return list(found)


# ---- the generated code --------------------------------------------------------------------------


def code_pane(generated: Generated, links: Links) -> tuple[str, list[list[int]]]:
    """The generated module, and the values of each kernel, to which ``data-k`` points."""
    names = set(generated.program.readers)
    shown = highlighted_lines(generated.source, {buffer.name for buffer in generated.program.buffers})
    own: dict[int, list[Node]] = {}
    kernel_of: dict[int, int] = {}
    kernels: list[list[int]] = []
    for span in generated.spans:
        if span.kind == "kernel":
            kernel_of.update(dict.fromkeys(range(span.first, span.last + 1), len(kernels)))
            kernels.append(links.numbers(span.nodes))
        else:
            for number in range(span.first, span.last + 1):
                own.setdefault(number, []).extend(span.nodes)
    body = []
    for number, text in enumerate(shown, 1):
        nodes = own.get(number, [])
        first = [node for node in nodes if node in names]
        link = links.attribute(links.numbers(first or nodes), links.numbers(nodes))
        kernel = f' data-k="{kernel_of[number]}"' if number in kernel_of else ""
        body.append(line(number, text or " ", link, kernel))
    return f'<div class="sg-code lines">{"".join(body)}</div>', kernels
