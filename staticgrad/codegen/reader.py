"""How an element is said: a load from a buffer, or the inlined expression of the element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.program import Access, Buffer
from staticgrad.codegen.ranges import Range, never_negative
from staticgrad.graph.dims import Dim, canonical, format_dim
from staticgrad.graph.leaves import format_number
from staticgrad.graph.node import Node, touches_floats
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.lowering import ATOM, PRODUCT, SUM, Index, Scalar, infix

#: how generated code spells a dtype
TYPE_NAMES = {
    "float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "uint8": "u8",
    "bool": "boolean",
}  # fmt: skip


def reader_of(statement: Any, buffers: dict[Node, Buffer], position: str = "") -> ElementReader:
    """What writes a statement's elements."""
    beside = {node: buffers[node] for node in statement.beside}
    if statement.inlined:
        buffers = {node: b for node, b in buffers.items() if node not in statement.inlined}
    reader = ElementReader(buffers, position)
    for index in (statement.own, statement.variables):
        for variable, steps in zip(index, statement.ranges, strict=False):
            if index is statement.own or not steps.is_unit:
                reader.ranges[variable] = steps
        reader.beside.update(((node, index), buffer) for node, buffer in beside.items())
    return reader


def note_accesses(statement: Any, buffers: dict[Node, Buffer]) -> None:
    """Take down anew what a statement reads."""
    reader = reader_of(statement, buffers)
    statement.value(reader, statement.own)
    statement.flops = reader.flops
    statement.index(reader, statement.own)
    kept = [a for a in statement.accesses if a.writes or a.buffer.kind == "token"]
    statement.accesses = [*reader.accesses, *kept]


def operations(statement: Any, buffers: dict[Node, Buffer]) -> int:
    """How many operations the value of a statement takes, as it is written."""
    reader = reader_of(statement, buffers)
    text = statement.value(reader, statement.own)[0]
    written = sum(text.count(f" {sign} ") for sign in ("+", "-", "*", "/", "//", "%", "**"))
    return written + sum(text.count(f"{name}(") for name in reader.functions)


