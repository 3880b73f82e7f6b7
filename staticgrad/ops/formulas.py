"""SymPy formulas read as ops: applied to nodes, to NumPy arrays, or to expressions that are printed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from staticgrad.graph.compose import number
from staticgrad.graph.expression import Expression, Power
from staticgrad.graph.node import Node
from staticgrad.ops.convert import as_node
from staticgrad.ops.table import FUNCTIONS

if TYPE_CHECKING:
    from staticgrad.ops.elementwise import Elementwise

#: which op a SymPy function stands for in a formula
HEADS: dict[Any, Elementwise] = {}


def translate(formula: Any, environment: Mapping[Any, Any], like: Any) -> Any:
    """A SymPy formula as ops applied to what its symbols stand for: nodes, or NumPy arrays.

    Numbers stay Python numbers, which adapt to the dtype beside them; a formula that is a number
    altogether becomes one of the dtype and shape of ``like``. A function that no op stands for is
    an error: formulas never fall back on anything unknown.
    """
    arrays = not isinstance(like, Node)
    result = reading(sympy.sympify(formula))(environment, _apply_array if arrays else _apply_node)
    if isinstance(result, (int, float)):
        if arrays:
            return np.full_like(like, result)
        from staticgrad.ops.convert import broadcast

        return broadcast(as_node(result, like.dtype), like.shape)
    return result


#: applies an op, given by name, to values with options
Apply = Callable[..., Any]
#: a formula, ready to be computed: of what its symbols stand for, and of how ops are applied
Reading = Callable[[Mapping[Any, Any], Apply], Any]


def _apply_array(name: str, *values: Any, **options: Any) -> Any:
    from staticgrad.ops.table import OPS

    op = OPS[name]
    if all(isinstance(value, (int, float)) for value in values):
        return op.execute([np.asarray(float(value)) for value in values], options).item()
    return op.execute(_in_dtype(values), {**getattr(op, "options", {}), **options})


def apply_expression(name: str, *values: Any, **options: Any) -> Expression:
    """An op, given by name, applied to expressions."""
    from staticgrad.ops.table import OPS

    operands = [value if isinstance(value, Expression) else number(value) for value in values]
    if name == "pow":
        return Power(*operands)
    op: Any = OPS[name]
    return op.compose(operands, {**op.options, **options})


def _apply_node(name: str, *values: Any, **options: Any) -> Any:
    if all(isinstance(value, (int, float)) for value in values):
        return _apply_array(name, *values, **options)
    return FUNCTIONS[name](*values, **options)


@functools.lru_cache(maxsize=4096)
def reading(expression: Any) -> Reading:
    """How to compute a formula. To walk through SymPy's trees takes much longer than to compute, so
    it is done once for each formula."""
    if expression.is_Symbol:
        return lambda environment, apply: environment[expression]
    if expression.is_Integer:
        return _constant_reading(int(expression))
    if expression.is_number and not expression.has(sympy.Function):
        return _constant_reading(float(expression))
    if expression.is_Add:
        return _sum(expression)
    if expression.is_Mul:
        return _product(expression)
    if expression.is_Pow:
        return _power(expression)
    if isinstance(expression, sympy.polygamma):
        order, argument = reading(expression.args[0]), reading(expression.args[1])
        name = HEADS[sympy.polygamma].name
        return lambda environment, apply: apply(
            name, argument(environment, apply), order=int(order(environment, apply))
        )
    if isinstance(expression, (sympy.Max, sympy.Min)):
        name = "maximum" if isinstance(expression, sympy.Max) else "minimum"
        first, *rest = sorted(expression.args, key=lambda item: (item.is_number, str(item)))
        result = reading(first)
        for item in rest:
            result = _combine(name, result, reading(item))
        return result
    op = HEADS.get(expression.func)
    if op is None:
        raise ValueError(f"no op stands for {expression.func.__name__} in {expression}")
    count = len(op.arguments)
    if len(expression.args) == count:
        return _call(op.name, expression.args)
    arguments = [reading(argument) for argument in expression.args]
    names = tuple(op.options)

    def with_options(environment: Mapping[Any, Any], apply: Apply) -> Any:
        values = [argument(environment, apply) for argument in arguments]
        options = dict(zip(names, values[count:], strict=False))
        return apply(op.name, *values[:count], **options)

    return with_options


def _constant_reading(value: Any) -> Reading:
    return lambda environment, apply: value


def _call(name: str, arguments: Sequence[Any]) -> Reading:
    readings = [reading(argument) for argument in arguments]
    return lambda environment, apply: apply(
        name, *[reading(environment, apply) for reading in readings]
    )


def _combine(name: str, left: Reading, right: Reading) -> Reading:
    return lambda environment, apply: apply(
        name, left(environment, apply), right(environment, apply)
    )


def _of(name: str, argument: Reading) -> Reading:
    return lambda environment, apply: apply(name, argument(environment, apply))


def _in_dtype(values: Sequence[Any]) -> list[Any]:
    """Python numbers as scalars of the floating dtype of the arrays beside them."""
    dtype = next((v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"), None)
    if dtype is None:
        return list(values)
    return [dtype.type(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else v
            for v in values]  # fmt: skip


def _sum(expression: Any) -> Reading:
    """Terms in reading order: ``1 - square(out)``, not ``-square(out) + 1``."""
    positive = [term for term in expression.args if not term.could_extract_minus_sign()]
    negative = [-term for term in expression.args if term.could_extract_minus_sign()]
    positive.sort(key=lambda term: (not term.is_number, str(term)))
    if positive:
        result = reading(positive[0])
    else:
        result = _of("negative", reading(negative.pop(0)))
    for term in positive[1:]:
        result = _combine("add", result, reading(term))
    for term in sorted(negative, key=str):
        result = _combine("subtract", result, reading(term))
    return result


def _product(expression: Any) -> Reading:
    """A number first, then the factors, over the product of what divides."""
    number, rest = expression.as_coeff_Mul()
    factors, divisors = [], []
    for factor in sympy.Mul.make_args(rest):
        if factor.is_number:
            number = number * factor
        elif factor.is_Pow and factor.exp.is_number and factor.exp == -1:
            divisors.append(factor.base)
        else:
            factors.append(factor)
    if not factors:
        result: Any = reading(number)
        number = sympy.Integer(1)
    else:
        result = None
        if number not in (1, -1):
            result = reading(number)
        for factor in sorted(factors, key=str):
            value = reading(factor)
            result = value if result is None else _combine("multiply", result, value)
        if number == -1:
            result = _of("negative", result)
    if divisors:
        bottom = reading(divisors[0])
        for divisor in divisors[1:]:
            bottom = _combine("multiply", bottom, reading(divisor))
        result = _combine("divide", result, bottom)
    return result


def _power(expression: Any) -> Reading:
    base, exponent = expression.base, expression.exp
    if base is sympy.E:
        return _of("exp", reading(exponent))
    value = reading(base)
    if exponent == 2:
        return _of("square", value)
    if exponent == 3:
        return _combine("multiply", _of("square", value), value)
    if exponent == sympy.Rational(1, 2):
        return _of("sqrt", value)
    if exponent == -sympy.Rational(1, 2):
        return _of("rsqrt", value)
    if exponent.is_number and exponent < 0:
        return _combine("divide", _constant_reading(1.0), reading(base**-exponent))
    return _combine("pow", value, reading(exponent))
