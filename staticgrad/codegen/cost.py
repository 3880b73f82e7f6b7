"""What a graph or a program costs: floating-point operations, memory traffic, kernels, workspace.

All of it is counted, not measured. Counts are integers, or SymPy expressions of the named dimensions,
which ``staticgrad.graph.dims.concrete`` evaluates for given sizes.

Operations are those of the formula: an addition, a product, a comparison, a choice or a cast counts 1,
a division 4, a function what its declaration says (``Op.flops``: ``exp`` 10, ``tanh`` 12), a product of
matrices ``2 m n k``, a convolution 2 for each place of its window, a reduction 1 for each element.
Integers and booleans alone count nothing, both sides of a choice count, and so do zeros of a padding.

Traffic is the bytes of the arrays that a kernel reads and writes, each array once per kernel however
often it is touched there, and no more of it than the kernel touches. What a kernel computes for itself
is not read, and what it needs at one element at a time is in a register, which is free.

A kernel is a nest of loops, a call of a routine, or a loop over blocks of rows, in which what one item
hands to the next stays in the cache; what computes a single number is none. In a graph, every node is a
kernel of its own, but for views (reshape, broadcast_to, slices, permutations) and leaves, which cost
nothing until they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sympy

from staticgrad.codegen.program import (
    Access,
    Buffer,
    Program,
    Rolled,
    Statement,
    groups,
    statements,
)
from staticgrad.graph.dims import Dim, canonical, product
from staticgrad.graph.node import Node
from staticgrad.ops.lowering import IndexMap
from staticgrad.rewrite.graph import Graph

#: what indices of any statement are told by
AXES = tuple(sympy.Symbol(f"axis_{level}", integer=True) for level in range(32))
#: ops whose result is another view of the input's memory
VIEWS = ("reshape", "stop_gradient", "custom_gradient")


def flops(what: Graph | Program) -> Dim:
    """The floating-point operations of one call."""
    if isinstance(what, Graph):
        return total(node.op.work(node) for node in what.nodes())
    return total(work(member) for member in statements(flattened(what.items)))


def traffic(what: Graph | Program) -> Dim:
    """The bytes that the kernels of one call read and write."""
    if isinstance(what, Graph):
        return total(amount for node in what.nodes() if is_kernel(node) for amount in moved(node))
    return total(amount for kernel in kernels_of(what) for amount in touched_bytes(kernel).values())


def kernels(what: Graph | Program) -> int:
    """How many kernels one call runs."""
    if isinstance(what, Graph):
        return sum(map(is_kernel, what.nodes()))
    return sum(map(is_nest, kernels_of(what)))


def workspace(what: Graph | Program) -> Dim:
    """The bytes of intermediates: of a planned program the places of its workspace, of one that is not
    yet planned and of a graph all of them, side by side."""
    if isinstance(what, Graph):
        roots = set(what.roots)
        return total(bytes_of(n) for n in what.nodes() if is_kernel(n) and n not in roots)
    if what.is_planned:
        return total(place.rounded for place in what.places)
    return total(
        stored_bytes(buffer) for buffer in what.buffers
        if buffer.kind == "workspace" and buffer.root is None and not in_register(buffer)
    )  # fmt: skip


# ---- of a graph ------------------------------------------------------------------------------------


def is_view(node: Node) -> bool:
    """Whether a node is its input, seen in another way."""
    return isinstance(node.op, IndexMap) or node.op.name in VIEWS


def is_kernel(node: Node) -> bool:
    """Whether a node is computed in a loop: it is, or takes, more than a number."""
    sizes = (node.size, *(source.size for source in node.inputs))
    return bool(node.inputs) and not is_view(node) and any(size != 1 for size in sizes)


def bytes_of(node: Node) -> Dim:
    return times(node.size, node.dtype.itemsize)


def moved(node: Node) -> list[Dim]:
    """The bytes of what a node reads, and of its result. Numbers known in advance are in the code."""
    read: dict[Node, Dim] = {}
    for source in node.inputs:
        size = source.size
        while is_view(source):
            source = source.inputs[0]
            size = at_most(size, source.size)
        known = read.get(source, 0)
        read[source] = size if known == 0 else at_most(canonical(known + size), source.size)
    sizes = [
        times(size, source.dtype.itemsize) for source, size in read.items()
        if source.inputs or source.op.name in ("placeholder", "parameter") or source.shape
    ]  # fmt: skip
    return [*sizes, bytes_of(node)]


# ---- of a program ----------------------------------------------------------------------------------


def flattened(items: list[Any]) -> list[Any]:
    """The items; before fusion they come in groups."""
    return [one for item in items for one in (item if isinstance(item, list) else [item])]


def kernels_of(program: Program) -> list[list[Any]]:
    """The items of each kernel in order: a nest of loops, a call or a number, and the first values of
    its accumulators. A loop over layers runs its kernels once a turn."""
    if any(isinstance(item, list) for item in program.items):
        found = list(program.items)
    else:
        found = []
        for group in groups(program.items):
            if isinstance(group[-1], Rolled):
                for turn in group[-1].turns:
                    found += groups(turn)
            else:
                found.append(group)
    return found


def is_nest(kernel: list[Any]) -> bool:
    """Whether a kernel has a loop: its statements compute more than a number each."""
    return any(
        not isinstance(member, Statement) or points(member) != 1
        for member in statements(kernel)
    )


def work(member: Any) -> Dim:
    """The floating-point operations of a statement or call."""
    if not isinstance(member, Statement):
        return member.node.op.work(member.node)
    combines = member.action in ("accumulate", "scan", "scatter")
    each = member.flops + (combines and member.node.type.is_float)
    return times(points(member), each)


def points(statement: Statement) -> Dim:
    """How often a statement is carried out."""
    return product(steps.count for steps in statement.ranges)


def in_register(buffer: Buffer) -> bool:
    """Whether a buffer takes no memory: a local variable, or a token that orders statements."""
    return (
        buffer.kind == "token" or buffer.is_local or buffer.by_value or buffer.finishes_in is not None
    )


def is_scratch(member: Any, buffer: Buffer) -> bool:
    """Whether a buffer is a routine's own, as the tables inside of a matrix product are."""
    return buffer is getattr(member, "scratch", None)


