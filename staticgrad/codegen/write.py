"""Writing statements as lines of Python, with the mathematics above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any

from staticgrad.codegen.fuse import CHEAP_FUNCTIONS
from staticgrad.codegen.layout import INDENT, WIDTH, assignment, comment
from staticgrad.codegen.program import (
    FIRST_CHECK,
    Buffer,
    Call,
    Invocation,
    Loop,
    Program,
    Statement,
    statements,
)
from staticgrad.codegen.reader import TYPE_NAMES, ElementReader, reader_of
from staticgrad.codegen.spans import Mark
from staticgrad.graph.dims import format_dim, product
from staticgrad.graph.expression import Expression, Symbol
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin
from staticgrad.graph.traverse import topological, users
from staticgrad.show.names import describe, identifier, primal_of
from staticgrad.show.plain import plain

#: constant lengths of innermost loops that LLVM would unroll, where vectors are faster; of loops that
#: call functions such as exp those that do not fill its vectors
SHORT_LOOPS = range(5, 64)
SHORT_COSTLY_LOOPS = frozenset((8, *(length for length in range(5, 32) if length % 8)))


#: what accumulates in order
OPERATORS = {"plus": "+=", "times": "*="}


class Writer:
    """Writes lines, and takes down which helpers they use."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name
        self.buffers = program.readers
        #: the index of every array within a function of arrays with one axis
        self.position = ""
        self.types: set[str] = set()
        self.kernels: set[str] = set()
        self.functions: set[str] = set()
        self.lines: list[str] = []
        self.marks: list[Mark] = []
        self.depth = 1
        self.explained: set[Node] = set()
        #: whether a heading was written last
        self.headed = False
        #: whether a function for several places is being written
        self.is_routine = False
        #: the last line that had room for a formula beside it
        self.last_beside = -1

    @cached_property
    def uses(self) -> dict[Node, int]:
        """How many nodes take each node in."""
        nodes = topological([member.node for member in statements(self.program.items)])
        return {node: len(takers) for node, takers in users(nodes).items()}

    def line(self, text: str = "") -> None:
        self.lines.append(f"{INDENT * self.depth}{text}" if text else "")

    def mark(self, first: int, members: Iterable[Any], kind: str) -> None:
        """Take down that the lines from ``first`` on hold these statements and calls."""
        while first < len(self.lines) and not self.lines[first]:
            first += 1
        if first < len(self.lines):
            last = len(self.lines) - 1
            self.marks.append(Mark(first, last, tuple(members), kind, self.is_routine))

    def _statement(self, statement: Statement) -> None:
        first = len(self.lines)
        self._written(statement)
        self.mark(first, [statement], "line")

    def _written(self, statement: Statement) -> None:
        reader = reader_of(statement, self.buffers, self.position)
        value, _ = statement.value(reader, statement.variables)
        if statement.action == "check":
            self.line(f"if not {value}:")
            self.line(f"{INDENT}return {FIRST_CHECK + statement.check}")
            self._used(reader, value)
            return
        target = statement.target
        assert target is not None
        place = reader.load(target, statement.index(reader, statement.variables))[0]
        self._used(reader, value)
        if statement.action in ("store", "start"):
            lines = assignment(place, "=", value, self.depth)
            whole = product(statement.domain) == 1  # not a step of a loop
            if self.depth == 1 and whole and statement.action == "store":
                lines[:1] = self._told_beside(lines[0], statement.node)
            self.lines += lines
            return
        self._accumulate(statement, place, value)
        if statement.running is not None and statement.running_index is not None:
            stored = reader.load(statement.running, statement.running_index(statement.variables))
            if stored[0] != place:
                self.line(f"{stored[0]} = {place}")

    def _told_beside(self, line: str, node: Node) -> list[str]:
        source = self.source(node)
        if not source:
            return [line]
        told = f"# {source}"
        if len(line) + 2 + len(told) <= WIDTH:
            return [f"{line}  {told}"]
        return [f"{INDENT * self.depth}{told}", line]

    def _beside(self, first: int, group: list[Any]) -> None:
        """The formula of a matrix product stands beside it, where there is room."""
        call = group[0]
        written = sum(map(bool, self.lines[first:]))
        if len(group) > 1 or not isinstance(call, Call) or written != 2:
            return
        source = self.source(call.node)
        line = f"{self.lines[-1]}  # {self.formula(call.node)}  {source}".rstrip()
        if len(line) <= WIDTH and self.lines[-2].endswith(source):
            self.lines[-2:] = [line]
            self.marks = [mark for mark in self.marks if mark.first < first]
            if self.lines[-2] == "" and len(self.lines) - 3 == self.last_beside:
                del self.lines[-2]
            self.last_beside = len(self.lines) - 1
            self.mark(self.last_beside, [call], "line")

    def _accumulate(self, statement: Statement, place: str, value: str) -> None:
        target, combine = statement.target, statement.combine
        assert target is not None
        # a local float may be summed in any order, which lets LLVM use vector registers; what goes
        # to memory is added in order anyway
        reorder = target.is_local and target.dtype.kind == "f" and statement.action == "accumulate"
        if combine in OPERATORS and not reorder:
            self.lines += assignment(place, OPERATORS[combine], value, self.depth)
            return
        self.functions.add(combine)
        self.lines += assignment(place, "=", f"{combine}({place}, {value})", self.depth)

    def _used(self, reader: ElementReader, text: str) -> None:
        self.functions |= reader.functions
        self.types |= {name for name in TYPE_NAMES.values() if f"{name}(" in text}

    def _begin_loop(self, loop: Loop) -> None:
        if isinstance(loop.stop, int) or not (isinstance(loop.start, int) and loop.start > 0):
            self.line(f"for {loop.variable} in range({self.steps(loop)}):")
            self.depth += 1
            return
        # LLVM is to know that i - start is not negative, as an index is that does not count from the
        # end; with a named dimension it would not tell by the range
        self.line(f"for further in range({format_dim(loop.extent)}):")
        self.depth += 1
        self.line(f"{loop.variable} = further + {loop.start}")

    def steps(self, loop: Loop) -> str:
        """What stands in a loop's range."""
        steps = format_dim(loop.stop)
        members = [item for item in loop.body if isinstance(item, Statement)]
        costly = any(not member.functions <= CHEAP_FUNCTIONS for member in members)
        short = SHORT_COSTLY_LOOPS if costly else SHORT_LOOPS
        if len(members) == len(loop.body) and loop.extent in short:
            self.kernels.add("short")
            steps = f"short({steps})"
        return f"{format_dim(loop.start)}, {steps}" if loop.start != 0 else steps

    # ---- comments --------------------------------------------------------------------------------

    def _comment(self, item: Any, members: list[Any]) -> None:
        """The mathematics of an item: what each stored value is, in the user's names. Once per
        value: the loop that finishes a sum needs no second word."""
        is_update = isinstance(item, Invocation) and members[-1].section == "update"
        if is_update or computes_one_number(item):
            # the function says it, once for all parameters; or the line itself does
            self.gap(is_line=True)
            return
        self.gap()
        told = []
        for member in members:
            if self._is_told(member):
                told.append(member)
                self.explained.add(member.node)
        folded = self._folded(told)
        for member in told:
            if member.node in folded:
                continue
            target = self._told_of(member)
            updated = target.kind == "parameter"
            # what it computes for itself has a name there only if something told says what it is
            unsaid: set[Node] = getattr(member, "inlined", set()) - self.explained
            text = self.formula(member.node, not updated, folded | unsaid)
            if text == target.name:
                continue
            first = len(self.lines)
            margin = INDENT * self.depth
            lines = comment(
                target.name, text, self.source(member.node, target.name), self.depth
            )
            self.lines += [f"{margin}{line}" for line in lines]
            self.mark(first, [member], "comment")

    def gap(self, is_line: bool = False) -> None:
        """An empty line, but below a heading and before a line that needs no comment."""
        if self.lines[-1:] != [""] and not self.headed and not is_line:
            self.line()
        self.headed = False

    def _is_told(self, member: Any) -> bool:
        # the loop that sets an accumulator to zero needs no word; the sum gets one
        if getattr(member, "action", "") in ("check", "start"):
            return False
        return member.node not in self.explained or self._told_of(member).kind == "parameter"

    def _told_of(self, member: Any) -> Buffer:
        """The buffer that a statement is told of: the result's in the place of an accumulator."""
        target = member.running if getattr(member, "running", None) else member.target
        return target.finishes_in or target

    def _folded(self, told: list[Any]) -> set[Node]:
        """The nodes which the comment on the value that needs them says: numbers without a name of
        the user's that one value needs."""
        nodes = {member.node for member in told}
        uses: Counter[Node] = Counter()
        for node in nodes:
            waiting = list(node.inputs)
            while waiting:
                source = waiting.pop()
                if source in self.buffers:
                    uses[source] += 1
                else:
                    waiting.extend(source.inputs)
        return {
            member.node
            for member in told
            if self._told_of(member).is_local and uses[member.node] == 1
            and self.uses[member.node] == 1
            and member.node.name is None and member.node.role is None
        }  # fmt: skip

    def source(self, node: Node, name: str = "") -> str:
        """The user's line that a node comes from, and what it is the adjoint of, in brackets; nothing
        where neither is known. In a function for several layers, where ``name`` is what the node is
        called, that is what layers share."""
        origin = str(node.origin) if isinstance(node.origin, Origin) else ""
        beside = f"[{origin}]" if origin else ""
        primal = primal_of(node)
        if primal is None:
            return beside
        named = self.program.names.of_declared(primal) or describe(primal, self.program.names)
        if self.is_routine and node.role and name.startswith("d_"):
            named = name.removeprefix("d_")
        elif self.is_routine and not primal.name:
            return beside
        told = f"{'adjoint' if node.role else 'for the adjoint'} of {identifier(named)}"
        return f"[{told}, {origin}]" if origin else f"[{told}]"

    def formula(self, node: Node, inside: bool = True, folded: Collection[Node] = ()) -> str:
        """The expression of a node in terms of what has a name in the generated code. ``inside``
        says that the node's own name is what the expression is for; ``folded`` nodes are written
        out."""

        def visit(item: Node, top: bool) -> Expression:
            buffer = self.buffers.get(item)
            if buffer is not None and not top and item not in folded:
                return Symbol(buffer.name, rank=item.ndim)
            return item.op.express(item, [visit(source, False) for source in item.inputs])

        return plain(visit(node, inside or node not in self.buffers))


def computes_one_number(item: Any) -> bool:
    """Whether an item is a line of its own, without a loop."""
    while isinstance(item, Loop) and item.extent == 1 and len(item.body) == 1:
        item = item.body[0]
    return isinstance(item, Statement)
