"""Layers that repeat become a loop over layers.

A run of calls that occurs several times in a row, each time with the buffers of the next layer, is
written once, in a loop. Buffers that stand in the same place in each turn form a stack: parameters by
the order of their addresses, intermediates as parts of one array. What one turn needs for itself
alone is one buffer for all turns. The backward pass goes through the stacks the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staticgrad.codegen.outline import common_name, unique
from staticgrad.codegen.program import (
    Binding,
    Buffer,
    Call,
    Invocation,
    Program,
    Rolled,
    Stack,
    groups,
    statements,
)

#: a loop is shorter to read, and to compile, from this many turns on
FEWEST_TURNS = 3


@dataclass(eq=False)
class Member:
    """The place of a buffer in a stack; places are counted from anywhere until all are known."""

    stack: Stack
    place: int


def roll(program: Program) -> Program:
    """Replace runs of calls, one per layer, by loops over layers."""
    items = groups(program.items)
    keys = [_key(group) for group in items]
    uses: dict[Buffer, set[int]] = {}
    for number, group in enumerate(items):
        for statement in statements(group):
            for access in statement.accesses:
                uses.setdefault(access.buffer, set()).add(number)
    viewed = {buffer.root for buffer in program.buffers if buffer.root is not None}
    roller = Roller(uses, viewed)
    result: list[Any] = []
    position = 0
    while position < len(items):
        rolled, length = roller.longest_run(items, keys, position)
        if rolled is None:
            result += items[position]
            position += 1
        else:
            result.append(rolled)
            position += length
    roller.settle(program)
    program.items = result
    return program


def _key(group: list[Any]) -> Any:
    """What must be equal in each turn."""
    item = group[-1]
    if isinstance(item, Invocation):
        return item.routine, tuple(item.sizes)
    if isinstance(item, Call):
        shapes = tuple((b.stored_shape, b.dtype) for b in (*item.operands, item.target))
        return item.transpose, item.section, shapes
    return None


def _slots(group: list[Any]) -> list[Buffer]:
    item = group[-1]
    return item.arguments if isinstance(item, Invocation) else [*item.operands, item.target]


class Roller:
    """Finds runs, and gathers the stacks that they need."""

    def __init__(self, uses: dict[Buffer, set[int]], viewed: set[Buffer]) -> None:
        self.uses, self.viewed = uses, viewed
        self.members: dict[Buffer, Member] = {}
        self.stacks: list[Stack] = []
        #: buffers that live within a turn, and the one that serves for all turns
        self.merged: dict[Buffer, Buffer] = {}
        self.temporary: set[Buffer] = set()

    def longest_run(
        self, items: list[list[Any]], keys: list[Any], start: int
    ) -> tuple[Rolled | None, int]:
        """The run from ``start`` on that covers most items, and how many."""
        if keys[start] is None:
            return None, 0
        lengths: list[tuple[int, int]] = []
        for period in range(1, (len(items) - start) // FEWEST_TURNS + 1):
            if keys[start + period - 1] is None:
                break
            turns = 1
            while keys[start + turns * period : start + (turns + 1) * period] == keys[
                start : start + period
            ]:
                turns += 1
            if turns >= FEWEST_TURNS:
                lengths.append((turns * period, period))
        # the longest run first; of equals, the shortest period
        for covered, period in sorted(lengths, key=lambda item: (-item[0], item[1])):
            turns = covered // period
            # the last turns may have buffers of another kind, such as results
            while turns >= FEWEST_TURNS:
                rolled = self._rolled(items, start, period, turns)
                if rolled is not None:
                    return rolled, period * turns
                turns -= 1
                if covered // period - turns > 2:
                    break
        return None, 0

    def _rolled(
        self, items: list[list[Any]], start: int, period: int, turns: int
    ) -> Rolled | None:
        columns: list[tuple[Buffer, ...]] = []
        for offset in range(period):
            slots = [_slots(items[start + offset + turn * period]) for turn in range(turns)]
            columns += zip(*slots, strict=True)
        members, merged, temporary = dict(self.members), dict(self.merged), set(self.temporary)
        bindings: dict[Buffer, Binding] = {}
        for column in dict.fromkeys(columns):
            if len(set(column)) == 1:
                continue
            binding = self._binding(column, start, period)
            if binding is None:
                self.members, self.merged, self.temporary = members, merged, temporary
                return None
            if binding.stack is not None:
                bindings[column[0]] = binding
        turn_items = [
            [
                item
                for group in items[start + turn * period : start + (turn + 1) * period]
                for item in group
            ]
            for turn in range(turns)
        ]
        return Rolled(turn_items, list(bindings.values()))

    def _binding(self, column: tuple[Buffer, ...], start: int, period: int) -> Binding | None:
        """How a buffer goes along with the turns; None where it does so irregularly."""
        first = column[0]
        if len(set(column)) < len(column) or any(
            buffer.kind != first.kind
            or buffer.kind not in ("parameter", "workspace")
            or buffer.is_local
            or buffer.by_value
            or buffer.root is not None
            or buffer in self.viewed
            or (buffer.stored_shape, buffer.dtype) != (first.stored_shape, first.dtype)
            for buffer in column
        ):
            return None
        known = [buffer for buffer in column if buffer in self.members]
        if first.kind == "workspace" and not known:
            inside = all(
                (number - start) // period == turn and number >= start
                for turn, buffer in enumerate(column)
                for number in self.uses[buffer]
            )
            if inside and not any(buffer in self.temporary for buffer in column):
                for buffer in column[1:]:
                    self.merged[buffer] = first
                self.temporary.update(column)
                return Binding(first, None, 0, 0)
        if any(buffer in self.temporary for buffer in column):
            return None
        if not known:
            stack = Stack(first.kind, [])
            for turn, buffer in enumerate(column):
                self.members[buffer] = Member(stack, turn)
            return Binding(first, stack, 0, 1)
        stack = self.members[known[0]].stack
        turn = column.index(known[0])
        place = self.members[known[0]].place
        for step in (1, -1):
            base = place - step * turn
            if self._fits(column, stack, base, step):
                for number, buffer in enumerate(column):
                    self.members[buffer] = Member(stack, base + step * number)
                return Binding(first, stack, base, step)
        return None

    def _fits(self, column: tuple[Buffer, ...], stack: Stack, base: int, step: int) -> bool:
        occupied = {m.place: b for b, m in self.members.items() if m.stack is stack}
        for turn, buffer in enumerate(column):
            place = base + step * turn
            member = self.members.get(buffer)
            if member is not None and (member.stack is not stack or member.place != place):
                return False
            if member is None and occupied.get(place, buffer) is not buffer:
                return False
        example = next(iter(occupied.values()))
        return example.stored_shape == column[0].stored_shape and example.kind == column[0].kind

    def settle(self, program: Program) -> None:
        """Give the stacks their buffers, names and places."""
        taken = set(program.names.values()) | {buffer.name for buffer in program.buffers}
        taken |= {routine.name for routine in program.routines}
        for buffer, serving in self.merged.items():
            buffer.root = serving
            buffer.is_duplicate = True
        found: dict[Stack, dict[int, Buffer]] = {}
        for buffer, member in self.members.items():
            found.setdefault(member.stack, {})[member.place] = buffer
        for stack, places in found.items():
            stack.first = min(places)
            stack.buffers = [places[place] for place in sorted(places)]
            if len(places) != max(places) - stack.first + 1:
                raise AssertionError("a stack has gaps")
            name = common_name(stack.buffers)
            stack.name = unique(f"all_{name}", taken) if stack.kind == "workspace" else name
            if stack.kind == "workspace":
                example = stack.buffers[0]
                shape = (len(stack.buffers), *example.stored_shape)
                stack.buffer = Buffer(stack.name, example.dtype, shape, "workspace")
                program.buffers.append(stack.buffer)
                for number, buffer in enumerate(stack.buffers):
                    buffer.root, buffer.part_of = stack.buffer, number
        # the addresses of a stack of parameters follow each other
        order: list[Buffer] = []
        for buffer in program.parameters:
            stacked = self.members.get(buffer)
            row = [buffer] if stacked is None else stacked.stack.buffers
            order += [each for each in row if each not in order]
        program.parameters = order
        self.stacks = list(found)
