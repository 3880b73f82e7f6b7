"""Memory over the course of a call: of the compiled function, and of a tape that runs op by op.

Both hold inputs, parameters, optimizer state and constants from before the call on; these are not
counted, and neither are the outputs of the compiled function, which lie in arrays of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import sympy

from staticgrad.codegen.block import ROWS
from staticgrad.codegen.choose import late_nodes
from staticgrad.codegen.cost import bytes_of, is_kernel, is_nest, is_view, stored_bytes
from staticgrad.codegen.header import columns
from staticgrad.codegen.module import Generated
from staticgrad.codegen.plan import lifetimes
from staticgrad.codegen.program import Blocked, Program, Rolled, only_starts, statements
from staticgrad.graph.dims import concrete, dimension, symbols_of
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import users
from staticgrad.rewrite.graph import Graph
from staticgrad.show.names import Names, name_results


@dataclass(frozen=True)
class Moment:
    """A loop nest, a call or an op: ``label`` names what it computes, ``section`` is "check",
    "forward", "backward", "forward and backward" or "update", ``nodes`` are those of the graph that it
    computes."""

    label: str
    section: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Lifetime:
    """An array and its bytes, needed from the moment ``first`` to the moment ``last``."""

    name: str
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Track:
    """The moments of a call in order, and the arrays that live meanwhile."""

    moments: tuple[Moment, ...]
    arrays: tuple[Lifetime, ...]

    @property
    def totals(self) -> list[int]:
        """The live bytes at each moment."""
        changes = [0] * (len(self.moments) + 1)
        for array in self.arrays:
            changes[array.first] += array.bytes
            changes[array.last + 1] -= array.bytes
        return list(accumulate(changes[:-1]))

    @property
    def peak(self) -> int:
        """The most bytes that live at once."""
        return max(self.totals, default=0)

    def live(self, moment: int) -> list[Lifetime]:
        """The arrays that live at a moment."""
        return [array for array in self.arrays if array.first <= moment <= array.last]


@dataclass(frozen=True)
class MemoryTimeline:
    """Live bytes over the course of a call.

    Attributes:
        compiled: the loop nests and calls of the compiled function, and the intermediates in its
            workspace, from when they are first written to when they are last read. What lives in
            registers takes no memory. In a loop over layers, and for what lives across a block of
            rows, that is the whole loop.
        workspace: the bytes of the workspace, which are there all the time.
        eager: the ops that a define-by-run library runs for the same model, gradients and updates, each
            with a result in an array of its own, but for views. What the forward pass computes is kept
            until the pullbacks of the op that made it and of those that took it in have run, since
            pullbacks may need it; all else until its last use. A library that knows which pullbacks
            need what keeps less.

    Single numbers are not counted, nor what computes nothing but them.
    """

    compiled: Track
    workspace: int
    eager: Track

    def __str__(self) -> str:
        """What is live at each moment of a call, and when a tape holds most."""
        lines = [f"workspace: {self.workspace:,} bytes", ""]
        lines += ["bytes live while the compiled function computes"]
        lines += columns(
            (f"{live:>12,}", moment.section, moment.label)
            for live, moment in zip(self.compiled.totals, self.compiled.moments, strict=True)
        )
        totals = self.eager.totals
        if totals:
            most = max(range(len(totals)), key=totals.__getitem__)
            at = self.eager.moments[most]
            where = f"{totals[most]:,} bytes at {at.label} ({at.section})"
            lines += ["", f"a tape, of {len(totals)} ops: {where}"]
        return "\n".join(lines)


def memory_timeline(generated: Generated, sizes: Mapping[str, int]) -> MemoryTimeline:
    """The memory of a call, with sizes of the named dimensions by name.

    Raises TypeError where a size is missing.
    """
    assert generated.history is not None
    values: dict[Any, int] = {dimension(name): size for name, size in sizes.items()}
    program = generated.program
    needed = {str(s) for buffer in program.buffers for s in symbols_of(buffer.shape)} - sizes.keys()
    missing = sorted(needed - {str(ROWS)})
    if missing:
        raise TypeError(
            f"{generated.name}: the memory depends on the size of {', '.join(missing)}: "
            f"pass {', '.join(f'{name}=' for name in missing)}"
        )
    workspace = sum(concrete(sympy.sympify(place.rounded), values) for place in program.places)
    return MemoryTimeline(
        compiled_track(program, values), workspace, eager_track(generated.history.declared, values)
    )


# ---- the compiled function -------------------------------------------------------------------------


def compiled_track(program: Program, values: Mapping[Any, int]) -> Track:
    """The loop nests and calls one after the other, those within a block of rows as well."""
    items: list[Any] = []
    for item in program.items:
        items += item.items if isinstance(item, Blocked) else [item]
    moments: list[Moment] = []
    # the moment that each item belongs to: that of the next loop, for first values and numbers
    moment_of: list[int] = []
    waiting: list[Any] = []
    for item in items:
        moment_of.append(len(moments))
        waiting.append(item)
        if is_nest([item]) and not only_starts(item):
            moments.append(described(waiting))
            waiting = []
    end = max(len(moments) - 1, 0)
    arrays = [
        Lifetime(buffer.name, int(concrete(stored_bytes(buffer), values)),
                 min(moment_of[first], end), min(moment_of[last], end))
        for buffer, (first, last) in lifetimes(program).items()
    ]  # fmt: skip
    return Track(tuple(moments), tuple(arrays) if moments else ())


def described(items: list[Any]) -> Moment:
    """A loop nest or a call, with the numbers before it, named after what it stores."""
    main = items[-1]
    turns = len(main.turns) if isinstance(main, Rolled) else 0
    made: dict[str, None] = {}
    # of a loop over layers, the names of the first
    for member in statements(main.turns[0] if turns else main):
        target = getattr(member, "running", None) or member.target
        action = getattr(member, "action", "")
        if action == "check":
            made[f"{member.node.name or 'indices'} in range"] = None
        elif action != "start" and not target.is_local:
            made[target.name] = None
    members = [m for m in statements(items) if getattr(m, "action", "") != "start"]
    label = ", ".join(made) or members[-1].target.name
    label += f" of {turns} layers" if turns else ""
    found = {member.section for member in statements(main)}
    section = "forward and backward" if found == {"forward", "backward"} else min(found)
    return Moment(label, section, tuple(dict.fromkeys(member.node for member in members)))


# ---- a tape ----------------------------------------------------------------------------------------


def eager_track(graph: Graph, values: Mapping[Any, int]) -> Track:
    """The ops in the order of a tape: forward, backward, updates."""
    order, section = in_order(graph)
    name_results(graph.roots)
    names = Names(order)
    outputs = set(graph.outputs)
    ops = [node for node in order if is_kernel(node)]
    last = last_needed(order, ops, section)
    arrays = [
        Lifetime(names[node], int(concrete(bytes_of(node), values)), number, last[node])
        for number, node in enumerate(ops)
        if node.size != 1 and node not in outputs
    ]
    moments = [Moment(names[node], section[node], (node,)) for node in ops]
    return Track(tuple(moments), tuple(arrays))


def in_order(graph: Graph) -> tuple[list[Node], dict[Node, str]]:
    """The nodes as a tape runs them, and the section that each belongs to."""
    nodes = graph.nodes()
    late = late_nodes(graph, nodes)
    ranks: dict[Node, int] = {}
    for node in nodes:
        own = 2 if node in late else int(node.adjoint_of is not None)
        ranks[node] = max([own, *(ranks[source] for source in node.inputs)])
    sections = ("forward", "backward", "update")
    # within each, in the order in which they were declared
    order = sorted(ranks, key=lambda node: (ranks[node], node.serial))
    return order, {node: sections[rank] for node, rank in ranks.items()}


def last_needed(
    order: list[Node], ops: list[Node], section: Mapping[Node, str]
) -> dict[Node, int]:
    """The last op that needs each node: that takes it in, or a view of it; and, where the forward pass
    computed it, the last of the pullbacks of such ops and of the node itself."""
    number_of = {node: number for number, node in enumerate(ops)}
    pullback: dict[Node, int] = {}
    for number, node in enumerate(ops):
        # an op that takes something of a pullback belongs to it, though it makes the next adjoint
        if node.adjoint_of is not None:
            for part in (node, *node.inputs):
                if part.adjoint_of is not None:
                    pullback[part.adjoint_of.declared] = number
    takers = users(order)
    last: dict[Node, int] = {}
    for node in reversed(order):
        ends = [number_of.get(node, 0)]
        ends += [last[one] if is_view(one) else number_of.get(one, 0) for one in takers[node]]
        if section[node] == "forward":
            ends += [pullback.get(one.declared, 0) for one in (node, *takers[node])]
        last[node] = max(ends)
    return last
