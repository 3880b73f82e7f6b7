"""Long loops are shared out to threads.

A loop over a long axis whose steps depend on each other through sums, products, maxima and minima
alone becomes a function of a part of its steps. Each part stores what it has accumulated for itself,
and the results are combined in the order of the parts. How many parts there are follows from the
program, not from the number of threads: the bits are the same for any.
"""

from __future__ import annotations

from typing import Any

import sympy

from staticgrad.codegen.fuse import CHEAP_FUNCTIONS
from staticgrad.codegen.outline import is_scalar, unique, variable
from staticgrad.codegen.program import (
    Buffer,
    Loop,
    Peeled,
    Program,
    Shared,
    Statement,
    groups,
    only_starts,
    statements,
)
from staticgrad.codegen.reader import operations
from staticgrad.graph.dims import product, symbols_of
from staticgrad.graph.node import Node

#: operations that a part has at least, some 100 microseconds: starting threads costs little beside
LEAST_WORK = 1_000_000
#: what a function such as exp counts for
COSTLY = 20
MOST_PARTS = 64


def share(program: Program) -> Program:
    """Make parts of the loops that are worth it."""
    items: list[Any] = []
    readers = program.readers
    taken = {buffer.name for buffer in program.buffers} | set(program.names.values())
    for *starts, item in groups(program.items):
        loop = item.loop if isinstance(item, Peeled) else item
        shared = None
        if isinstance(loop, Loop):
            shared = shared_loop(program, readers, loop, taken)
        if shared is None:
            items += [*starts, item]
        elif loop is item:
            items += [*starts, shared]
        else:
            items += [*starts, Peeled(item.first, shared, item.last)]
    program.items = items
    return program


def shared_loop(
    program: Program, readers: dict[Node, Buffer], loop: Loop, taken: set[str]
) -> Shared | None:
    """The loop in parts; None if it is too short, or if its steps need each other."""
    members = list(statements(loop))
    if not isinstance(loop.extent, int) or only_starts(loop):
        return None
    if not all(isinstance(member, Statement) and may_share(member, loop) for member in members):
        return None
    in_all = sum(work(member, readers) for member in members)
    parts = min(in_all // LEAST_WORK, MOST_PARTS, loop.extent)
    if parts < 2:
        return None
    private = {variable(m.target) for m in members if m.action in ("start", "store")}
    accumulators = {
        variable(m.target): m for m in members
        if m.action == "accumulate" and is_scalar(m.target) and variable(m.target) not in private
    }  # fmt: skip
    arguments: dict[Buffer, None] = {}
    for member in members:
        for access in member.accesses:
            buffer = access.buffer
            if buffer.kind == "token" or (is_scalar(buffer) and variable(buffer) in private):
                continue
            if variable(buffer) in accumulators:
                if not access.writes:
                    return None  # a running value that another step would need
                continue
            arguments[buffer] = None
    partial = {}
    for target, member in accumulators.items():
        name = unique(f"partial_{member.target.name}", taken)
        partial[member.target] = Buffer(name, target.dtype, (int(parts),), "workspace")
        program.buffers.append(partial[member.target])
    name = unique(f"part_of_{members[-1].target.name}", taken)
    size = -(-loop.extent // int(parts))
    ordered = sorted(arguments, key=is_scalar)
    starts = {member.target: program_start(program, member.target) for member in accumulators.values()}
    if any(start is None for start in starts.values()):
        return None
    return Shared(name, loop, size, -(-loop.extent // size), ordered, partial, starts)


def may_share(statement: Statement, loop: Loop) -> bool:
    """Whether what a statement stores in one step no other step touches, but for accumulators."""
    if statement.action not in ("store", "start", "accumulate") or statement.section == "update":
        return False
    if symbols_of(statement.domain) or any(symbols_of(a.buffer.shape) for a in statement.accesses):
        return False
    target = statement.target
    if target is None or is_scalar(target):
        return target is not None
    row = statement.own[statement.variables.index(loop.variable)]
    written = next(access for access in statement.accesses if access.writes)
    return (
        written.index is not None
        and 0 in target.axes
        and written.index[0] is row
        and target.kind in ("workspace", "output")
    )


def program_start(program: Program, target: Buffer) -> Statement | None:
    """The statement that gives an accumulator its first value, outside of the loop."""
    for item in program.items:
        if isinstance(item, Statement) and item.action == "start" and item.target is target:
            return item
    return None


def work(statement: Statement, readers: dict[Node, Buffer]) -> int:
    """About how many operations a statement takes in all."""
    costly = sum(COSTLY for name in statement.functions if name not in CHEAP_FUNCTIONS)
    each = 1 + operations(statement, readers) + costly
    return int(sympy.Integer(product(steps.count for steps in statement.ranges))) * each
