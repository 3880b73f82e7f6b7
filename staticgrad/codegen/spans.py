"""Which lines of a generated module compute which nodes: what profiles and views go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from staticgrad.codegen.program import Invocation, Program, Rolled, Statement, statements
from staticgrad.codegen.reader import reader_of
from staticgrad.graph.node import Node


@dataclass(frozen=True, eq=False)
class Mark:
    """Lines (from 0, within one function) and the statements and calls that they hold; ``shared``
    where the function is called in several places, for the statements of all."""

    first: int
    last: int
    members: tuple[Any, ...]
    kind: str
    shared: bool = False

    def moved(self, lines: int) -> Mark:
        return replace(self, first=self.first + lines, last=self.last + lines)


@dataclass(frozen=True)
class Span:
    """Lines ``first`` to ``last`` of a generated module, from 1, and the ``nodes`` of the rewritten
    graph that they compute, those first that have a name in the code.

    ``kind`` is "kernel" for a nest of loops or a call with the comment above it, "line" for one
    statement or call, "comment" for the line that gives a formula. ``section`` is "forward",
    "backward", "update" or "check".
    """

    first: int
    last: int
    nodes: tuple[Node, ...]
    section: str
    kind: str


def resolved(program: Program, marks: Iterable[Mark]) -> Iterator[Span]:
    """The spans of marks. A function that is called several times, and a loop over layers, compute
    the nodes of all their calls and turns."""
    buffers = program.readers
    called, repeated = _kin(program.items)
    for mark in marks:
        nodes: dict[Node, None] = {}
        inlined: dict[Node, None] = {}
        members = [other for m in mark.members for other in repeated.get(id(m), [m])]
        if mark.shared:
            members = [other for member in members for other in called.get(id(member), [member])]
        for member in members:
            nodes[member.node] = None
            if isinstance(member, Statement) and mark.kind != "comment":
                reader = reader_of(member, buffers)
                member.value(reader, member.variables)
                inlined.update(dict.fromkeys(reader.computed))
        section = mark.members[-1].section if mark.members else ""
        yield Span(
            mark.first + 1, mark.last + 1, tuple({**nodes, **inlined}), section, mark.kind
        )


def _kin(items: list[Any]) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
    """For statements that stand for others, all of them: in functions, and in loops over layers."""
    calls: dict[int, list[list[Any]]] = {}
    turns: list[list[list[Any]]] = []

    def visit(items: list[Any]) -> None:
        for item in items:
            if isinstance(item, Rolled):
                turns.append([list(statements(turn)) for turn in item.turns])
                for turn in item.turns:
                    visit(turn)
            elif isinstance(item, Invocation):
                calls.setdefault(id(item.routine), [list(statements(item.routine.items))]).append(
                    list(statements(item.items))
                )
            elif hasattr(item, "items"):
                visit(item.items)

    visit(items)
    return _columns(calls.values()), _columns(turns)


def _columns(groups: Iterable[list[list[Any]]]) -> dict[int, list[Any]]:
    """For the first of statements that take each other's place, all of them."""
    found: dict[int, list[Any]] = {}
    for occurrences in groups:
        for column in zip(*occurrences, strict=True):
            known = found.get(id(column[0]), [])
            found[id(column[0])] = list(dict.fromkeys([*known, *column]))
    return found
