"""What is cheap is computed again where it is needed, instead of being stored and loaded.

A value that loops share goes through memory. Where it takes few operations on numbers that lie in
memory anyway, each loop computes it for itself: a variable in each loop takes the place of an array,
or, in a loop that reads other elements than its own, an expression does.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from staticgrad.codegen.fuse import CHEAP_FUNCTIONS, without
from staticgrad.codegen.program import Buffer, Loop, Program, Statement, statements
from staticgrad.codegen.reader import note_accesses, operations
from staticgrad.graph.node import Node
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.lowering import IndexMap

#: operations that a value may take, and arrays that it may be read from
MOST_OPERATIONS = 2
MOST_READ = 2
#: the same for an expression, of operations that take a cycle or less
MOST_INLINED = 5
LIGHT = frozenset(
    ("add", "subtract", "multiply", "negative", "square", "maximum", "minimum", "where")
)


@dataclass(frozen=True, eq=False)
class Use:
    """A statement or call, and the items beside which it stands."""

    item: Any
    body: list[Any]


def recompute(program: Program) -> Program:
    """Copy cheap statements into the loops that use their values."""
    return Recomputer(program).run()


class Recomputer:
    """Knows where each buffer is written and read."""

    def __init__(self, program: Program) -> None:
        self.program, self.readers = program, program.readers
        self.writers: dict[Buffer, list[tuple[Use, int]]] = {}
        self.users: dict[Buffer, list[Use]] = {}
        self.origin: dict[Buffer, set[int]] = {}
        for position, item in enumerate(program.items):
            self._walk([item], position)
        self.updated = {
            member.target for member in statements(program.items)
            if isinstance(member, Statement) and member.section == "update"
        }  # fmt: skip

    def _walk(self, items: list[Any], position: int) -> None:
        for item in items:
            if isinstance(item, Loop):
                self._walk(item.body, position)
                continue
            use = Use(item, items)
            self._note(use)
            for access in item.accesses:
                if access.writes:
                    self.writers.setdefault(access.buffer, []).append((use, position))
                    self.origin.setdefault(access.buffer.memory, set()).add(position)

    def _note(self, use: Use) -> None:
        """Take down what is read there."""
        for buffer in {access.buffer for access in use.item.accesses if not access.writes}:
            self.users.setdefault(buffer, []).append(use)

    def _forget(self, use: Use) -> None:
        for users in self.users.values():
            users[:] = [user for user in users if user.item is not use.item]

    def run(self) -> Program:
        # the last first: what it is computed from may then go the same way
        for buffer, written in reversed(self.writers.items()):
            users = self.users.get(buffer, [])
            if len(written) == 1 and users and self._may_repeat(written[0][0], buffer, users):
                use, position = written[0]
                users = list(users)
                others = [user for user in users if user.body is not use.body]
                alike = [user for user in others if reads_its_own(user.item, buffer, use.item)]
                inlined: set[Node] = set()
                if len(alike) < len(others):
                    inlined = self._expression(use.item.node, position)
                elif not self._is_cheap(use.item, position):
                    continue
                if len(alike) == len(others) or inlined:
                    self._repeat(use, buffer, [] if inlined else alike)
                    self._inline(others if inlined else [], inlined)
        self.program.items = without(self.program.items, lambda item: False)
        return self.program

    def _may_repeat(self, use: Use, buffer: Buffer, users: list[Use]) -> bool:
        statement = use.item
        return (
            isinstance(statement, Statement)
            and statement.action == "store"
            and isinstance(statement.node.op, Elementwise)
            and buffer.kind == "workspace"
            and buffer.root is None
            and not buffer.viewed
            and bool(buffer.shape)
            and statement.functions <= CHEAP_FUNCTIONS
            and not any(access.buffer.kind == "token" for access in statement.accesses)
            and any(user.body is not use.body for user in users)
            and all(
                isinstance(user.item, Statement)
                and user.item.section != "update"
                and (user.body is not use.body or reads_its_own(user.item, buffer, statement))
                for user in users
            )
        )

    def _is_stored(self, source: Buffer, position: int) -> bool:
        """Whether a buffer lies in memory anyway, and keeps its value: it is an argument, or an earlier
        item computed it."""
        return source not in self.updated and (
            source.kind != "workspace" or position not in self.origin[source.memory]
        )

    def _is_cheap(self, statement: Statement, position: int) -> bool:
        read = {access.buffer for access in statement.accesses if not access.writes}
        return (
            len(read) <= MOST_READ
            and operations(statement, self.readers) <= MOST_OPERATIONS
            and all(self._is_stored(source, position) for source in read)
        )

    def _expression(self, node: Node, position: int) -> set[Node]:
        """The nodes with buffers that an element of ``node`` is computed from and that need none then;
        empty if that takes too much."""
        found: set[Node] = set()
        sources: set[Buffer] = set()
        count, waiting = 0, [node]
        while waiting:
            item = waiting.pop()
            buffer = self.readers.get(item)
            if item is not node and buffer is not None and self._is_stored(buffer, position):
                sources.add(buffer)
                continue
            if not item.inputs and buffer is None:
                continue  # a number
            if not (item.op.name in LIGHT or isinstance(item.op, IndexMap)):
                return set()
            if buffer is not None:
                found.add(item)
            count += item.op.flops > 0
            if count > MOST_INLINED or len(sources) > MOST_READ:
                return set()
            waiting += item.inputs
        return found if len(sources) <= MOST_READ else set()

    def _repeat(self, use: Use, buffer: Buffer, users: list[Use]) -> None:
        """Put a copy before the first use in every loop but the statement's own, where it stays if it
        is used there."""
        self.program.repeated.add(buffer)
        if not any(user.body is use.body for user in self.users[buffer]):
            use.body.remove(use.item)
            self._forget(use)
        done: list[list[Any]] = []
        for user in users:
            if any(user.body is other for other in done):
                continue
            done.append(user.body)
            first = next(k for k, item in enumerate(user.body) if reads(item, buffer))
            twin = copy.copy(use.item)
            twin.section = user.item.section
            user.body.insert(first, twin)
            self._note(Use(twin, user.body))

    def _inline(self, users: list[Use], nodes: set[Node]) -> None:
        for user in {id(user.item): user for user in users}.values():
            statement = user.item
            self._forget(user)
            statement.inlined = statement.inlined | nodes
            note_accesses(statement, self.readers)
            self._note(user)


def reads_its_own(user: Any, buffer: Buffer, statement: Statement) -> bool:
    """Whether a statement reads of the buffer the elements with its own index."""
    return user.domain == statement.domain and all(
        access.index == user.own
        for access in user.accesses
        if access.buffer is buffer and not access.writes
    )


def reads(item: Any, buffer: Buffer) -> bool:
    return any(
        access.buffer is buffer and not access.writes
        for member in statements(item)
        for access in member.accesses
    )