class ElementReader:
    """Writes elements as text, and takes down which buffers were read at which index.

    With ``position``, all arrays have one axis, and that is where their elements stand.
    """

    def __init__(self, buffers: dict[Node, Buffer], position: str = "") -> None:
        self.buffers = buffers
        self.position = position
        self.accesses: list[Access] = []
        self.functions: set[str] = set()
        #: the nodes that have no place of their own, and whose expressions are part of the text
        self.computed: list[Node] = []
        #: where variables run, and the conditions on indices that do not hold everywhere
        self.ranges: dict[Any, Range] = {}
        self.conditions: list[tuple[Dim | None, Any, Dim | None]] = []
        #: elements that lie in memory, of nodes whose other elements are computed
        self.beside: dict[tuple[Node, Index], Buffer] = {}

    @property
    def flops(self) -> int:
        """The floating-point operations of the text."""
        return sum(node.op.flops for node in self.computed if touches_floats(node))

    def read(self, node: Node, index: Index) -> Scalar:
        buffer = self.buffers.get(node)
        if buffer is None and self.beside:
            buffer = self.beside.get((node, index))
        if buffer is None:
            return self.compute(node, index)
        return self.read_buffer(buffer, index)

    def in_memory(self, node: Node) -> bool:
        return node in self.buffers

    def read_buffer(self, buffer: Buffer, index: Index) -> Scalar:
        self.accesses.append(Access(buffer, index, False))
        return self.load(buffer, index)

    def load(self, buffer: Buffer, index: Index) -> Scalar:
        if buffer.is_local or buffer.by_value:
            return buffer.name, ATOM
        return f"{buffer.name}[{self.position or subscripts(buffer, index)}]", ATOM

    def compute(self, node: Node, index: Index) -> Scalar:
        """The expression of an element of a node, by the node's own declaration."""
        op = node.op
        self.computed.append(node)
        if op.name == "constant":
            return self.number(node.attrs["value"].reshape(-1)[0], node.dtype)
        if op.name == "size":
            return self.integer(node.attrs["dim"])
        if op.name == "astype":
            return self.cast(self.read(node.inputs[0], index), node.inputs[0].dtype, node.dtype)
        if isinstance(op, Elementwise):
            return self.apply(op, node, [self.read(source, index) for source in node.inputs])
        return op.lower(node, index, self)  # type: ignore[attr-defined]

    def apply(self, op: Elementwise, node: Node, arguments: list[Scalar]) -> Scalar:
        if op.name in ("add", "subtract"):
            # where a condition never holds
            zero = self.number(0, node.dtype)
            if arguments[1] == zero:
                return arguments[0]
            if arguments[0] == zero and op.name == "add":
                return arguments[1]
        if op.infix is not None:
            return infix(op.infix[0], op.infix[1], arguments)
        if op.name == "square":
            return infix("*", PRODUCT, [arguments[0], arguments[0]])
        if op.name == "logical_not":
            return f"not {arguments[0][0]}", 3
        if op.name == "power" and node.dtype.kind == "i":
            return infix("**", 12, arguments)
        texts = [format_option(value) for value in node.attrs.values()]
        texts += [text for text, _ in arguments]
        self.functions.add(op.call or "")
        return f"{op.call}({', '.join(texts)})", ATOM

    def cast(self, value: Scalar, old: np.dtype, new: np.dtype) -> Scalar:
        if new.kind == "b":
            return f"{value[0]} != 0" if value[1] > 4 else f"({value[0]}) != 0", 4
        return f"{TYPE_NAMES[str(new)]}({value[0]})", ATOM

    def number(self, value: Any, dtype: Any) -> Scalar:
        dtype = np.dtype(dtype)
        if dtype.kind == "b":
            return str(bool(value)), ATOM
        if dtype.kind == "f" and not np.isfinite(value):
            text = "nan" if np.isnan(value) else "inf" if value > 0 else "-inf"
            self.functions.add(text.lstrip("-"))
            return f"{TYPE_NAMES[str(dtype)]}({text})", ATOM
        text = format_number(dtype.type(value))
        if str(dtype) in ("float64", "int64"):
            return text, 11 if text.startswith("-") else ATOM
        return f"{TYPE_NAMES[str(dtype)]}({text})", ATOM

    def integer(self, expression: Dim) -> Scalar:
        if isinstance(expression, int):
            return str(expression), ATOM if expression >= 0 else 11
        text = format_dim(expression)
        atomic = expression.is_Symbol or text.isdigit()
        return text, ATOM if atomic else PRODUCT if expression.is_Mul else SUM

    def within(self, low: Dim | None, position: Any, high: Dim | None) -> list[str] | None:
        if (low is not None and never_negative(low - 1 - position, self.ranges)) or (
            high is not None and never_negative(position - high, self.ranges)
        ):
            return None
        if low is not None and never_negative(position - low, self.ranges):
            low = None
        if high is not None and never_negative(high - 1 - position, self.ranges):
            high = None
        if low is None and high is None:
            return []
        self.conditions.append((low, position, high))
        # 1 <= i rather than 0 <= i - 1
        offset = sympy.sympify(position).as_coeff_Add()[0]
        position = canonical(position - offset)
        low, high = (None if end is None else canonical(end - offset) for end in (low, high))
        first = "" if low is None else f"{self.integer(low)[0]} <= "
        last = "" if high is None else f" < {self.integer(high)[0]}"
        return [f"{first}{self.integer(position)[0]}{last}"]

    def call(self, function: str, arguments: Sequence[str]) -> str:
        self.functions.add(function)
        return f"{function}({', '.join(arguments)})"

    def subscript(self, scalar: Scalar) -> sympy.Expr:
        return sympy.Symbol(scalar[0], integer=True)


def format_option(value: Any) -> str:
    return str(value)


def subscripts(buffer: Buffer, index: Index) -> str:
    """What stands between the brackets, without the axes that are not stored."""
    if not index:
        return "()"
    kept = [index[axis] for axis in buffer.axes]
    return ", ".join(format_dim(position) for position in kept)