def array_of(buffer: Buffer) -> Buffer:
    """The array that a buffer lies in; the parts of a stack are arrays of their own."""
    while buffer.root is not None and buffer.part_of is None and not buffer.is_duplicate:
        buffer = buffer.root
    return buffer


def stored_bytes(buffer: Buffer) -> Dim:
    return times(product(buffer.stored_shape), buffer.dtype.itemsize)


def touched_bytes(kernel: list[Any]) -> dict[tuple[Buffer, bool], Dim]:
    """For each array that a kernel reads (False) or writes (True), the bytes of it."""
    seen: dict[tuple[Buffer, bool], dict[Any, Dim]] = {}
    made: set[Buffer] = set()
    for member in statements(kernel):
        adds = getattr(member, "action", "") in ("accumulate", "scatter", "scan")
        # what a statement reads, it reads before it writes
        for access in sorted(member.accesses, key=lambda access: access.writes):
            array = array_of(access.buffer)
            if in_register(access.buffer) or in_register(array) or is_scratch(member, array):
                continue
            key, elements = place(member, access)
            if array not in made and (not access.writes or (adds and access.buffer is member.target)):
                seen.setdefault((array, False), {})[key] = elements
            if access.writes:
                made.add(array)
                seen.setdefault((array, True), {})[key] = elements
    return {
        (array, writes): times(
            at_most(total(places.values()), product(array.stored_shape)), array.dtype.itemsize
        )
        for (array, writes), places in seen.items()
    }


def place(member: Any, access: Access) -> tuple[Any, Dim]:
    """Which elements of its buffer an access touches in all, and how many they are."""
    buffer = access.buffer
    whole = product(buffer.stored_shape)
    if not isinstance(member, Statement):
        return None, whole
    if access.index is None:
        return None, at_most(points(member), whole)
    levels = {own: level for level, own in enumerate(member.own)}
    parts: list[Any] = []
    used: set[Any] = set()
    for part in (access.index[axis] for axis in buffer.axes):
        if part in levels:
            # the usual case needs no algebra
            used.add(part)
            parts.append(AXES[levels[part]])
        else:
            part = sympy.sympify(part)
            used |= part.free_symbols
            parts.append(part.xreplace({own: AXES[level] for own, level in levels.items()}))
    # an index that is read may be any: one for each point
    running = [level for own, level in levels.items() if own in used or not used <= levels.keys()]
    steps = [member.ranges[level] for level in running]
    elements = product(one.count for one in steps)
    return (tuple(parts), tuple(steps)), at_most(elements, whole)


# ---- numbers ---------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def times(value: Dim, number: int) -> Dim:
    return canonical(value * number)


@lru_cache(maxsize=4096)
def at_most(value: Dim, limit: Dim) -> Dim:
    """The smaller of two sizes, where named dimensions are at least 1."""
    difference = canonical(limit - value)
    if isinstance(difference, int):
        return value if difference >= 0 else limit
    above = difference.xreplace({symbol: symbol + 1 for symbol in difference.free_symbols})
    above = sympy.expand(above)
    if above.is_nonnegative:
        return value
    return limit if above.is_nonpositive else sympy.Min(value, limit)


def total(values: Iterable[Dim]) -> Dim:
    """The sum of many dimensions, with little algebra."""
    known, terms = 0, []
    for value in values:
        if isinstance(value, int):
            known += value
        else:
            terms.append(value)
    return canonical(sympy.Add(known, *terms)) if terms else known


__all__ = ["flops", "kernels", "traffic", "workspace"]
