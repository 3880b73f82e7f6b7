"""Graphs and programs between passes as text: what ``STATICGRAD_SHOW`` prints, and stages read like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staticgrad.codegen.emit import Emitter
from staticgrad.codegen.fuse import loop_variables, place_in
from staticgrad.codegen.header import columns
from staticgrad.codegen.layout import INDENT
from staticgrad.codegen.module import Generated
from staticgrad.codegen.outline import renamed, variable
from staticgrad.codegen.program import Buffer, Loop, Program, Statement
from staticgrad.codegen.spans import Span, resolved
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.graph.expression import Expression, Symbol
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph
from staticgrad.show.names import Names, name_results
from staticgrad.show.plain import plain


def text_of(state: Graph | Program | Generated) -> str:
    """A stage as text: a graph with a line per node, a program as loops, the generated module."""
    if isinstance(state, Graph):
        return graph_text(state)
    if isinstance(state, Program):
        return program_text(state)[0]
    return state.source


def graph_text(graph: Graph) -> str:
    """A line per node, with name, type, formula and the user's line, and what becomes of the results.
    Nothing is left out but numbers and broadcasts, which stand where they are used."""
    nodes = topological([*graph.inputs, *graph.roots])
    name_results(graph.roots)
    names = Names(nodes)
    built: dict[Node, Expression] = {}
    rows = []
    for node in nodes:
        made = node.op.express(node, [built[source] for source in node.inputs])
        hidden = node.op.name in ("constant", "size", "broadcast_to") and node.name is None
        built[node] = made if hidden else Symbol(names[node], rank=node.ndim)
        if not hidden:
            text = plain(made) if node.inputs else node.op.name
            rows.append((names[node], node.type, text, node.origin or ""))
    results = [f"return {', '.join(plain(built[n]) for n in graph.outputs)}"] if graph.outputs else []
    for parameter, value in graph.updates:
        if parameter is not value:
            results.append(f"{parameter.name or 'parameter'} becomes {plain(built[value])}")
    return "\n".join([*columns(rows, ""), *results])


def program_text(program: Program) -> tuple[str, list[Span]]:
    """The arrays of a program and its loops, at any stage; and which lines (from 1) compute which
    nodes. Indices, names and comments are those of generated code; what only serves Numba is not
    there."""
    return Listing(program, "").written()


class Listing(Emitter):
    """Writes a program that may not have been fused, or not been given places."""

    def written(self) -> tuple[str, list[Span]]:
        """The text, and which lines compute which nodes."""
        with renamed(accumulators(self.program)):
            return self._written_out()

    def _written_out(self) -> tuple[str, list[Span]]:
        places = {
            buffer: number
            for number, place in enumerate(self.program.places)
            for buffer in place.buffers
        }
        lines = columns((described(buffer, places) for buffer in self.arrays()), "")
        marks = []
        functions = [self.routine(routine) for routine in self.program.routines]
        functions += self.parts()
        for function in functions:
            lines.append("")
            # without the decorator
            marks += [mark.moved(len(lines) - 1) for mark in function.marks]
            lines += function.text.splitlines()[1:]
        self._begin()
        self.headed = False
        self._sequence(nested(self.program))
        marks += [mark.moved(len(lines)) for mark in self.marks]
        lines += [line.removeprefix(INDENT) for line in self.lines]
        return "\n".join(lines), list(resolved(self.program, marks))

    def arrays(self) -> list[Buffer]:
        """Arguments first, then the intermediates that are no local variables."""
        program = self.program
        arguments = [*program.inputs, *program.parameters, *program.constants, *program.outputs]
        known = set(arguments)
        return [
            *arguments,
            *(b for b in program.buffers if b not in known and not b.is_local and not b.finishes_in),
        ]

    def _begin_loop(self, loop: Loop) -> None:
        start = f"{format_dim(loop.start)}, " if loop.start != 0 else ""
        self.line(f"for {loop.variable} in range({start}{format_dim(loop.stop)}):")
        self.depth += 1


def accumulators(program: Program) -> dict[Buffer, str]:
    """Names for accumulators that still lie beside the results in which they end."""
    return {
        buffer: f"{buffer.name}_so_far"
        for buffer in program.buffers
        if buffer.finishes_in is not None and not variable(buffer).is_local
        and buffer.name == buffer.finishes_in.name
    }  # fmt: skip


def nested(program: Program) -> list[Any]:
    """The items of a program; before fusion, each statement in loops of its own."""
    variables = loop_variables(program)
    found: list[Any] = []
    for item in program.items:
        for member in item if isinstance(item, list) else [item]:
            nest = member
            if isinstance(item, list) and isinstance(member, Statement):
                # fusion gives them their variables anew
                member.variables = place_in(member.domain, variables)
                for place, extent in reversed([*zip(member.variables, member.domain, strict=True)]):
                    nest = Loop(place, extent, [nest])
            found.append(nest)
    return found


def described(buffer: Buffer, places: Mapping[Buffer, int]) -> tuple[str, str, str, str]:
    """Name, dtype, shape, and where a buffer lies: ``places`` are the numbers of places in the
    workspace, once there are any."""
    where = buffer.kind
    if buffer.is_duplicate and buffer.root is not None:
        where = f"as {buffer.root.name}, in another layer"
    elif buffer.part_of is not None and buffer.root is not None:
        where = f"part {buffer.part_of} of {buffer.root.name}"
    elif buffer.root is not None:
        where = f"view of {buffer.root.name}"
    elif buffer.kind == "workspace":
        where += f", place {places[buffer]}" if buffer in places else ""
        if buffer.axes != tuple(range(len(buffer.shape))):
            where += f", stored as {format_shape(buffer.stored_shape)}"
    return buffer.name, str(buffer.dtype), format_shape(buffer.shape), where
