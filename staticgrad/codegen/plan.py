"""Where intermediates lie: one workspace, whose places are used again once a value is dead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sympy

from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Parts,
    Program,
    groups,
    shared_blocks,
    shared_loops,
    statements,
)
from staticgrad.graph.dims import Dim, canonical, format_dim, product

#: places start at multiples of a cache line, which is also the widest vector
ALIGNMENT = 64


@dataclass(eq=False)
class Place:
    """A stretch of the workspace, and the buffers that use it one after the other."""

    size: Dim
    buffers: list[Buffer] = field(default_factory=list)

    @property
    def exact(self) -> Dim | None:
        """The bytes that the place takes up, where that is a sum of products."""
        if isinstance(self.size, int):
            return -(-self.size // ALIGNMENT) * ALIGNMENT
        return self.size if _keeps_alignment(self.size) else None

    @property
    def rounded(self) -> Dim:
        """The bytes that the place takes up."""
        if self.exact is not None:
            return self.exact
        return ALIGNMENT * sympy.floor((self.size + ALIGNMENT - 1) / ALIGNMENT)

    def rounded_size(self) -> str:
        """The bytes that the place takes up, in Python syntax."""
        if self.exact is not None:
            return format_dim(self.exact)
        return f"({format_dim(self.size)} + {ALIGNMENT - 1}) // {ALIGNMENT} * {ALIGNMENT}"


def lifetimes(program: Program) -> dict[Buffer, tuple[int, int]]:
    """For each stored workspace buffer the first and last item that touches it. What lives within a
    block of rows does so from item to item; all else that a block touches, throughout the block. What
    each thread has for itself lies elsewhere (``own_lifetimes``)."""
    spans: dict[Buffer, tuple[int, int]] = {}

    def touch(buffers: Iterable[Buffer], first: int, last: int) -> None:
        for buffer in buffers:
            known = spans.get(buffer, (first, last))
            spans[buffer] = (min(known[0], first), max(known[1], last))

    position = 0
    for item in program.items:
        if isinstance(item, Blocked):
            end = position + len(item.items) - 1
            if item.parts is not None:
                touch([*item.parts.partial.values(), item.parts.scratch], position, end)
                touch([b for b in touched(item) if b not in item.parts.own], position, end)
            else:
                local = {buffer.memory for buffer in item.local}
                touch([buffer for buffer in touched(item) if buffer not in local], position, end)
                for number, inner in enumerate(item.items, position):
                    touch([b for b in touched(inner) if b in local], number, number)
            position = end + 1
        else:
            touch(touched(item), position, position)
            for shared in shared_loops([item]):
                touch(shared.partial.values(), position, position)
            position += 1
    return spans


def own_lifetimes(blocked: Blocked, parts: Parts) -> dict[Buffer, tuple[int, int]]:
    """The same for what each thread has for itself in blocks of rows."""
    spans: dict[Buffer, tuple[int, int]] = {}
    for position, item in enumerate(blocked.items):
        for buffer in touched(item):
            if buffer in parts.own:
                spans[buffer] = (spans.get(buffer, (position,))[0], position)
    return spans


def touched(item: Any) -> list[Buffer]:
    """The stored buffers of the workspace that an item reads or writes, in order."""
    found = [access.buffer.memory for member in statements(item) for access in member.accesses]
    stored = [buffer for buffer in found if buffer.kind == "workspace" and not buffer.is_local]
    return list(dict.fromkeys(stored))


def plan(program: Program) -> Program:
    """Give every stored intermediate a place in the workspace. Sets ``program.places`` and
    ``program.workspace``, the number of bytes in all."""
    # accumulators start right before what they are needed for
    program.items = [item for group in groups(program.items) for item in group]
    for blocked, parts in shared_blocks(program.items):
        parts.places = allotted(own_lifetimes(blocked, parts))
        room = sum(place.rounded for place in parts.places)
        parts.scratch.shape = (parts.count, room)
    places = allotted(lifetimes(program))
    program.places, program.is_planned = places, True
    exact = [place.exact for place in places if place.exact is not None]
    total = format_dim(canonical(sum(exact, start=0)))
    rounded = [place.rounded_size() for place in places if place.exact is None]
    program.workspace = " + ".join([total] * (total != "0" or not rounded) + rounded)
    return program


def allotted(spans: dict[Buffer, tuple[int, int]]) -> list[Place]:
    """Places for buffers, of which each is needed for a span of time."""
    sizes = {b: canonical(product(b.stored_shape) * b.dtype.itemsize) for b in spans}
    places: list[Place] = []
    # the largest first: what is smaller finds room in their places before and after them
    for buffer in sorted(spans, key=lambda buffer: (-typical(sizes[buffer]), spans[buffer])):
        size, (first, last) = sizes[buffer], spans[buffer]
        fitting = [
            place for place in places
            if all(last < spans[other][0] or spans[other][1] < first for other in place.buffers)
            and _fits(size, place.size)
        ]  # fmt: skip
        if fitting:
            fitting[-1].buffers.append(buffer)
        else:
            places.append(Place(size, [buffer]))
    for place in places:
        place.buffers.sort(key=spans.__getitem__)
    # places of known size first, then those whose size depends on the named dimensions
    places.sort(key=lambda p: (not isinstance(p.size, int), spans[p.buffers[0]]))
    return places


def typical(size: Dim) -> int:
    """The size where named dimensions are 64."""
    return size if isinstance(size, int) else int(size.subs(dict.fromkeys(size.free_symbols, 64)))


def _fits(size: Dim, room: Dim) -> bool:
    """Whether ``size`` is never larger than ``room``; only what is certain counts."""
    difference = canonical(room - size)
    if isinstance(difference, int):
        return difference >= 0
    return bool(difference.is_nonnegative)


def _keeps_alignment(size: Dim) -> bool:
    return isinstance(size, int) or all(
        term.as_coeff_Mul()[0] % ALIGNMENT == 0 for term in size.as_ordered_terms()
    )
