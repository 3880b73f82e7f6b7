"""Blocks of rows: a long axis that loops and matrix products share is gone through piece by piece.

A run of loops and products that all go along the same long axis, row by row, is carried out for a few
rows at a time, from the first loop to the last: what one hands to the next is then still in the cache,
and intermediates need memory for a block only. Rows keep their order, so that sums over all rows come
out as without blocks, up to the rounding of what a product adds per block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.fuse import LONG, name_accumulators
from staticgrad.codegen.outline import unique, variable
from staticgrad.codegen.program import (
    Access,
    Blocked,
    Buffer,
    Call,
    Loop,
    Program,
    Statement,
    groups,
    only_starts,
    statements,
)
from staticgrad.codegen.reader import reader_of

#: bytes of intermediates that should stay in the L2 cache from one item to the next
CACHE = 512 * 1024
#: the fewest and the most rows of a block
FEWEST, MOST = 32, 256
#: the number of rows in a block that may be the last, smaller one
ROWS = sympy.Symbol("rows", integer=True, nonnegative=True)


def block(program: Program) -> Program:
    """Put runs of items along a long axis into loops over blocks of rows."""
    program.items = without_unit_loops(program.items)
    extents = {
        item.extent for item in program.items
        if isinstance(item, Loop) and isinstance(item.extent, int) and item.extent >= LONG
    }  # fmt: skip
    for extent in sorted(extents, reverse=True):
        program.items = Blocker(program, extent).run(program.items)
    if any(isinstance(item, Blocked) for item in program.items):
        # blocks put items side by side that were apart
        name_accumulators(program)
    return program


class Blocker:
    """Looks for items that go along rows of one extent."""

    def __init__(self, program: Program, extent: int) -> None:
        self.program, self.extent = program, extent
        self.readers = program.readers
        self.known: dict[int, set[Buffer] | None] = {}

    def run(self, items: list[Any]) -> list[Any]:
        """The items, those of a run in a block. Each item stays before those that depend on it."""
        parts = groups(items)
        start = next((k for k, part in enumerate(parts) if self.rows(part[-1]) is not None), None)
        if start is None:
            return items
        before = [item for part in parts[:start] for item in part]
        inside: list[Any] = []
        after: list[Any] = []
        for *starts, item in parts[start:]:
            rows = self.rows(item)
            if any(self.conflicts(item, other) for other in after):
                after += [*starts, item]
            elif rows is not None and all(self.in_step(item, other) for other in inside):
                # an accumulator starts before the first block
                before += starts
                inside.append(item)
            elif not is_update(item) and not any(self.conflicts(item, other) for other in inside):
                before += [*starts, item]
            else:
                after += [*starts, item]
        if len(inside) > 1 and any(isinstance(item, Call) for item in inside):
            blocked = self.blocked(inside)
            return items if blocked is None else [*before, blocked, *self.run(after)]
        done = [item for part in parts[: start + 1] for item in part]
        return [*done, *self.run([item for part in parts[start + 1 :] for item in part])]

    # ---- which items go along rows ---------------------------------------------------------------

    def rows(self, item: Any) -> set[Buffer] | None:
        """The buffers of which an item touches in each step one row; None if it is not of this kind."""
        if id(item) not in self.known:
            self.known[id(item)] = self._rows(item)
        return self.known[id(item)]

    def _rows(self, item: Any) -> set[Buffer] | None:
        if isinstance(item, Call):
            return self._rows_of_call(item)
        if not isinstance(item, Loop) or item.extent != self.extent or only_starts(item):
            return None
        found: set[Buffer] = set()
        for statement in statements(item):
            if not isinstance(statement, Statement) or statement.action == "check":
                return None
            row = statement.own[statement.variables.index(item.variable)]
            if self.uses_position(statement, row):
                return None
            for access in statement.accesses:
                buffer, index = access.buffer, access.index
                if buffer.kind == "token" or not buffer.shape:
                    continue
                if index is None:
                    continue
                if index[0] is row and buffer.shape[0] == self.extent:
                    if 0 not in buffer.axes:
                        continue  # a scratch buffer that lives within the step
                    if any(row in sympy.sympify(part).free_symbols for part in index[1:]):
                        return None
                    found.add(buffer)
                elif any(row in sympy.sympify(part).free_symbols for part in index):
                    return None
        return found

    def _rows_of_call(self, call: Call) -> set[Buffer] | None:
        operands = (*call.operands, call.target)
        long = [b for b in operands if b.shape[0] == self.extent]
        if call.node.ndim == 3:
            return set(operands) if len(long) == 3 else None
        a, b = call.operands
        if not call.transpose[0] and a in long and call.target in long and a is not b:
            return {a, call.target}
        if call.transpose == (True, False) and a in long and b in long:
            return {a, b}
        return None

    def uses_position(self, statement: Statement, row: sympy.Symbol) -> bool:
        """Whether the number of the row enters the value, other than to say which row is read."""
        reader = reader_of(statement, self.readers)
        marked = sympy.Symbol("the_row", integer=True)
        own = tuple(marked if variable is row else variable for variable in statement.own)
        text = statement.value(reader, own)[0]
        nesting = 0
        outside = []
        for character in text:
            nesting += (character == "[") - (character == "]")
            if not nesting:
                outside.append(character)
        return "the_row" in "".join(outside)

    def in_step(self, item: Any, other: Any) -> bool:
        """Whether the two may follow each other block by block: what one writes and the other touches,
        both touch row by row."""
        mine, theirs = self.rows(item) or set(), self.rows(other) or set()
        return all(
            one.buffer in mine and two.buffer in theirs and one.buffer.axes[:1] == (0,)
            for one, two in self.conflicts(item, other)
        )

    def accesses(self, item: Any) -> list[Access]:
        """What an item touches of the memory that it shares with others."""
        private = self.program.repeated
        return [
            access for member in statements(item) for access in member.accesses
            if access.buffer not in private
        ]  # fmt: skip

    def conflicts(self, item: Any, other: Any) -> list[tuple[Access, Access]]:
        """The pairs of accesses to the same memory of which one writes."""
        known: dict[Buffer, list[Access]] = {}
        for access in self.accesses(other):
            known.setdefault(variable(access.buffer).memory, []).append(access)
        return [
            (one, two)
            for one in self.accesses(item)
            for two in known.get(variable(one.buffer).memory, ())
            if one.writes or two.writes
        ]

    # ---- making a block --------------------------------------------------------------------------

    def blocked(self, inside: list[Any]) -> Blocked | None:
        """The items in blocks; None if what they touch fits into the cache as it is."""
        touched: dict[Buffer, None] = {}
        for item in inside:
            for buffer in sorted(self.rows(item) or (), key=lambda b: self.program.buffers.index(b)):
                touched[buffer] = None
        local = self._local(inside, list(touched))
        size = self._size(list(touched))
        if size is None:
            return None
        exact = self.extent % size == 0
        count: Any = size if exact else ROWS
        mine = {id(item): self.rows(item) for item in inside}
        result = Blocked(inside, self.extent, size, exact)
        taken = {buffer.name for buffer in self.program.buffers} | set(self.program.names.values())
        for buffer in touched:
            if buffer in local:
                result.local.add(buffer)
                buffer.shape = (size, *buffer.shape[1:])
                if exact:
                    continue
            name = unique(f"{buffer.name}_rows", taken)
            view = Buffer(name, buffer.dtype, (count, *buffer.shape[1:]), "rows", buffer.node)
            view.axes = buffer.axes
            result.views[buffer] = view
        for item in inside:
            if isinstance(item, Call) and item.target not in (mine[id(item)] or ()):
                item.adds = "first > 0"
        for item in inside:
            if isinstance(item, Loop):
                item.extent = count
        return result

    def _local(self, inside: list[Any], touched: list[Buffer]) -> set[Buffer]:
        """The buffers that nothing outside of the block touches."""
        within = {id(member) for member in statements(inside)}
        outside: set[Buffer] = set()
        for member in statements(self.program.items):
            if id(member) not in within:
                outside.update(access.buffer.memory for access in member.accesses)
        families: dict[Buffer, list[Buffer]] = {}
        for buffer in self.program.buffers:
            families.setdefault(buffer.memory, []).append(buffer)
        return {
            buffer for buffer in touched
            if buffer.memory.kind == "workspace"
            and buffer.memory not in outside
            and all(member in touched for member in families[buffer.memory])
        }  # fmt: skip

    def _size(self, touched: list[Buffer]) -> int | None:
        """Rows of which all that is touched fits into the cache: a divisor of the extent if there is
        one."""
        width = sum(
            int(np.prod([buffer.shape[axis] for axis in buffer.axes[1:]])) * buffer.dtype.itemsize
            for buffer in touched if buffer.root is None
        )  # fmt: skip
        if width * self.extent <= CACHE:
            return None
        most = min(MOST, max(FEWEST, CACHE // max(width, 1)))
        divisors = [k for k in range(most, FEWEST - 1, -1) if self.extent % k == 0 and k % 8 == 0]
        return divisors[0] if divisors else most - most % 8


def without_unit_loops(items: list[Any]) -> list[Any]:
    """The items, those of a loop of one step in its place."""
    result: list[Any] = []
    for item in items:
        unit = isinstance(item, Loop) and item.extent == 1
        result += without_unit_loops(item.body) if unit else [item]
    return result


def is_update(item: Any) -> bool:
    return any(member.section == "update" for member in statements(item))
