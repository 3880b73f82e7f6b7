"""A function at five points of its way: declared, derived, simplified, fused, planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from staticgrad.codegen.compiler import LOOP_PASSES, programs
from staticgrad.codegen.module import Generated
from staticgrad.codegen.passes import Passes, PassReport, known
from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Peeled,
    Program,
    Rolled,
    RoutineCall,
    Shared,
    groups,
    statements,
)
from staticgrad.codegen.stages import primal_part
from staticgrad.graph.dims import format_dim
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph

#: the pass that makes loops of a graph, and the one after which they are merged
LOWERED, FUSED = "schedule", "contract"


@dataclass(eq=False)
class Kernel:
    """What runs as one: a nest of loops, or the call of a routine."""

    title: str
    nodes: list[Node]


@dataclass(eq=False)
class Stage:
    """A graph after a pass: its nodes, those which only updates need (``late``), the parameters that
    take new values (``renewed``), and the kernels where there are any yet."""

    name: str
    text: str
    nodes: list[Node]
    late: set[Node]
    renewed: dict[Node, Node]
    report: PassReport
    kernels: list[Kernel] = field(default_factory=list)


def journey(generated: Generated, passes: Passes) -> list[Stage]:
    """The stages of a generated module, with the counts that its passes report."""
    history = known(generated)
    primal, declared, simplified = primal_part(history.declared), history.declared, history.lowered
    nodes, order = declared.nodes(), simplified.nodes()
    late, renewed = late_part(simplified, order), renewals(simplified)
    lowered = passes[[report.name for report in passes].index(LOWERED) - 1]
    stages = [
        Stage("declared", "the operations that you wrote", primal.nodes(), set(), {}, passes[0]),
        Stage("derived", "with adjoints, by the pullback of each operation, and updates",
              nodes, late_part(declared, nodes), renewals(declared), passes[1]),
        Stage("simplified", "rewritten by rules: stable forms, nothing twice, matrix products",
              order, late, renewed, lowered),
    ]  # fmt: skip
    fused = program_after(generated, FUSED)
    for name, text, program, report in (
        ("fused", "loops that share data run as one", fused, passes[FUSED]),
        ("planned", "a place in memory for what is stored", generated.program, passes[-1]),
    ):
        kernels = list(kernels_of(program.items))
        stages.append(Stage(name, text, order, late, renewed, report, kernels))
    return stages


def program_after(generated: Generated, name: str) -> Program:
    """The program after a pass over loops."""
    number = [step.__name__ for step in LOOP_PASSES].index(name)
    return next(islice(programs(generated), number + 1, None))


# ---- parts of a graph ----------------------------------------------------------------------------


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
        in_parts = f", in {item.parts.count} parts" if item.parts is not None else ""
        return f"blocks of {item.size} rows{in_parts}"
    if isinstance(item, Peeled):
        return f"{_title(item.loop)}, ends apart"
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
