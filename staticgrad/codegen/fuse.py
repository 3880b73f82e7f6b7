"""Loop fusion and contraction.

Statements are placed one by one, each into the latest loop that it shares data with and may enter;
else it opens a loop of its own. A statement may enter a loop if whatever element it shares with a
statement already inside, one of the two writing it, is shared within one step of the loop. What
then lives within one step only is contracted: its axis is not stored, and with no axis left it is
a local variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import sympy

from staticgrad.codegen.program import (
    ACCUMULATORS,
    Access,
    Blocked,
    Buffer,
    Call,
    Loop,
    Peeled,
    Program,
    Statement,
    statements,
)
from staticgrad.graph.dims import Shape

#: what takes about as long as a product
CHEAP_FUNCTIONS = frozenset(
    ("where", "maximum", "minimum", "absolute", "sign", "floor", "isnan", "inf", "nan")
)
#: axes from this length on are gone through in blocks of rows, where products share them
LONG = 256
VARIABLES = ("i", "j", "k", "l", "m", "n")


def fuse(program: Program) -> Program:
    """Place all statements into a tree of fused loops."""
    placer = Placer(loop_variables(program))
    placer.long = long_rows([item for group in program.items for item in group])
    for group in program.items:
        placer.place(group)
    program.items = placer.merged(placer.items)
    return program


def loop_variables(program: Program) -> list[sympy.Symbol]:
    """The variables of loops, from the outermost; more are made where there are deeper nests."""
    names = {buffer.name for buffer in program.buffers}
    variables = [name if name not in names else f"{name}_" for name in VARIABLES]
    return [sympy.Symbol(name, integer=True) for name in variables]


def long_rows(items: list[Any]) -> set[Any]:
    """The long axes along which there are matrix products, too."""
    calls = [item for item in items if isinstance(item, Call)]
    lengths = {buffer.shape[0] for call in calls for buffer in (*call.operands, call.target)}
    return {length for length in lengths if isinstance(length, int) and length >= LONG}


class Placer:
    """Grows the tree of loops. ``variables`` name the loops, from the outermost."""

    def __init__(self, variables: Sequence[sympy.Symbol]) -> None:
        self.variables = variables
        self.items: list[Any] = []
        self.contents: dict[int, list[Any]] = {}
        self.known: dict[int, Touched] = {}
        #: lengths of axes that are gone through in blocks
        self.long: set[Any] = set()

    def place(self, group: list[Any]) -> None:
        if not isinstance(group[0], Statement):
            self.items.append(group[0])
            return
        for statement in group:
            statement.variables = place_in(statement.domain, self.variables)
        self._insert(self.items, group, 0)

    def merged(self, items: list[Any]) -> list[Any]:
        """The items, loops that share data merged: one that was begun before another knew of it goes
        down to where the other stands, and what depends on it goes behind, if the other does not
        need that."""
        kept: list[Any] = []
        waiting = list(items)
        while waiting:
            item = waiting.pop(0)
            later = next((o for o in waiting if self._may_merge(item, o)), None)
            if later is not None:
                position = waiting.index(later)
                before, after, needed = parted(waiting[:position], item, self._touched)
                if not needed.orders(self._touched(later)):
                    self.known.pop(id(later))
                    later.body = self.merged([*item.body, *later.body])
                    self.contents[id(later)] = [*self._inside(item), *self._inside(later)]
                    waiting[: position + 1] = [*before, later, *after]
                    continue
            kept.append(item)
        return kept

    def _touched(self, item: Any) -> Touched:
        """The memory that an item touches."""
        if id(item) not in self.known:
            self.known[id(item)] = Touched.by(self._inside(item))
        return self.known[id(item)]

    def _may_merge(self, first: Any, second: Any) -> bool:
        """Whether two loops are of one extent, share an array, and each step of the second needs of the
        first the same step alone."""
        if not (isinstance(first, Loop) and isinstance(second, Loop)) or (
            first.extent != second.extent or first.variable is not second.variable
        ):
            return False
        one, two = self._inside(first), self._inside(second)
        if any(getattr(s, "action", "") == "check" for s in (*one, *two)):
            return False
        level = one[0].variables.index(first.variable)
        touched = {a.buffer.memory for s in one for a in s.accesses if a.buffer.shape}
        return (
            any(a.buffer.memory in touched for s in two for a in s.accesses)
            and not (self._matters(level, first.extent) and keeps_scalar(one, two, level))
            and all(may_share_step(later, earlier, level) for later in two for earlier in one)
        )

    def _inside(self, item: Any) -> list[Any]:
        """The statements inside an item."""
        return self.contents[id(item)] if isinstance(item, Loop) else [item]

    def _depends(self, first: Any, second: Any) -> bool:
        """Whether one writes what the other touches."""
        return self._touched(first).orders(self._touched(second))

    def _matters(self, level: int, extent: Any) -> bool:
        """Whether it is worth a loop of its own that a costly function is vectorised: what goes from
        loop to loop is then a row, or lies in the cache, where rows are gone through in blocks."""
        return level > 0 or extent in self.long

    def _insert(self, items: list[Any], group: list[Statement], level: int) -> None:
        extents = {s.domain[level] if level < len(s.domain) else None for s in group}
        if len(group) > 1 and (len(extents) > 1 or extents == {None} or splits(group, level)):
            self._insert_apart(items, group, level)
            return
        (extent,) = extents
        if extent is None:
            self._insert_scalar(items, group[0])
            return
        loop = self._candidate(items, group, level, extent)
        if loop is None:
            loop = Loop(group[0].variables[level], extent)
            self.contents[id(loop)] = []
            items.append(loop)
        self._enter(loop, group, level)

    def _insert_scalar(self, items: list[Any], statement: Statement) -> None:
        """A statement without a loop, right after what it depends on: the later it stood, the more
        loops it would keep apart."""
        position = len(items)
        while position and not any(
            self._depends(statement, other)
            or (statement.section == "update") > (other.section == "update")
            for other in self._inside(items[position - 1])
        ):
            position -= 1
            if any(getattr(s, "action", "") == "check" for s in self._inside(items[position])):
                position += 1
                break
        items.insert(position, statement)

    def _enter(self, loop: Loop, group: list[Statement], level: int) -> None:
        self.contents[id(loop)] += group
        self._insert(loop.body, group, level + 1)

    def _insert_apart(self, items: list[Any], group: list[Statement], level: int) -> None:
        """The start of an accumulator, then the loop that accumulates. The start depends on nothing,
        so it can stand before a loop which the accumulation may enter."""
        start, accumulate, *finish = group
        loop = None
        if level < len(accumulate.domain):
            loop = self._candidate(items, [accumulate], level, accumulate.domain[level])
        if loop is None:
            self._insert(items, [start], level)
            self._insert(items, [accumulate], level)
        else:
            before: list[Any] = []
            self._insert(before, [start], level)
            position = next(k for k, item in enumerate(items) if item is loop)
            items[position:position] = before
            self._enter(loop, [accumulate], level)
        for statement in finish:
            self._insert(items, [statement], level)

    def _candidate(
        self, items: list[Any], group: list[Statement], level: int, extent: Any
    ) -> Loop | None:
        touched = {access.buffer.memory for s in group for access in s.accesses}
        for item in reversed(items):
            inside = self._inside(item)
            if (
                isinstance(item, Loop)
                and item.extent == extent
                and group[0].action != "check"
                and not (self._matters(level, extent) and keeps_scalar(group, inside, level))
            ):
                # a scalar in common is no reason to share a loop
                shares = any(
                    access.buffer.shape and access.buffer.memory in touched
                    for other in inside
                    for access in other.accesses
                )
                if shares and all(
                    may_share_step(statement, other, level)
                    for statement in group
                    for other in inside
                ):
                    return item
            if any(self._depends(statement, other) for statement in group for other in inside):
                return None
        return None


def place_in(domain: Shape, variables: Sequence[sympy.Symbol]) -> tuple[sympy.Expr, ...]:
    """A variable for each axis; where there is one step only, its index is 0."""
    more = (sympy.Symbol(f"i{number}", integer=True) for number in count())
    names = chain(variables, more)
    return tuple(sympy.Integer(0) if extent == 1 else next(names) for extent in domain)


@dataclass(frozen=True)
class Touched:
    """The memory that statements and calls touch, and what of it they write."""

    memory: set[Buffer]
    written: set[Buffer]

    @classmethod
    def by(cls, members: Iterable[Any]) -> Touched:
        accesses = [access for member in members for access in member.accesses]
        return cls(
            {access.buffer.memory for access in accesses},
            {access.buffer.memory for access in accesses if access.writes},
        )

    def orders(self, other: Touched) -> bool:
        """Whether one writes what the other touches, so that they must keep their order."""
        return not (
            self.written.isdisjoint(other.memory) and self.memory.isdisjoint(other.written)
        )

    def add(self, other: Touched) -> None:
        self.memory.update(other.memory)
        self.written.update(other.written)


def parted(
    items: list[Any], first: Any, touched: Callable[[Any], Touched]
) -> tuple[list[Any], list[Any], Touched]:
    """Of items that stand behind ``first``, those that could stand before it, the others, and what
    these touch."""
    before: list[Any] = []
    after: list[Any] = []
    theirs = Touched(set(), set())
    for item in items:
        its = touched(item)
        if touched(first).orders(its) or theirs.orders(its):
            after.append(item)
            theirs.add(its)
        else:
            before.append(item)
    return before, after, theirs


def keeps_scalar(group: list[Any], inside: list[Any], level: int) -> bool:
    """Whether a costly function would stand beside a deeper loop, and so be called for one element at
    a time: only the innermost loops are vectorised."""

    def costly(statement: Any) -> bool:
        return not deep(statement) and not statement.functions <= CHEAP_FUNCTIONS

    def deep(statement: Any) -> bool:
        return any(extent != 1 for extent in statement.domain[level + 1 :])

    return any(
        any(map(costly, one)) and any(map(deep, other))
        for one, other in ((group, inside), (inside, group))
    )


def splits(group: list[Statement], level: int) -> bool:
    """Whether the loop at ``level`` must end before the next statement of the group may begin."""
    return any(
        not may_share_step(later, earlier, level)
        for position, later in enumerate(group)
        for earlier in group[:position]
    )


def conflicts(first: Any, second: Any) -> list[tuple[Access, Access]]:
    """The pairs of accesses to the same memory of which one writes."""
    return [
        (one, two)
        for one in first.accesses
        for two in second.accesses
        if one.buffer.memory is two.buffer.memory and (one.writes or two.writes)
    ]


def may_share_step(statement: Any, other: Any, level: int) -> bool:
    """Whether the two touch a common element only within the same step of the loop at ``level``."""
    if isinstance(other, Statement) and other.action == "check":
        return False
    return all(
        one.buffer is two.buffer
        and one.index is not None
        and two.index is not None
        and any(
            mine is statement.own[level] and theirs is other.own[level]
            for mine, theirs in zip(one.index, two.index, strict=True)
        )
        for one, two in conflicts(statement, other)
    )


def contract(program: Program) -> Program:
    """Drop the axes that a fused loop runs over from the workspace buffers that live within it."""
    uses: dict[Buffer, list[tuple[Any, Access, tuple[Loop, ...]]]] = {}

    def walk(items: list[Any], loops: tuple[Loop, ...]) -> None:
        for item in items:
            if isinstance(item, Loop):
                walk(item.body, (*loops, item))
            elif isinstance(item, Peeled):
                walk(item.items, loops)
            else:
                for access in item.accesses:
                    uses.setdefault(access.buffer.memory, []).append((item, access, loops))

    walk(program.items, ())
    for buffer, places in uses.items():
        if buffer.kind != "workspace" or buffer.viewed:
            continue
        if buffer in program.repeated:
            buffer.axes = ()
            continue
        by_element = all(access.index is not None for _, access, _ in places)
        buffer.axes = tuple(
            axis
            for axis, extent in enumerate(buffer.shape)
            if not _runs_over(places, axis) and not (extent == 1 and by_element)
        )
    name_accumulators(program)
    merged = {
        buffer.finishes_in: buffer for buffer in program.buffers
        if buffer.finishes_in is not None and buffer.is_local and buffer.finishes_in.is_local
    }  # fmt: skip
    for result, accumulator in merged.items():
        # one variable serves for both, and nothing is left to store
        accumulator.name = result.name
    program.items = without(
        program.items,
        lambda item: isinstance(item, Statement)
        and item.target in merged
        and item.action == "store",
    )
    return program


def name_accumulators(program: Program) -> None:
    """Give local accumulators that are never alive together one name, such as ``total``, but for those
    that are one variable with what they finish in."""
    alive: dict[Buffer, list[int]] = {}
    position = 0
    for item in program.items:
        inner = item.items if isinstance(item, Blocked) else [item]
        whole = range(position, position + len(inner))
        started = {s.target for s in statements(inner) if getattr(s, "action", "") == "start"}
        for position, part in zip(whole, inner, strict=True):
            for access in (access for member in statements(part) for access in member.accesses):
                buffer = access.buffer
                result = buffer.finishes_in
                if result is None or (buffer.is_local and result.is_local):
                    continue
                # the sums of all rows are alive in all items of their blocks
                times = [position] if buffer in started else whole
                alive.setdefault(buffer, []).extend(times)
        position = whole.stop
    taken = {buffer.name for buffer in program.buffers if buffer not in alive}
    given: dict[str, list[Buffer]] = {}
    for buffer in alive:
        name, number = buffer.name, 1
        while name in taken or any(
            other.dtype != buffer.dtype or not (other.is_local and buffer.is_local)
            or not (max(alive[other]) < min(alive[buffer]) or max(alive[buffer]) < min(alive[other]))
            for other in given.get(name, [])
        ):
            number += 1
            name = f"{ACCUMULATORS[buffer.node.op.name]}_{number}"  # type: ignore[union-attr]
        given.setdefault(name, []).append(buffer)
        buffer.name = name


def without(items: list[Any], unwanted: Callable[[Any], bool]) -> list[Any]:
    """The items but for some, and for loops that are left empty."""
    kept = []
    for item in items:
        if isinstance(item, Loop):
            item.body = without(item.body, unwanted)
            if not item.body:
                continue
        elif isinstance(item, Peeled):
            item.first, item.last = without(item.first, unwanted), without(item.last, unwanted)
            if not without([item.loop], unwanted):
                kept += [*item.first, *item.last]
                continue
        elif unwanted(item):
            continue
        kept.append(item)
    return kept


def _runs_over(places: list[Any], axis: int) -> bool:
    """Whether a loop indexes ``axis`` in every access, so that what a step needs of that axis is what
    it has just computed: one loop in all, or several which each begin by storing the value, or the
    first value of an accumulator."""
    computed = {item.node for item, access, _ in places if access.writes}
    for level in range(min(len(loops) for _, _, loops in places)):
        if not all(
            access.index is not None and access.index[axis] is statement.own[level]
            for statement, access, _ in places
        ):
            continue
        first = {id(loops[level]): (item, access) for item, access, loops in reversed(places)}
        begin = (access.writes and item.action in ("store", "start") for item, access in first.values())
        if len(first) == 1 or (len(computed) == 1 and all(begin)):
            return True
    return False
