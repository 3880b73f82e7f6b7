"""Values that nobody reads are not computed."""

from __future__ import annotations

from typing import Any

from staticgrad.codegen.fuse import without
from staticgrad.codegen.program import Buffer, Program, Statement, statements


def drop_unread(program: Program) -> Program:
    """Leave out numbers that no statement reads any more, since each computes them for itself."""
    unread: set[int] = set()
    while True:
        everywhere = read_by(program.items)
        known = len(unread)
        for item in program.items:
            here = read_by([item])
            for member in statements(item):
                target = getattr(member, "target", None)
                if not isinstance(member, Statement) or member.action != "store" or target is None:
                    continue
                # what each loop computes anew is not read in others
                readers = here if target in program.repeated else everywhere
                if target.is_local and target.memory not in readers:
                    unread.add(id(member))
        if len(unread) == known:
            return program
        program.items = without(program.items, lambda member: id(member) in unread)


def read_by(items: list[Any]) -> set[Buffer]:
    """The arrays and numbers that items read."""
    return {a.buffer.memory for m in statements(items) for a in m.accesses if not a.writes}
