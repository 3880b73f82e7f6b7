"""Expressions as plain text: Python's syntax, in as few parentheses as it needs to be read right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import spelled
from staticgrad.graph.expression import (
    Along,
    Call,
    Choice,
    Constant,
    Contraction,
    Expression,
    Fenced,
    Indexed,
    Indicator,
    Infix,
    Listed,
    Method,
    Negation,
    Number,
    Positions,
    Power,
    Product,
    Range,
    Root,
    Symbol,
    Transpose,
    Values,
)

#: how tightly things bind, from loose to tight; what stands by itself is an atom
CHOICE, COMPARE, OR, AND, SUM, PRODUCT, POWER, ATOM = range(8)
BINDING = {"|": OR, "&": AND, "+": SUM, "-": SUM, "@": PRODUCT, "//": PRODUCT, "%": PRODUCT}


def binding(expression: Expression) -> int:
    """How tightly an expression holds together."""
    if isinstance(expression, Infix):
        return BINDING.get(expression.operator, COMPARE)
    if isinstance(expression, Product):
        return SUM if expression.negative else PRODUCT
    if isinstance(expression, Number) and not isinstance(expression.value, bool):
        return SUM if expression.value < 0 else ATOM
    return POWER if isinstance(expression, Power) else ATOM


def plain(expression: Expression) -> str:
    """An expression as text."""
    expression = spelled(expression)
    return _WRITERS[type(expression)](expression)


def format_value(value: Any) -> str:
    """A number in the fewest digits that give it back."""
    if isinstance(value, (bool, int)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if 1e-3 <= abs(value) < 1e16 or value == 0:
        return np.format_float_positional(value, trim="0")
    mantissa, _, exponent = np.format_float_scientific(value, trim="0").partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _held(expression: Expression, least: int) -> str:
    expression = spelled(expression)
    text = plain(expression)
    return text if binding(expression) >= least else f"({text})"


def _infix(expression: Infix) -> str:
    operator, left, right = expression.operator, expression.left, expression.right
    own = BINDING.get(operator, COMPARE)
    # only what stands on the left may bind equally; chains of comparisons mean something else
    first = own + (own == COMPARE)
    if operator == "@":
        # elementwise and matrix products beside each other are hard to tell apart
        first = PRODUCT if isinstance(left, Infix) and left.operator == "@" else POWER
    return f"{_held(left, first)} {operator} {_held(right, own + 1)}"


def _product(expression: Product) -> str:
    sign = "-" if expression.negative else ""
    factors = []
    for position, factor in enumerate(expression.factors):
        alone = position == 0 and not isinstance(factor, Product)
        factors.append(_held(factor, PRODUCT if alone else POWER))
    text = sign + " * ".join(factors)
    if not expression.divisors:
        return text
    if len(expression.divisors) == 1:
        return f"{text} / {_held(expression.divisors[0], POWER)}"
    return f"{text} / ({' * '.join(_held(item, POWER) for item in expression.divisors)})"


def _power(expression: Power) -> str:
    base, exponent = _held(expression.base, ATOM), _held(expression.exponent, ATOM)
    simple = all(
        isinstance(part, (Symbol, Number)) for part in (expression.base, expression.exponent)
    )
    return f"{base}**{exponent}" if simple or (base.endswith(")") and isinstance(
        expression.exponent, Number
    )) else f"{base} ** {exponent}"  # fmt: skip


def _call(expression: Call) -> str:
    texts = [plain(argument) for argument in expression.arguments]
    texts += [f"{key}={format_option(value)}" for key, value in expression.options]
    return f"{expression.name}({', '.join(texts)})"


def format_option(value: Any) -> str:
    """An option of a call."""
    if isinstance(value, tuple):
        inner = ", ".join(format_option(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return plain(value) if isinstance(value, Expression) else str(value)


def _along(expression: Along) -> str:
    texts = [plain(argument) for argument in expression.arguments]
    axes = expression.axes
    if axes is not None:
        texts.append(f"axis={axes[0] if len(axes) == 1 else axes}")
    texts += [f"{key}={format_option(value)}" for key, value in expression.options]
    return f"{expression.name}({', '.join(texts)})"


def _index(expression: Indexed) -> str:
    places = _listed(expression.places)
    if expression.function:
        return f"{expression.function}({plain(expression.operand)} at [{places}])"
    return f"{_held(expression.operand, ATOM)}[{places}]"


def _slice(expression: Range) -> str:
    start, stop, step = expression.start, expression.stop, expression.step
    text = f"{plain(start) if start else ''}:{plain(stop) if stop else ''}"
    return f"{text}:{plain(step)}" if step else text


def _positions(expression: Positions) -> str:
    behind = expression.rank - 1 - expression.axis
    return f"arange({plain(expression.size)})" + (f"[:{', None' * behind}]" if behind else "")


def _listed(items: Sequence[Expression]) -> str:
    return ", ".join(plain(item) for item in items)


def _values(expression: Values) -> str:
    if expression.elements is None:
        return f"constant{expression.shape}"
    return _bracketed(expression.elements)


def _bracketed(elements: Any) -> str:
    if not isinstance(elements, tuple):
        return format_value(elements)
    return f"[{', '.join(map(_bracketed, elements))}]"


_WRITERS: dict[type, Any] = {
    Symbol: lambda e: e.name,
    Number: lambda e: format_value(e.value),
    Constant: lambda e: e.name,
    Values: _values,
    Infix: _infix,
    Product: _product,
    Power: _power,
    Root: lambda e: f"sqrt({plain(e.operand)})",
    Fenced: lambda e: f"{e.name}({plain(e.operand)})",
    Negation: lambda e: f"logical_not({plain(e.operand)})",
    Call: _call,
    Along: _along,
    Transpose: lambda e: f"{_held(e.operand, ATOM)}.{'mT' if e.stacked else 'T'}",
    Method: lambda e: f"{_held(e.operand, ATOM)}.{e.name}({_listed(e.arguments)})",
    Range: _slice,
    Indexed: _index,
    Contraction: lambda e: f"einsum('{e.subscripts}', {_listed((e.left, e.right))})",
    Positions: _positions,
    Listed: lambda e: f"[{_listed(e.items)}]",
    Indicator: lambda e: f"{e.dtype}({plain(e.condition)})",
    Choice: lambda e: f"where({plain(e.condition)}, {plain(e.chosen)}, {plain(e.other)})",
}
