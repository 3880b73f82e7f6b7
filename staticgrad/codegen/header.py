"""What stands at the top of a generated module: what it computes, of what, and at which cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from staticgrad.codegen.cost import flops, traffic
from staticgrad.codegen.layout import WIDTH
from staticgrad.codegen.program import Buffer, Program
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.graph.origin import Origin
from staticgrad.rewrite.graph import Graph

#: what ``on_arrays`` finds the size of the workspace behind
WORKSPACE = "Workspace: "


def header(graph: Graph, program: Program, name: str) -> str:
    """The docstring of a generated module. Its table names every array; ``on_arrays``, which makes a
    plain function of an exported module, goes by it."""
    outputs = ", ".join(buffer.name for buffer in program.outputs)
    updated = bool(graph.updates)
    what = [f"computes {outputs}"] if outputs else []
    what += ["updates parameters in place"] if updated else []
    first = f"{name}: {' and '.join(what) or 'computes nothing'}{_declared(graph)}."
    rows = array_rows(graph, program)
    lines = [*textwrap.wrap(first, WIDTH - 3), *textwrap.wrap(_cost(program), WIDTH)]
    return "\n".join([*lines, *([""] if rows else []), *columns(rows)]) + "\n"


def array_rows(graph: Graph, program: Program) -> list[tuple[str, str, str, str]]:
    """Name, dtype, shape and kind of every array that a call reads or writes."""
    updated = {program.names[parameter] for parameter, _ in graph.updates}
    return [
        (buffer.name, str(buffer.dtype), format_shape(buffer.shape), kind(buffer, updated))
        for buffers in (program.inputs, program.parameters, program.constants, program.outputs)
        for buffer in buffers
    ]


def _cost(program: Program) -> str:
    """What a call takes, in Python syntax over the named dimensions."""
    work, moved = format_dim(flops(program)), format_dim(traffic(program))
    return f"{WORKSPACE}{program.workspace} bytes. FLOPs: {work}. Traffic: {moved} bytes."


def kind(buffer: Buffer, updated: set[str]) -> str:
    """What an array is to the caller."""
    new = ", updated" if buffer.kind == "parameter" and buffer.name in updated else ""
    return f"{buffer.kind}{new}"


def columns(rows: Iterable[tuple[Any, ...]], indent: str = "    ") -> list[str]:
    """Rows of text in columns."""
    table = [[str(item) for item in row] for row in rows]
    if not table:
        return []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        indent + "  ".join(f"{item:<{w}}" for item, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _declared(graph: Graph) -> str:
    """The lines that the model's results were declared in."""
    origins = [root.origin for root in graph.outputs if isinstance(root.origin, Origin)]
    places = list(dict.fromkeys(str(origin) for origin in origins))
    return f" ({', '.join(places[:3])})" if places else ""
