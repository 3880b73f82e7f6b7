"""A function at five points of its way: declared, derived, simplified, fused, planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from staticgrad.codegen import cost
from staticgrad.codegen.compiler import LOOP_PASSES
from staticgrad.codegen.header import header
from staticgrad.codegen.module import Generated, emit
from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Program,
    Rolled,
    RoutineCall,
    Shared,
    groups,
    statements,
)
from staticgrad.codegen.reserved import RESERVED
from staticgrad.codegen.schedule import schedule
from staticgrad.graph.dims import format_dim, symbols_of
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.pipeline import rewrite
from staticgrad.show.names import Names, name_results, name_sources


@dataclass(eq=False)
class Kernel:
    """What runs as one: a nest of loops, or the call of a routine."""

    title: str
    nodes: list[Node]


@dataclass(eq=False)
class Stage:
    """A graph after a pass: its nodes, the roots, and the kernels where there are any yet."""

    name: str
    text: str
    nodes: list[Node]
    late: set[Node]
    renewed: dict[Node, Node]
    kernels: list[Kernel] = field(default_factory=list)
    #: floating-point operations, bytes read and written, kernels and bytes of intermediates
    costs: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Journey:
    """All stages, and the code at the end, which is that of the compiled function."""

    stages: list[Stage]
    generated: Generated

    @property
    def program(self) -> Program:
        return self.generated.program


def journey(graph: Graph, name: str) -> Journey:
    """Take ``graph`` through all passes again, looking at it on the way."""
    name_results(graph.roots)
    declared, nodes = declared_part(graph), graph.nodes()
    stages = [
        Stage("declared", "the operations that you wrote", declared, set(), {},
              costs=costs_of(Graph(graph.inputs, tuple(declared)))),
        Stage("derived", "with adjoints, by the pullback of each operation, and updates",
              nodes, late_part(graph, nodes), renewals(graph), costs=costs_of(graph)),
    ]  # fmt: skip
    simplified = rewrite(graph)
    order = topological(simplified.roots)
    late = late_part(simplified, order)
    renewed = renewals(simplified)
    stages.append(
        Stage("simplified", "rewritten by rules: stable forms, nothing twice, matrix products",
              order, late, renewed, costs=costs_of(simplified))
    )  # fmt: skip
    program = _scheduled(simplified, order, name)
    for step in LOOP_PASSES:
        program = step(program)
        if step.__name__ == "contract":
            kernels = list(kernels_of(program.items))
            stages.append(
                Stage(
                    "fused",
                    "loops that share data run as one",
                    order,
                    late,
                    renewed,
                    kernels,
                    costs_of(program),
                )
            )
    kernels = list(kernels_of(program.items))
    stages.append(
        Stage(
            "planned",
            "a place in memory for what is stored",
            order,
            late,
            renewed,
            kernels,
            costs_of(program),
        )
    )
    return Journey(stages, emit(program, name, header(graph, program, name)))


def costs_of(what: Graph | Program) -> dict[str, Any]:
    """What a call costs at this point, over the named dimensions."""
    return {
        "flops": cost.flops(what), "bytes": cost.traffic(what), "kernels": cost.kernels(what),
        "workspace": cost.workspace(what),
    }  # fmt: skip


def _scheduled(graph: Graph, order: list[Node], name: str) -> Program:
    name_sources(order)
    seen = set(order)
    leaves = [leaf for leaf in (*graph.inputs, *(p for p, _ in graph.updates)) if leaf not in seen]
    nodes = [*leaves, *order]
    dims = {str(symbol) for node in nodes for symbol in symbols_of(node.shape)}
    return schedule(graph, Names(nodes, reserved=RESERVED | dims | {name}))


# ---- parts of a graph ----------------------------------------------------------------------------


def declared_part(graph: Graph) -> list[Node]:
    """What the user wrote of it: outputs, and what adjoints are of, without derivation."""
    order = graph.nodes()
    derived: set[Node] = set()
    for node in order:
        if node.adjoint_of is not None or any(source in derived for source in node.inputs):
            derived.add(node)
    primals = [node.adjoint_of for node in order if node.adjoint_of is not None]
    # a node of derivation has nodes of derivation above it, if not among its inputs
    roots = [*graph.outputs, *(p for p in primals if p.adjoint_of is None)]
    return [node for node in topological(roots) if node not in derived]


def late_part(graph: Graph, order: Iterable[Node]) -> set[Node]:
    """What only new values of parameters need, an optimizer's state included."""
    order = list(order)
    early = set(topological([*graph.outputs, *(n for n in order if n.adjoint_of is not None)]))
    return {node for node in order if node not in early and node.op.name != "placeholder"}


def renewals(graph: Graph) -> dict[Node, Node]:
    """For each new value the parameter that takes it."""
    return {value: parameter for parameter, value in graph.updates}


# ---- kernels -------------------------------------------------------------------------------------


def kernels_of(items: list[Any], suffix: str = "") -> Iterator[Kernel]:
    """The kernels of a program in order of execution."""
    for group in groups(items):
        item = group[-1]
        if isinstance(item, Rolled):
            for number, turn in enumerate(item.turns):
                yield from kernels_of(turn, f", layer {number}")
            continue
        nodes = [
            member.node
            for member in statements(group)
            if getattr(member, "action", "") not in ("check", "start")
        ]
        if nodes:
            yield Kernel(_title(item) + suffix, list(dict.fromkeys(nodes)))


def _title(item: Any) -> str:
    if isinstance(item, Call):
        return item.kernel
    if isinstance(item, RoutineCall):
        return item.node.op.kernel  # type: ignore[attr-defined]
    if isinstance(item, Invocation):
        return item.routine.name
    if isinstance(item, Blocked):
        return f"blocks of {item.size} rows"
    if isinstance(item, Shared):
        return f"loop over {format_dim(item.loop.extent)}, in {item.parts} parts"
    if isinstance(item, Loop):
        return f"loop over {' × '.join(_extents(item))}"
    return "scalar"


def _extents(loop: Loop) -> list[str]:
    inner = [item for item in loop.body if isinstance(item, Loop)]
    deeper = max((_extents(item) for item in inner), key=len, default=[])
    return [format_dim(loop.extent), *deeper]


def places_of(program: Program) -> Mapping[Buffer, int]:
    """The number of the place in the workspace of each buffer that has one."""
    return {
        buffer: number for number, place in enumerate(program.places) for buffer in place.buffers
    }
