"""Printing a planned program as a Python module that Numba compiles and a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import sympy

from staticgrad.codegen.layout import INDENT, WIDTH, assignment, broken
from staticgrad.codegen.program import Buffer, Call, Loop, Program, Statement, statements
from staticgrad.codegen.reader import TYPE_NAMES, ElementReader
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin

NUMBA_NAMES = {
    "f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "boolean": "boolean",
}  # fmt: skip
TITLES = {
    "check": "indices in range",
    "forward": "forward",
    "backward": "backward",
    "forward and backward": "forward and backward",
    "update": "update",
}
#: what a compiled function returns: 0 when all went well, NOT_READY when a shape does not fit or
#: the workspace is too small, FIRST_CHECK + k when the index check k failed
NOT_READY, FIRST_CHECK = 1, 2


@dataclass(frozen=True)
class Generated:
    """A generated module and what the run time must know to call it."""

    source: str
    name: str
    header: str
    body: str
    numba_names: tuple[str, ...]
    math_names: tuple[str, ...]
    kernel_names: tuple[str, ...]
    vectormath_names: tuple[str, ...]
    arguments: tuple[str, ...]
    program: Program


class Emitter:
    """Writes the function's lines, and takes down which helpers they use."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name
        self.buffers: dict[Node, Buffer] = {}
        for buffer in program.buffers:
            if buffer.node is not None and buffer.finishes_in is None:
                self.buffers.setdefault(buffer.node, buffer)
        self.types: set[str] = set()
        self.kernels: set[str] = set()
        self.functions: set[str] = set()
        self.lines: list[str] = []
        self.depth = 1
        self.explained: set[Node] = set()
        self.previous_lone = False

    def line(self, text: str = "") -> None:
        self.lines.append(f"{INDENT * self.depth}{text}" if text else "")

    # ---- the function ----------------------------------------------------------------------------

    def arguments(self) -> list[str]:
        program = self.program
        result = [buffer.name for buffer in program.inputs]
        result += ["parameters"] if program.parameters else []
        result += ["constants"] if program.constants else []
        result += ["workspace"] if program.workspace != "0" else []
        return result + [buffer.name for buffer in program.outputs]

    def function(self) -> str:
        self._inputs()
        self._views()
        section = ""
        starts: list[Any] = []
        for item, title in zip(self.program.items, sections(self.program.items), strict=True):
            if only_starts(item):
                # the first values of accumulators stand right above the loop that goes on
                starts.append(item)
                continue
            if title != section:
                section = title
                self.line()
                self.line(f"# ---- {TITLES[section]} ".ljust(96 - len(INDENT), "-"))
            self._comment(item, [*chain.from_iterable(map(statements, starts)), *statements(item)])
            for each in (*starts, item):
                self._item(each)
            starts.clear()
        for item in starts:
            self._item(item)
        self.line("return 0")
        return "\n".join(self.lines)

    def _inputs(self) -> None:
        bound: set[sympy.Symbol] = set()
        conditions = []
        for buffer in self.program.inputs:
            for axis, dim in enumerate(buffer.shape):
                actual = f"{buffer.name}.shape[{axis}]"
                if isinstance(dim, sympy.Symbol) and dim not in bound:
                    bound.add(dim)
                    self.line(f"{dim} = {actual}")
                else:
                    conditions.append((dim, f"{actual} != {format_dim(dim)}"))
        tests = [text for _, text in conditions]
        shapes = [b.shape for b in self.program.buffers]
        sizes = {dim for shape in shapes for dim in shape if may_be_negative(dim)}
        tests += [f"{format_dim(dim)} < 0" for dim in sorted(sizes, key=str)]
        if tests:
            condition = f"if {' or '.join(tests)}:"
            if len(INDENT * self.depth + condition) <= WIDTH:
                self.line(condition)
            else:
                self.line("if (")
                self.lines += broken(" or ".join(tests), self.depth + 1)
                self.line("):")
            self.line(f"{INDENT}return {NOT_READY}  # the caller says what does not fit")

    def _views(self) -> None:
        """Arrays over the parameters' memory and over the workspace."""
        for table, buffers in (
            ("parameters", self.program.parameters),
            ("constants", self.program.constants),
        ):
            for position, buffer in enumerate(buffers):
                self.kernels.add("array_at")
                self.line(
                    f"{buffer.name} = array_at({table}[{position}], "
                    f"{format_shape(buffer.shape)}, {self._type(buffer)})"
                    f"{'[()]' if buffer.by_value else ''}"
                )
        self._workspace()
        for buffer in self.program.buffers:
            if buffer.root is not None:
                self.kernels.add("reshaped")
                self.line(
                    f"{buffer.name} = reshaped({buffer.root.name}, {format_shape(buffer.shape)})"
                )

    def _workspace(self) -> None:
        """The places in the workspace one after the other; what shares one is never needed at the
        same time."""
        places = self.program.places
        if not places:
            return
        self.kernels.add("view")
        self.line()
        self.line("# workspace, in multiples of a cache line")
        self.line("end = 0")
        for place in places:
            for buffer in place.buffers:
                self.line(
                    f"{buffer.name} = view(workspace, end, "
                    f"{format_shape(buffer.stored_shape)}, {self._type(buffer)})"
                )
            self.line(f"end += {place.rounded_size()}")
        self.line("if workspace.size < end:")
        self.line(f"{INDENT}return {NOT_READY}")

    def _type(self, buffer: Buffer) -> str:
        name = TYPE_NAMES[str(buffer.dtype)]
        self.types.add(name)
        return name

    # ---- items -----------------------------------------------------------------------------------

    def _item(self, item: Any) -> None:
        if isinstance(item, Loop) and item.extent == 1:
            for inner in item.body:
                self._item(inner)
        elif isinstance(item, Loop):
            self.line(f"for {item.variable} in range({format_dim(item.extent)}):")
            self.depth += 1
            for inner in item.body:
                self._item(inner)
            self.depth -= 1
        elif isinstance(item, Call):
            self._call(item)
        else:
            self._statement(item)

    def _call(self, call: Call) -> None:
        kernel = "matmul" + {"": "", "tn": "_tn", "nt": "_nt", "tt": "_tt"}[
            "" if not any(call.transpose) else "".join("nt"[flag] for flag in call.transpose)
        ]
        self.kernels.add(kernel)
        names = [buffer.name for buffer in (*call.operands, call.target)]
        if call.node.ndim == 3:
            self.kernels.add("part")
            names = [f"part({name}, i)" for name in names]
            self.line(f"for i in range({format_dim(call.node.shape[0])}):")
            self.line(f"{INDENT}{kernel}({', '.join(names)})")
        else:
            self.line(f"{kernel}({', '.join(names)})")

    def _statement(self, statement: Statement) -> None:
        reader = ElementReader(self.buffers)
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
        lone = isinstance(item, Statement) and not lines
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


