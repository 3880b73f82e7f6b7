"""What is cheap is computed again where it is needed, instead of being stored and loaded.

A value that loops share goes through memory. Where it takes an operation or two on numbers that lie in
memory anyway, each loop computes it for itself: a variable in each loop takes the place of an array.
"""

from __future__ import annotations

import copy
from typing import Any

from staticgrad.codegen.fuse import CHEAP_FUNCTIONS
from staticgrad.codegen.program import Buffer, Loop, Program, Statement, statements
from staticgrad.graph.node import Node
from staticgrad.ops.elementwise import Elementwise

#: operations that a value may take, and arrays that it may be read from
MOST_OPERATIONS = 2
MOST_READ = 2


def recompute(program: Program) -> Program:
    """Copy cheap statements into the loops that use their values."""
    writers: dict[Buffer, list[tuple[Statement, int]]] = {}
    users: dict[Buffer, list[tuple[Any, list[Any]]]] = {}
    origin: dict[Buffer, set[int]] = {}

    def walk(items: list[Any], position: int) -> None:
        for item in items:
            if isinstance(item, Loop):
                walk(item.body, position)
                continue
            for access in item.accesses:
                if access.writes:
                    writers.setdefault(access.buffer, []).append((item, position))
                    origin.setdefault(access.buffer.memory, set()).add(position)
                else:
                    users.setdefault(access.buffer, []).append((item, items))

    for position, item in enumerate(program.items):
        walk([item], position)
    updated = {
        member.target for member in statements(program.items)
        if isinstance(member, Statement) and member.section == "update" and member.target is not None
    }  # fmt: skip
    for buffer, written in writers.items():
        if len(written) == 1 and buffer in users:
            (statement, position) = written[0]
            if can_repeat(statement, buffer, position, users[buffer], origin, updated):
                repeat(statement, buffer, users[buffer])
                program.repeated.add(buffer)
    return program


def can_repeat(
    statement: Any,
    buffer: Buffer,
    position: int,
    users: list[tuple[Any, list[Any]]],
    origin: dict[Buffer, set[int]],
    updated: set[Buffer],
) -> bool:
    """Whether each loop that reads the buffer may compute it for itself."""
    if (
        not isinstance(statement, Statement)
        or statement.action != "store"
        or not isinstance(statement.node.op, Elementwise)
        or buffer.kind != "workspace"
        or buffer.root is not None
        or buffer.viewed
        or not buffer.shape
        or not statement.functions <= CHEAP_FUNCTIONS
        or any(access.buffer.kind == "token" for access in statement.accesses)
    ):
        return False
    bodies = {id(body) for _, body in users}
    if len(bodies) == 1 and statement in users[0][1]:
        return False  # one loop holds all
    read = {access.buffer for access in statement.accesses if not access.writes}
    if len(read) > MOST_READ or operations(statement.node, read) > MOST_OPERATIONS:
        return False
    for source in read:
        # it lies in memory anyway if an earlier item computed it, or a matrix product needs it
        if source in updated or (source.kind == "workspace" and position in origin[source.memory]):
            return False
    return all(
        isinstance(user, Statement)
        and user.domain == statement.domain
        and user.section != "update"
        and all(
            access.index == user.own for access in user.accesses
            if access.buffer is buffer and not access.writes
        )
        for user, _ in users
    )  # fmt: skip


def operations(node: Node, read: set[Buffer]) -> int:
    """How many operations the inlined expression of a node has."""
    stop = {buffer.node for buffer in read}

    def count(item: Node) -> int:
        if item in stop:
            return 0
        return (item.op.flops > 0) + sum(count(source) for source in item.inputs)

    return (node.op.flops > 0) + sum(count(source) for source in node.inputs)


def repeat(statement: Statement, buffer: Buffer, users: list[tuple[Any, list[Any]]]) -> None:
    """Put a copy before the first use in every loop but the statement's own."""
    done: list[list[Any]] = []
    for user, body in users:
        if statement in body or any(body is other for other in done):
            continue
        done.append(body)
        first = next(k for k, item in enumerate(body) if reads(item, buffer))
        twin = copy.copy(statement)
        twin.section = user.section
        body.insert(first, twin)


def reads(item: Any, buffer: Buffer) -> bool:
    return any(
        access.buffer is buffer and not access.writes
        for member in statements(item)
        for access in member.accesses
    )
