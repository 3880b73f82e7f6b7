"""What an op needs to know of code generation: how to say one element of its result.

A lowering is written once per op, as a function of an index: "element ``index`` of the result is
this scalar expression of elements of the inputs". The code generator runs it twice, first to see
which elements are read, then to print the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import sympy

from staticgrad.graph.dims import Dim
from staticgrad.graph.node import Node

#: an index: one SymPy integer expression of loop variables per axis
Index = tuple[Any, ...]
#: a scalar expression: its Python text, and its precedence
Scalar = tuple[str, int]

# Python's precedences, for printing without needless parentheses
OR, COMPARE, BIT_OR, BIT_AND, SUM, PRODUCT, UNARY, POWER = 1, 4, 5, 7, 9, 10, 11, 12
#: of a text that never needs parentheses
ATOM = 100


def infix(operator: str, precedence: int, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Join one or two texts by an operator, with parentheses where Python needs them."""

    def wrapped(argument: tuple[str, int], least: int) -> str:
        text, bound = argument
        return text if bound >= least else f"({text})"

    if len(arguments) == 1:
        return f"{operator}{wrapped(arguments[0], precedence)}", precedence
    # a - (b - c) and a / (b * c) keep their parentheses: only the left operand may bind equally
    left = wrapped(arguments[0], precedence + (precedence in (COMPARE, POWER)))
    return f"{left} {operator} {wrapped(arguments[1], precedence + 1)}", precedence


class Reader(Protocol):
    """What a lowering is given to write with."""

    def read(self, node: Node, index: Index) -> Scalar:
        """Element ``index`` of ``node``: a load, or the inlined expression of that element."""

    def in_memory(self, node: Node) -> bool:
        """Whether ``node`` is loaded, not computed where it is read."""

    def number(self, value: Any, dtype: Any) -> Scalar:
        """A typed literal."""

    def integer(self, expression: Dim) -> Scalar:
        """An index or a dimension as an int64 value."""

    def within(self, low: Dim | None, position: Any, high: Dim | None) -> list[str] | None:
        """What is left to check of ``low <= position < high`` where the element stands: conditions,
        none if it always holds; None if it never does."""

    def call(self, function: str, arguments: Sequence[str]) -> str:
        """A call of one of the functions in ``staticgrad.vectormath``."""

    def subscript(self, scalar: Scalar) -> sympy.Expr:
        """An integer scalar, such as a loaded label, as something an index may contain."""


class IndexMap:
    """Mixin for ops whose elements are elements of the input: only the index changes."""

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        return reader.read(node.inputs[0], self.source_index(node, index))

    def source_index(self, node: Node, index: Index) -> Index:
        """The index of the input's element that stands at ``index`` of the result."""
        raise NotImplementedError


def ternary(condition: Sequence[str], taken: Scalar, other: Scalar) -> Scalar:
    """``taken if condition else other``, where the side not taken must not be evaluated: it would
    read out of bounds. Conditions are joined by ``and``; none at all is always true."""
    if not condition:
        return taken
    # a choice inside the condition's branch keeps its parentheses, one after "else" needs none
    text = taken[0] if taken[1] > 0 else f"({taken[0]})"
    return f"{text} if {' and '.join(condition)} else {other[0]}", 0