def only_starts(item: Any) -> bool:
    """Whether an item does nothing but give accumulators their first value."""
    return all(getattr(member, "action", "") == "start" for member in statements(item))


def sections(items: list[Any]) -> list[str]:
    """The section that each item belongs to. A lone scalar belongs to what stands around it."""
    titles: list[str] = []
    for item in items:
        found = {member.section for member in statements(item)}
        lone = isinstance(item, Statement) and "update" not in found
        title = "forward and backward" if found == {"forward", "backward"} else min(found)
        titles.append("" if lone else title)
    for position, title in enumerate(titles):
        if not title:
            before = titles[position - 1] if position else "check"
            after = next((other for other in titles[position:] if other), "forward")
            titles[position] = after if before == "check" and after != "update" else before
    return titles


def clipped(line: str, source: str) -> str:
    """A comment that fits in a line: the formula, and the source where there is room."""
    if len(line) + len(source) < 92:
        return f"{line}  {source}"
    return line if len(line) < 94 else f"{line[:91]}..."


def may_be_negative(dim: Any) -> bool:
    return not isinstance(dim, int) and not dim.is_nonnegative


def emit(program: Program, name: str, header: str) -> Generated:
    """The module that computes ``program`` in a function called ``name``."""
    emitter = Emitter(program, name)
    body = emitter.function()
    arguments = emitter.arguments()
    math_names = tuple(sorted(emitter.functions & {"inf", "nan", "isnan"}))
    functions = tuple(sorted(emitter.functions - {"inf", "nan", "isnan"}))
    types = tuple(
        f"{full} as {name}" if full != name else name
        for name, full in NUMBA_NAMES.items()
        if name in emitter.types
    )
    definition = f'@njit(error_model="numpy")\ndef {name}({", ".join(arguments)}):\n{body}\n'
    kernels = tuple(sorted(emitter.kernels))
    imports = [f"from math import {', '.join(math_names)}\n"] if math_names else []
    imports.append(f"from numba import {', '.join([*types, 'njit'])}\n")
    for module, names in (
        # BLAS is bound when its module is imported, which functions without products go without
        ("kernels.arrays", [name for name in kernels if not name.startswith("matmul")]),
        ("kernels.blas", [name for name in kernels if name.startswith("matmul")]),
        ("vectormath", functions),
    ):
        if names:
            imports.append(f"from staticgrad.{module} import {', '.join(names)}")
    source = f'"""{header}"""\n\n' + "\n".join(imports).rstrip() + f"\n\n\n{definition}"
    return Generated(
        source, name, header, definition, types, math_names, kernels, functions,
        tuple(arguments), program,
    )  # fmt: skip
