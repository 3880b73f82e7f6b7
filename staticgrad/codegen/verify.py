"""What must hold of a loop program after every pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from staticgrad.codegen.outline import variable
from staticgrad.codegen.plan import Place, lifetimes, own_lifetimes
from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Invocation,
    Loop,
    Peeled,
    Program,
    Rolled,
    Shared,
    Statement,
    shared_blocks,
    statements,
)
from staticgrad.graph.dims import canonical, product

#: what a function must not write
READ_ONLY = ("input", "constant", "rows")


def verify_program(program: Program) -> None:
    """Check that values are written before they are read, that statements stand in the loops they
    count on, that arguments are left alone, and that no two live values share memory.

    Raises RuntimeError that names the statement or the buffer.
    """
    # scalars that are cast as they are read have a value from the start
    written = {memory(b.cast_to) for b in program.buffers if b.cast_to is not None}
    written |= unchecked(program)
    walk(program.items, (), written)
    for output in program.outputs:
        if output.memory not in written:
            raise RuntimeError(f"nothing stores the output {output.name}")
    if program.is_planned:
        check_places(program.places, lifetimes(program))
        for blocked, parts in shared_blocks(program.items):
            check_places(parts.places, own_lifetimes(blocked, parts))


def unchecked(program: Program) -> set[Buffer]:
    """What waits for index checks that need not be made."""
    made = {access.buffer for check in program.checks for access in check.accesses if access.writes}
    waiting = {
        access.buffer for item in program.items for member in statements(item)
        for access in member.accesses if access.buffer.kind == "token"
    }  # fmt: skip
    return waiting - made


def walk(items: Iterable[Any], loops: tuple[Any, ...] | None, written: set[Buffer]) -> None:
    """Go through statements and calls in order. ``written`` is the memory that has a value so far."""
    for item in items:
        if isinstance(item, list):
            # not yet in loops
            walk(item, None, written)
        elif isinstance(item, Loop):
            inside = loops if loops is None or item.extent == 1 else (*loops, item.variable)
            walk(item.body, inside, written)
        elif isinstance(item, Blocked):
            walk(item.parts.starts if item.parts is not None else (), loops, written)
            walk(item.items, loops, written)
        elif isinstance(item, Invocation | Peeled):
            walk(item.items, loops, written)
        elif isinstance(item, Shared):
            walk([item.loop], loops, written)
        elif isinstance(item, Rolled):
            for turn in item.turns:
                walk(turn, loops, written)
        else:
            check(item, loops, written)


def check(member: Any, loops: tuple[Any, ...] | None, written: set[Buffer]) -> None:
    if isinstance(member, Statement) and loops is not None:
        counted = tuple(
            variable for variable, steps in zip(member.variables, member.ranges, strict=True)
            if isinstance(variable, sympy.Symbol) and not steps.is_unit
        )  # fmt: skip
        if set(counted) != set(loops):
            raise RuntimeError(
                f"{told(member)} counts on the loops {counted}, and stands in {loops}"
            )
    for access in sorted(member.accesses, key=lambda access: access.writes):
        buffer = access.buffer
        if not access.writes:
            if needs_value(buffer) and memory(buffer) not in written:
                raise RuntimeError(f"{told(member)} reads {buffer.name}, which has no value yet")
            continue
        if buffer.kind in READ_ONLY:
            raise RuntimeError(f"{told(member)} writes to {buffer.name}, an argument")
        if buffer.kind == "parameter" and member.section != "update":
            raise RuntimeError(f"{told(member)} writes to a parameter before all is computed")
        adds = getattr(member, "action", "") in ("accumulate", "scan", "scatter")
        if adds and buffer is member.target and memory(buffer) not in written:
            raise RuntimeError(f"{told(member)} adds to {buffer.name}, which has no first value")
        written.add(memory(buffer))


def memory(buffer: Buffer) -> Buffer:
    """Where a value lies; an accumulator may be one variable with its result."""
    return variable(buffer).memory


def needs_value(buffer: Buffer) -> bool:
    """Whether it is the program that gives a buffer its value."""
    return buffer.memory.kind in ("workspace", "output", "token")


def told(member: Any) -> str:
    """A statement or call, for messages."""
    target = member.target.name if member.target is not None else member.node.op.name
    return f"{getattr(member, 'action', 'call')} of {target}"


def check_places(places: Iterable[Place], spans: Mapping[Buffer, tuple[int, int]]) -> None:
    """Every stored intermediate has room, alone for as long as it lives."""
    placed: set[Buffer] = set()
    for place in places:
        placed.update(place.buffers)
        for number, one in enumerate(place.buffers):
            needed = product(one.stored_shape) * one.dtype.itemsize
            room: Any = canonical(place.size - needed)
            if (room if isinstance(room, int) else -bool(room.is_negative)) < 0:
                raise RuntimeError(f"the place of {one.name} is too small for it")
            for other in place.buffers[:number]:
                if spans[one][0] <= spans[other][1] and spans[other][0] <= spans[one][1]:
                    raise RuntimeError(f"{one.name} and {other.name} share memory while both live")
    missing = [buffer.name for buffer in spans if buffer not in placed]
    if missing:
        raise RuntimeError(f"no place in the workspace for {', '.join(missing)}")
