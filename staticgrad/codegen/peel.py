"""Loops taken apart where conditions on indices begin or cease to hold, so that none is left to check.

What is embedded in zeros, as the adjoint of a slice is, or joined to something else, makes an element
depend on where it stands. A loop over such elements becomes a few loops and single steps, one after the
other, in each of which all conditions are known to hold or not. Where an axis has a named length, its
first and its last steps stand apart, and may keep conditions. Loops whose lengths differ by a few
steps, as those over ``x[1:]`` and over ``x``, then share the steps in between.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import sympy

from staticgrad.codegen.choose import OWN_LOOPS
from staticgrad.codegen.fuse import Touched, long_rows, may_share_step, parted
from staticgrad.codegen.program import Buffer, Loop, Peeled, Program, Statement, statements
from staticgrad.codegen.ranges import Range
from staticgrad.codegen.reader import note_accesses, reader_of
from staticgrad.codegen.recompute import reads
from staticgrad.graph.dims import Dim, canonical

#: the most steps that stand apart at either end where a loop is long, or its length has a name
MOST = 16
#: into how many pieces a loop is taken apart at most, how many if there are loops within it, and how
#: many statements these may have in all
PIECES, PIECES_OF_NEST, STATEMENTS = 8, 3, 32

#: the bounds of a piece of a loop, which are all the starts and all the stops that are known
Piece = tuple[tuple[Dim, ...], tuple[Dim, ...]]


@dataclass(eq=False)
class Run:
    """Loops one after the other that go through their steps together, but where they differ: ``ends``
    are the steps at which a condition of theirs begins to hold or ceases to."""

    loops: list[Loop]
    ends: set[Dim]

    @property
    def members(self) -> list[Any]:
        return list(statements(self.loops))  # type: ignore[arg-type]

    @property
    def length(self) -> Dim:
        """The steps of the longest loop."""
        longest = self.loops[0].extent
        for loop in self.loops[1:]:
            difference = canonical(loop.extent - longest)
            assert isinstance(difference, int)
            longest = loop.extent if difference > 0 else longest
        return longest

    def pieces(self, level: int) -> list[Piece]:
        """Where the loops, which stand within ``level`` others, are taken apart."""
        length, members = self.length, self.members
        ends: set[Any] = {*self.ends, *(loop.extent for loop in self.loops)} - {length}
        before = sorted(end for end in ends if isinstance(end, int) and end > 0)
        rests = [canonical(length - end) for end in ends]
        after = sorted(rest for rest in rests if isinstance(rest, int) and rest > 0)
        if isinstance(length, int):
            cuts = [end for end in before if end < length]
            most = PIECES if all(len(m.domain) == level + 1 for m in members) else PIECES_OF_NEST
            count = len(cuts) + 1
            if count <= most and count * len(members) <= STATEMENTS:
                return [((start,), (stop,)) for start, stop in pairwise([0, *cuts, length])]
        first = max((end for end in before if end <= MOST), default=0)
        stop = canonical(length - max((rest for rest in after if rest <= MOST), default=0))
        if (first == 0 and stop == length) or (isinstance(stop, int) and stop <= first):
            return [((), ())]
        return [((), (first,)), ((first,), (stop,)), ((first, stop), ())]


def peel(program: Program) -> Program:
    """Take loops with conditions on indices apart, and merge pieces that share data."""
    program.items = Peeler(program).run(program.items, 0)
    return program


class Peeler:
    """Knows where values are read, and which axes are gone through in blocks of rows instead."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.readers = program.readers
        self.long = long_rows(program.items)
        #: how often each buffer is read or written
        self.touched = Counter(
            access.buffer for member in statements(program.items) for access in member.accesses
        )

    def run(self, items: list[Any], level: int) -> list[Any]:
        """Items that stand within ``level`` loops, taken apart."""
        found = [self.run_of(item, level) for item in items]
        parts = [item if run is None else run for item, run in zip(items, found, strict=True)]
        result: list[Any] = []
        for part in self.joined(parts, level):
            result += self.apart(part, level) if isinstance(part, Run) else [part]
        return result

    def run_of(self, item: Any, level: int) -> Run | None:
        """A loop and where it could be taken apart; None for what is left alone."""
        if not isinstance(item, Loop) or item.extent in self.long:
            return None
        members = list(statements(item))
        if not all(
            isinstance(member, Statement) and member.action in ("store", "start", "accumulate")
            for member in members
        ):
            return None
        return Run([item], {end for member in members for end in self.ends(member, level)})

    def ends(self, statement: Statement, level: int) -> set[Dim]:
        """The steps at which a condition begins to hold, or ceases to."""
        reader = reader_of(statement, self.readers)
        statement.value(reader, statement.own)
        step, found = statement.own[level], set()
        for low, position, high in reader.conditions:
            sign = position.coeff(step)
            rest = sympy.expand(position - sign * step)
            if sign not in (1, -1) or not rest.free_symbols.isdisjoint(statement.own):
                continue
            for end in (low, high):
                if end is not None:
                    found.add(canonical(end - rest if sign == 1 else rest - end + 1))
        return found

    # ---- loops that go together ------------------------------------------------------------------

    def joined(self, parts: list[Any], level: int) -> list[Any]:
        """The parts, loops that may share most steps as one run."""
        result: list[Any] = []
        for part in parts:
            earlier = [k for k, other in enumerate(result) if self.may_join(other, part, level)]
            for position in reversed(earlier):
                run, between = result[position], result[position + 1 :]
                before, after, needed = parted(between, run, touched_by)
                if not needed.orders(touched_by(part)):
                    run.loops += part.loops
                    run.ends |= part.ends
                    result[position:] = [*before, run, *after]
                    break
            else:
                result.append(part)
        return result

    def may_join(self, one: Any, two: Any, level: int) -> bool:
        """Whether two runs are about as long, share an array, and each step of the second needs of the
        first the same step alone."""
        if not (isinstance(one, Run) and isinstance(two, Run)):
            return False
        difference = canonical(one.length - two.length)
        if not isinstance(difference, int) or abs(difference) > MOST:
            return False
        if difference == 0 and not (one.ends or two.ends or len(one.loops) > 1):
            return False  # they would have been fused
        if isinstance(one.length, int) and 4 * abs(difference) > one.length:
            return False
        ours, theirs = one.members, two.members
        if any(len(s.domain) != level + 1 for s in (*ours, *theirs)):
            return False
        return (
            len({s.section == "update" for s in (*ours, *theirs)}) == 1
            and not touched(ours, level).isdisjoint(touched(theirs, level))
            and all(may_share_step(later, earlier, level) for later in theirs for earlier in ours)
        )

    # ---- taking apart ----------------------------------------------------------------------------

    def apart(self, run: Run, level: int) -> list[Any]:
        pieces = run.pieces(level)
        if len(pieces) == 1 and len(run.loops) == 1:
            (loop,) = run.loops
            loop.body = self.run(loop.body, level + 1)
            return [loop]
        parts = [self.part(run.loops, level, *piece) for piece in pieces]
        own = self.own_buffers(run)
        for loop in chain.from_iterable(parts):
            self.drop_copies(loop, own)
        longest = 1
        if isinstance(run.length, int):
            extents = [max((loop.extent for loop in part), default=0) for part in parts]
            longest = extents.index(max(extents))
        stored = {member.target for member in statements([*chain.from_iterable(parts)])}
        buffers = self.program.buffers
        buffers[:] = [buffer for buffer in buffers if buffer in stored or buffer not in own]
        (between,) = parts[longest]
        between.body = self.run(between.body, level + 1)
        before, after = chain(*parts[:longest]), chain(*parts[longest + 1 :])
        return [Peeled([*before], between, [*after])]

    def part(
        self, loops: list[Loop], level: int, starts: tuple[Dim, ...], stops: tuple[Dim, ...]
    ) -> list[Loop]:
        """The loops from some step to another, as one where they have the same steps."""
        result: list[Loop] = []
        known: list[Range] = []
        for loop in loops:
            steps = Range((0,), (loop.extent,)).within(starts, stops)
            if steps.is_empty:
                continue
            twin = self.restricted(loop, level, steps)
            if known[-1:] == [steps]:
                result[-1].body = self.merged(result[-1].body, twin.body)
            else:
                result.append(twin)
                known.append(steps)
        return result

    def restricted(self, loop: Loop, level: int, steps: Range) -> Loop:
        """A copy of a loop that goes through some of its steps only."""
        variable = sympy.sympify(steps.start) if steps.is_unit else loop.variable
        body = [self.copied(item, level, steps) for item in loop.body]
        return Loop(variable, canonical(steps.stop - steps.start), body, steps.start)

    def copied(self, item: Any, level: int, steps: Range) -> Any:
        if isinstance(item, Loop):
            body = [self.copied(inner, level, steps) for inner in item.body]
            return Loop(item.variable, item.extent, body)
        twin = copy.copy(item)
        twin.ranges = (*item.ranges[:level], steps, *item.ranges[level + 1 :])
        if steps.is_unit:
            place = sympy.sympify(steps.start)
            twin.variables = (*item.variables[:level], place, *item.variables[level + 1 :])
        note_accesses(twin, self.readers)
        return twin

    def merged(self, body: list[Any], more: list[Any]) -> list[Any]:
        """The statements of two loops in one, which need not compute anything twice."""
        stored = {s.target for s in body if s.action == "store"}
        kept = [s for s in more if s.target not in stored]
        for statement in kept:
            near = {node for node in statement.inlined if self.readers.get(node) in stored}
            if near:
                statement.beside = near
                note_accesses(statement, self.readers)
        return [*body, *kept]


    def own_buffers(self, run: Run) -> set[Buffer]:
        """The intermediates that these loops store, and of which each step needs its own element
        alone."""
        stored = {member.target for member in run.members if member.action == "store"}
        touched: Counter[Buffer] = Counter()
        for member in run.members:
            for access in member.accesses:
                touched[access.buffer] += access.index == member.own
        return {
            buffer for buffer, count in touched.items()
            if buffer in stored and buffer.kind == "workspace" and buffer.root is None
            and not buffer.viewed and count == self.touched[buffer]
        }  # fmt: skip

    def copies(self, statement: Statement) -> bool:
        """Whether a value is known to be zero, or is an element as it lies in memory."""
        reader = reader_of(statement, self.readers)
        text = statement.value(reader, statement.own)
        known = [reader.load(access.buffer, access.index or ()) for access in reader.accesses]
        return text == reader.number(0, statement.node.dtype) or [text] == known

    def drop_copies(self, loop: Loop, own: set[Buffer]) -> None:
        """Where a value is known to be zero, or takes no operation, and where nothing but another's
        name is left of what it is needed for, the value itself stands there."""
        for statement in list(loop.body):
            if not isinstance(statement, Statement) or statement.action != "store":
                continue
            if statement.target not in own or statement.node.op.name in OWN_LOOPS:
                continue
            users = [s for s in loop.body if reads(s, statement.target)]
            is_copied = len(users) == 1 and users[0].action == "store" and self.copies(users[0])
            if self.copies(statement) or (is_copied and statement.node.name is None):
                loop.body.remove(statement)
                for user in users:
                    user.inlined = user.inlined | {statement.node} | statement.inlined
                    user.beside = (user.beside | statement.beside) - {statement.node}
                    note_accesses(user, self.readers)


def touched(members: list[Statement], level: int) -> set[Any]:
    """The elements that a step touches of each array, whatever the number of the step."""
    step = sympy.Symbol("step")
    found: set[Any] = set()
    for member in members:
        for access in member.accesses:
            index = [sympy.sympify(part) for part in access.index or ()]
            moved = tuple(part.xreplace({member.own[level]: step}) for part in index)
            if step in set().union(*(part.free_symbols for part in moved)):
                found.add((access.buffer, moved))
    return found


def touched_by(part: Any) -> Touched:
    """The memory that the statements and calls of a part touch."""
    return Touched.by(statements(part.loops if isinstance(part, Run) else part))
