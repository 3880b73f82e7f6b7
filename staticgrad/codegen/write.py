"""Writing statements as lines of Python, with the mathematics above them."""

from __future__ import annotations

from typing import Any

from staticgrad.codegen.layout import INDENT, assignment, clipped
from staticgrad.codegen.program import FIRST_CHECK, Invocation, Loop, Program, Statement
from staticgrad.codegen.reader import ElementReader, reader_of
from staticgrad.graph.dims import format_dim
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin

NUMBA_NAMES = {
    "f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "boolean": "boolean",
}  # fmt: skip

#: constant lengths of innermost loops that LLVM would unroll although they do not fill its vectors
SHORT_LOOPS = frozenset(length for length in range(5, 32) if length % 8)


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
        self.depth = 1
        self.explained: set[Node] = set()
        self.previous_lone = False

    def line(self, text: str = "") -> None:
        self.lines.append(f"{INDENT * self.depth}{text}" if text else "")

    def _statement(self, statement: Statement) -> None:
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
            self.lines += assignment(place, "=", value, self.depth)
            return
        self._accumulate(statement, place, value)
        if statement.running is not None and statement.running_index is not None:
            stored = reader.load(statement.running, statement.running_index(statement.variables))
            if stored[0] != place:
                self.line(f"{stored[0]} = {place}")

    def _accumulate(self, statement: Statement, place: str, value: str) -> None:
        target, combine = statement.target, statement.combine
        assert target is not None
        # a local float may be summed in any order, which lets LLVM use vector registers; what goes
        # to memory is added in order anyway
        reorder = target.is_local and target.dtype.kind == "f" and statement.action == "accumulate"
        if combine in ("plus", "times") and not reorder:
            operator = "+=" if combine == "plus" else "*="
            self.lines += assignment(place, operator, value, self.depth)
            return
        self.functions.add(combine)
        self.lines += assignment(place, "=", f"{combine}({place}, {value})", self.depth)

    def _used(self, reader: ElementReader, text: str) -> None:
        self.functions |= reader.functions
        self.types |= {name for name in NUMBA_NAMES if f"{name}(" in text}

    def steps(self, loop: Loop) -> str:
        """What stands in a loop's range."""
        steps = format_dim(loop.extent)
        innermost = not any(isinstance(inner, Loop) for inner in loop.body)
        if innermost and loop.extent in SHORT_LOOPS:
            self.kernels.add("short")
            return f"short({steps})"
        return steps

    # ---- comments --------------------------------------------------------------------------------

    def _comment(self, item: Any, members: list[Any]) -> None:
        """The mathematics of an item: what each stored value is, in the user's names. Once per
        value: the loop that finishes a sum needs no second word."""
        finished = {member.node for member in members if getattr(member, "action", "") != "start"}
        lines: list[str] = []
        for member in members:
            action = getattr(member, "action", "")
            if action == "check" or (action == "start" and member.node in finished):
                continue
            if action == "start":
                # the loop that sets an accumulator to zero needs no word; the sum gets one
                continue
            updated = getattr(member.target, "kind", "") == "parameter"
            if member.node in self.explained and not updated:
                continue
            self.explained.add(member.node)
            target = member.running if getattr(member, "running", None) else member.target
            target = target.finishes_in or target
            text = self.formula(member.node, inside=not updated)
            if text != target.name:
                line = f"# {target.name} = {text}"
                source = self._source(member.node)
                lines.append(clipped(line, source))
        if isinstance(item, Invocation) and members[-1].section == "update":
            # the function says it, once for all parameters
            lines = []
        lone = isinstance(item, Statement | Invocation) and not lines
        if not (lone and self.previous_lone):
            self.line()
        self.previous_lone = lone
        for text in lines:
            self.line(text)

    def _source(self, node: Node) -> str:
        origin = node.origin
        if not isinstance(origin, Origin):
            return ""
        primal = node.adjoint_of
        if primal is None:
            return f"[{origin}]"
        return f"[adjoint of {self.program.names.get(primal, primal.op.name)}, {origin}]"

    def formula(self, node: Node, inside: bool = True) -> str:
        """The expression of a node in terms of what has a name in the generated code. ``inside``
        says that the node's own name is what the expression is for."""

        def visit(item: Node, top: bool) -> tuple[str, int]:
            buffer = self.buffers.get(item)
            if buffer is not None and not top:
                return buffer.name, 100
            return item.op.format(item, [visit(source, False) for source in item.inputs])

        return visit(node, inside or node not in self.buffers)[0]
