"""Dimensions: non-negative integers, or SymPy expressions of named dimensions.

A named dimension such as ``"batch"`` is a SymPy symbol, so that one compiled function serves every
batch size and a shape such as ``(2*batch + 1, 64)`` is an ordinary expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import sympy
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

Dim: TypeAlias = int | sympy.Expr
Shape: TypeAlias = tuple[Dim, ...]


def dimension(value: Any) -> Dim:
    """Return ``value`` (an integer, a name, or a SymPy expression) as a canonical dimension."""
    if isinstance(value, str):
        if not value.isidentifier():
            raise ValueError(f"a named dimension must be a Python identifier, got {value!r}")
        return sympy.Symbol(value, integer=True, nonnegative=True)
    if isinstance(value, bool):
        raise TypeError(f"a dimension must be an integer or a name, got {value!r}")
    if isinstance(value, (int, np.integer)):
        if value < 0:
            raise ValueError(f"a dimension must not be negative, got {value}")
        return int(value)
    if isinstance(value, sympy.Expr):
        return canonical(value)
    raise TypeError(f"a dimension must be an integer or a name, got {value!r}")


def canonical(value: Any) -> Dim:
    """Expand a dimension expression, so that equal dimensions compare equal with ``==``."""
    if isinstance(value, int):
        return value
    expanded = sympy.expand(value)
    return int(expanded) if expanded.is_Integer else expanded


def shape_of(values: Any) -> Shape:
    """Return an integer, a name or a sequence of them as a shape."""
    if isinstance(values, (str, int, np.integer, sympy.Expr)):
        values = (values,)
    return tuple(dimension(value) for value in values)


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    return _product(tuple(dims))


@lru_cache(maxsize=4096)  # the same shapes come again and again, and algebra takes long
def _product(dims: Shape) -> Dim:
    result: Any = 1
    for dim in dims:
        result = result * dim
    return canonical(result)


def floor_divide(numerator: Dim, denominator: int) -> Dim:
    """Integer division of a dimension, exact where the expression allows it."""
    if isinstance(numerator, int):
        return numerator // denominator
    return canonical(sympy.floor(numerator / denominator))


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape under NumPy's broadcasting rule.

    Raises ValueError where two dimensions are neither equal nor 1. A named dimension is equal to
    itself only: whether ``batch`` is 10 is not known until the call.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        known: Dim = 1
        for shape in shapes:
            if len(shape) < -axis:
                continue
            dim = shape[axis]
            if dim == 1 or dim == known:
                continue
            if known != 1:
                raise ValueError(f"{format_dim(known)} and {format_dim(dim)} do not broadcast")
            known = dim
        result.append(known)
    return tuple(result)


class _PythonPrinter(StrPrinter):
    """SymPy's ``floor(n/2)`` is Python's ``n // 2``; spaces stand around ``*``."""

    def _print_floor(self, expression: sympy.Expr) -> str:
        numerator, denominator = sympy.fraction(sympy.together(expression.args[0]))
        return f"({self.parenthesize(numerator, PRECEDENCE['Mul'])} // {denominator})"

    def _print_Min(self, expression: sympy.Expr) -> str:
        return f"min({self.stringify(sorted(expression.args, key=str), ', ')})"

    def _print_Max(self, expression: sympy.Expr) -> str:
        return f"max({self.stringify(sorted(expression.args, key=str), ', ')})"

    def _print_Mul(self, expression: sympy.Expr) -> str:
        return re.sub(r" *(?<!\*)\*(?!\*) *", " * ", super()._print_Mul(expression))


def format_dim(dim: Dim) -> str:
    """A dimension in Python syntax, for messages and generated code."""
    if isinstance(dim, int):
        return str(dim)
    return _PythonPrinter({"order": "lex"}).doprint(dim)


def format_shape(shape: Shape) -> str:
    """A shape as Python prints a tuple: ``(batch, 64)``."""
    inner = ", ".join(format_dim(dim) for dim in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def symbols_of(dims: Iterable[Dim]) -> set[sympy.Symbol]:
    """The named dimensions that occur in ``dims``."""
    found: set[Any] = set()
    for dim in dims:
        if not isinstance(dim, int):
            found |= dim.free_symbols
    return found


def usual(dim: Dim) -> int:
    """The size of a dimension where something is chosen by it that is right for any size: a named one
    counts as 128."""
    if isinstance(dim, int):
        return dim
    return int(dim.subs(dict.fromkeys(dim.free_symbols, 128)))


def concrete(value: Any, sizes: Mapping[sympy.Symbol, int]) -> Any:
    """Replace named dimensions by their sizes in an attribute, inside tuples as well."""
    if isinstance(value, tuple):
        return tuple(concrete(item, sizes) for item in value)
    if isinstance(value, sympy.Symbol) and value in sizes:
        return int(sizes[value])
    if isinstance(value, sympy.Expr):
        result = value.subs(sizes)
        if not result.is_Integer:
            missing = ", ".join(sorted(str(symbol) for symbol in result.free_symbols))
            raise ValueError(f"the size of dimension {missing} is not known")
        return int(result)
    return value
