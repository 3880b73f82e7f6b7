"""Long loops and blocks of rows are shared out to threads.

A loop over a long axis whose steps depend on each other through sums, products, maxima and minima
alone becomes a function of a part of its steps. Each part stores what it has accumulated for itself,
and the results are combined in the order of the parts. How many parts there are follows from the
program, not from the number of threads: the bits are the same for any.

Blocks of rows, with the products among them, are shared out in the same way if rows meet in sums alone.
What lives within a block then has a place in the memory of the thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.block import CACHE
from staticgrad.codegen.fuse import CHEAP_FUNCTIONS
from staticgrad.codegen.outline import is_scalar, unique, variable
from staticgrad.codegen.program import (
    Access,
    Blocked,
    Buffer,
    Call,
    Loop,
    Parts,
    Peeled,
    Program,
    RoutineCall,
    Shared,
    Statement,
    groups,
    nested_items,
    only_starts,
    statements,
)
from staticgrad.codegen.reader import operations
from staticgrad.graph.dims import product, symbols_of
from staticgrad.graph.node import Node
from staticgrad.kernels.gemm import PART

#: operations that a part has at least, some 100 microseconds: starting threads costs little beside
LEAST_WORK = 1_000_000
#: what a function such as exp counts for
COSTLY = 20
MOST_PARTS = 64
#: the same for blocks of rows: they use their data several times, so that less pays, and each place
#: needs memory
LEAST_WORK_IN_BLOCKS, MOST_PARTS_OF_BLOCKS = 250_000, 8
#: multiplications of products that may be shared out from which on threads are started for them, some
#: 300 microseconds: the threads' own start takes 20 milliseconds
WORTH_THREADS = 2**24
#: multiplications of a matrix product that take as long as an operation elsewhere, for 4 bytes each;
#: and bytes that do
PRODUCTS, BYTES = 5, 6


def share(program: Program) -> Program:
    """Make parts of the loops that are worth it."""
    items: list[Any] = []
    readers = program.readers
    taken = {buffer.name for buffer in program.buffers} | set(program.names.values())
    for *starts, item in groups(program.items):
        if isinstance(item, Blocked):
            items += [*share_blocks(program, starts, item, taken), item]
            continue
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


def uses_threads(program: Program) -> bool:
    """Whether loops, blocks or updates are shared out, or products and routines may be large enough, in
    all, for threads to be started."""
    calls = list(statements(program.items))
    products = [call.multiplications for call in calls if isinstance(call, Call)]
    return (
        sum(number for number in products if number >= 2 * PART) >= WORTH_THREADS
        or any(isinstance(call, RoutineCall) and call.is_large for call in calls)
        or any(
            isinstance(item, Shared) or getattr(item, "parts", None) or getattr(item, "slices", 0)
            for item in nested_items(program.items)
        )
    )


def shared_loop(
    program: Program, readers: dict[Node, Buffer], loop: Loop, taken: set[str]
) -> Shared | None:
    """The loop in parts; None if it is too short, or if its steps need each other."""
    members = list(statements(loop))
    if not isinstance(loop.extent, int) or only_starts(loop):
        return None
    if not all(isinstance(member, Statement) and may_share(member, loop) for member in members):
        return None
    if all(m.section == "update" and m.action == "store" for m in members):
        return None  # outlining makes one function of such loops, for slices of their arrays
    written = {m.target.memory for m in members if not is_scalar(m.target)}
    if not all(
        touches_own_row(member, access, loop) for member in members for access in member.accesses
        if access.buffer.memory in written
    ):
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
    if statement.action not in ("store", "start", "accumulate"):
        return False
    if has_symbols(statement):
        return False
    target = statement.target
    if target is None or is_scalar(target):
        return target is not None
    written = next(access for access in statement.accesses if access.writes)
    return (
        0 in target.axes
        and touches_own_row(statement, written, loop)
        and target.kind in ("workspace", "output", "parameter")
    )


def touches_own_row(statement: Statement, access: Access, loop: Loop) -> bool:
    """Whether each step of the loop finds its element in a row that no other step touches."""
    row = statement.own[statement.variables.index(loop.variable)]
    return access.index is not None and bool(access.index) and access.index[0] is row


def program_start(program: Program, target: Buffer) -> Statement | None:
    """The statement that gives an accumulator its first value, outside of the loop."""
    for item in program.items:
        if isinstance(item, Statement) and item.action == "start" and item.target is target:
            return item
    return None


# ---- blocks of rows ----------------------------------------------------------------------------------


def share_blocks(
    program: Program, starts: list[Any], blocked: Blocked, taken: set[str]
) -> list[Any]:
    """Make parts of the blocks, if it is worth it and rows meet in sums alone. Returns those of the
    ``starts`` that remain before the blocks."""
    members = list(statements(blocked))
    extent, readers = blocked.extent, program.readers
    if not isinstance(extent, int) or any(has_symbols(member) for member in members):
        return starts
    in_all = sum(
        work_of_product(m) if isinstance(m, Call) else work(m, readers) for m in members
    )
    blocks = -(-extent // blocked.size)
    sums = sums_over_rows(starts, blocked)
    own = None if sums is None else memory_of_threads(program, starts, blocked, sums)
    if sums is None or own is None:
        return starts
    each = sum(int(product(b.stored_shape)) * b.dtype.itemsize for b in sums)
    fitting = CACHE // 2 // max(each, 1)
    count = min(in_all // LEAST_WORK_IN_BLOCKS, MOST_PARTS_OF_BLOCKS, blocks, fitting)
    if count < 2:
        return starts
    size = -(-blocks // count) * blocked.size
    count = -(-extent // size)
    arguments: dict[Buffer, None] = {}
    private = {variable(m.target) for m in members if m.target is not None and is_scalar(m.target)}
    for member in members:
        for access in member.accesses:
            buffer = access.buffer
            known = buffer in sums or buffer.memory in own or variable(buffer) in private
            if buffer.kind != "token" and not known:
                arguments[buffer] = None
    partial = {}
    for target in sums:
        name = unique(f"partial_{target.name}", taken)
        partial[target] = Buffer(name, target.dtype, (count, *target.stored_shape), "workspace")
    scratch = Buffer(unique("memory_of_threads", taken), np.dtype(np.uint8), (count, 0), "workspace")
    program.buffers += [*partial.values(), scratch]
    for member in members:
        if isinstance(member, Call) and member.adds:
            member.adds = "first > start"
    # the sums of all parts are stored as a whole: only variables need a first value before
    remaining = [start for start in starts if is_variable(start)]
    blocked.parts = Parts(
        unique(f"part_of_{members[-1].target.name}", taken), size, count,
        sorted(arguments, key=is_scalar), partial, starts, own, scratch,
    )  # fmt: skip
    return remaining


def is_variable(start: Any) -> bool:
    """Whether a first value is that of a local variable."""
    return isinstance(start, Statement) and start.target is not None and is_scalar(start.target)


def sums_over_rows(starts: list[Any], blocked: Blocked) -> list[Buffer] | None:
    """What all rows add to, each written by sums alone; None if there is more to it."""
    begun = [variable(start.target) for start in statements(starts)]
    products = [item.target for item in blocked.items if isinstance(item, Call) and item.adds]
    found = dict.fromkeys([*begun, *products])
    for member in statements(blocked.items):
        for access in member.accesses:
            if variable(access.buffer) not in found:
                continue
            adds = isinstance(member, Call) or (
                member.action == "accumulate" and member.combine == "plus"
            )
            if not adds or variable(member.target) is not variable(access.buffer):
                return None
    whole = all(b.root is None and b.axes == tuple(range(len(b.shape))) for b in found)
    return list(found) if whole else None


def memory_of_threads(
    program: Program, starts: list[Any], blocked: Blocked, sums: list[Buffer]
) -> set[Buffer] | None:
    """The buffers that threads must not share, since each row or block writes them anew; None if what
    a row writes is read elsewhere."""
    inside = {id(member) for member in (*statements(starts), *statements(blocked))}
    outside = {
        access.buffer.memory for member in statements(program.items) if id(member) not in inside
        for access in member.accesses
    }  # fmt: skip
    own = {buffer.memory for buffer in blocked.local}
    for member in statements(blocked.items):
        if isinstance(member, Statement) and member.action not in ("store", "start", "accumulate"):
            return None
        for access in member.accesses:
            buffer = access.buffer
            if not access.writes or is_scalar(buffer) or variable(buffer) in sums:
                continue
            if buffer in blocked.views and buffer not in blocked.local:
                continue  # rows that stay
            if buffer.memory.kind != "workspace" or buffer.memory in outside:
                return None
            own.add(buffer.memory)
    return own


def has_symbols(member: Any) -> bool:
    domain = member.domain if isinstance(member, Statement) else ()
    return bool(
        symbols_of(domain) or any(symbols_of(a.buffer.shape) for a in member.accesses)
    )  # fmt: skip


def work_of_product(call: Call) -> int:
    """About how many operations elsewhere take as long as a product, for all rows."""
    whole = [b.node.shape for b in call.operands if b.node is not None]
    depth = whole[0][-2 if call.transpose[0] else -1] if whole else 1
    sizes = [*call.node.shape, depth]
    bytes_of = sum(product(shape) for shape in whole) * call.target.dtype.itemsize
    width = call.target.dtype.itemsize // 4
    return int(max(product(sizes) * width // PRODUCTS, bytes_of // BYTES))


# ---- how long it takes -------------------------------------------------------------------------------


def work(statement: Statement, readers: dict[Node, Buffer]) -> int:
    """About how many operations a statement takes in all."""
    costly = sum(COSTLY for name in statement.functions if name not in CHEAP_FUNCTIONS)
    each = 1 + operations(statement, readers) + costly
    return int(sympy.Integer(product(steps.count for steps in statement.ranges))) * each
