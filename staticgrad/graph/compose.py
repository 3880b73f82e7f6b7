"""Expressions put together as one writes on paper.

Products are flat, with one sign, one number and one fraction bar; what would be added negative is
subtracted; numbers that are square roots or multiples of pi are written as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.dims import Dim
from staticgrad.graph.expression import (
    Call,
    Constant,
    Expression,
    Infix,
    Number,
    Power,
    Product,
    Root,
    Symbol,
    Transpose,
    Values,
)


def number(value: Any) -> Number:
    """A scalar, Python's or NumPy's. Whole numbers lose their point."""
    if isinstance(value, (bool, np.bool_)):
        return Number(bool(value))
    if isinstance(value, (int, np.integer)):
        return Number(int(value))
    single = isinstance(value, np.float32)
    # in the fewest digits that give it back in its own precision
    exact = float(np.format_float_scientific(value)) if math.isfinite(value) else float(value)
    if exact.is_integer() and abs(exact) < 1e15:
        return Number(int(exact))
    return Number(exact, single)


def spelled(expression: Expression) -> Expression:
    """A number with many digits as a fraction of square roots and pi, or as a logarithm of one, if
    it is that."""
    if isinstance(expression, Product):
        found = [spelled(item) if isinstance(item, Number) else item for item in expression.factors]
        below = [
            spelled(item) if isinstance(item, Number) else item for item in expression.divisors
        ]
        if found == [*expression.factors] and below == [*expression.divisors]:
            return expression
        result = product(found, below)
        return negative(result) if expression.negative else result
    if not isinstance(expression, Number) or not isinstance(expression.value, float):
        return expression
    value = expression.value
    if not math.isfinite(value) or len(f"{abs(value):.17g}".strip("0.").replace(".", "")) < 7:
        return expression
    tolerance = 4e-7 if expression.single else 1e-15
    known = _surd(abs(value), tolerance) or _logarithm(abs(value), tolerance)
    if known is None:
        return expression
    return negative(known) if value < 0 else known


def _surd(value: float, tolerance: float) -> Expression | None:
    """A number as a fraction of square roots of small numbers and pi; None where it is no such."""
    for power in (0, 1, -1, 2, -2):
        ratio = value * value / math.pi**power
        guess = Fraction(ratio).limit_denominator(16)
        if not 0 < guess.numerator <= 16 or abs(ratio / float(guess) - 1) > tolerance:
            continue
        above, below = _root(guess.numerator, power), _root(guess.denominator, -power)
        return product(above, below)
    return None


def _logarithm(value: float, tolerance: float) -> Expression | None:
    """A number as half the logarithm of a small number, or of one times pi: log(2 pi) / 2."""
    if value > 4:
        return None
    for power in (0, 1):
        ratio = math.exp(2 * value) / math.pi**power
        guess = Fraction(ratio).limit_denominator(16)
        if not 0 < guess.numerator <= 64 or abs(ratio / float(guess) - 1) > 4 * tolerance:
            continue
        above, below = math.isqrt(guess.numerator), math.isqrt(guess.denominator)
        if not power and (above**2, below**2) == guess.as_integer_ratio():
            return Call("log", (divided(Number(above), Number(below)),))
        inner = divided(Number(guess.numerator), Number(guess.denominator))
        inner = product([inner, Constant("pi")]) if power else inner
        return divided(Call("log", (inner,)), Number(2))
    return None


def _root(whole: int, power: int) -> list[Expression]:
    """The factors of the square root of a whole number and a power of pi: 2 and sqrt(3) for 12."""
    outside = max(k for k in range(1, whole + 1) if whole % (k * k) == 0)
    inside = whole // (outside * outside)
    under: list[Expression] = [Number(inside)] if inside > 1 else []
    under += [Constant("pi")] if power == 1 else []
    result: list[Expression] = [Number(outside)] if outside > 1 else []
    result += [Root(product(under))] if under else []
    return [*result, Constant("pi")] if power == 2 else result


def values(array: np.ndarray) -> Expression:
    """A constant array."""
    if array.ndim == 0:
        return number(array[()])
    if array.size > 4:
        return Values(None, array.shape, id(array), rank=array.ndim)
    return Values(_nested(array.tolist()), array.shape, rank=array.ndim)


def _nested(items: Any) -> Any:
    return tuple(map(_nested, items)) if isinstance(items, list) else number(items).value


def dimension(dim: Dim) -> Expression:
    """A dimension: an integer, or an expression of named ones."""
    if isinstance(dim, int):
        return Number(dim)
    if dim.is_Symbol:
        return Symbol(str(dim), str(dim))
    if dim.is_Rational:
        return divided(Number(int(dim.p)), Number(int(dim.q)))
    if dim.is_Add:
        first, *rest = dim.as_ordered_terms()
        result = dimension(first)
        for term in rest:
            result = plus(result, dimension(term))
        return result
    if dim.is_Mul:
        return product([dimension(factor) for factor in dim.args])
    if dim.is_Pow:
        return Power(dimension(dim.base), dimension(dim.exp))
    if isinstance(dim, sympy.floor):
        numerator, denominator = sympy.fraction(sympy.together(dim.args[0]))
        return Infix("//", dimension(numerator), dimension(denominator))
    raise ValueError(f"no expression stands for the dimension {dim}")


def plus(left: Expression, right: Expression) -> Expression:
    """The sum; a difference where the right operand is negative, twice the one of two equal ones."""
    if left == right and not isinstance(left, Number):
        return product([Number(2), left])
    if is_negative(right):
        return Infix("-", left, negative(right), rank=_rank(left, right))
    return Infix("+", left, right, rank=_rank(left, right))


def minus(left: Expression, right: Expression) -> Expression:
    if is_negative(right):
        return plus(left, negative(right))
    return Infix("-", left, right, rank=_rank(left, right))


def transposed(operand: Expression, stacked: bool = False) -> Expression:
    """The transpose; the operand of a transpose, and the product of transposes for a product's."""
    if isinstance(operand, Infix) and operand.operator == "@":
        left, right = operand.left, operand.right
        if left.rank == right.rank == 2 + (operand.rank > 2):
            return replace(
                operand, left=transposed(right, stacked), right=transposed(left, stacked)
            )
    if isinstance(operand, Transpose) and operand.stacked == stacked:
        return operand.operand
    return Transpose(operand, stacked, rank=operand.rank)


def times(left: Expression, right: Expression, sort: bool = False) -> Expression:
    """The elementwise product; ``sort`` puts what is short to read before what is long."""
    return product([left, right], sort=sort)


def divided(left: Expression, right: Expression, sort: bool = False) -> Expression:
    """The elementwise quotient."""
    return product([left], [right], sort=sort)


def negative(operand: Expression) -> Expression:
    if isinstance(operand, Number) and not isinstance(operand.value, bool):
        return Number(-operand.value, operand.single)
    if isinstance(operand, Product):
        return replace(operand, negative=not operand.negative)
    if isinstance(operand, Infix) and operand.operator == "-" and is_negative(operand.left):
        return minus(negative(operand.left), negative(operand.right))
    return Product((operand,), (), True, rank=operand.rank)


def is_negative(operand: Expression) -> bool:
    if isinstance(operand, Number):
        return not isinstance(operand.value, bool) and operand.value < 0
    return isinstance(operand, Product) and operand.negative


def product(
    factors: Sequence[Expression], divisors: Sequence[Expression] = (), sort: bool = False
) -> Expression:
    """Factors over divisors as one product, products among them taken apart.

    ``sort`` collects powers of the same, and puts what is short to read before what is long.
    """
    above: list[Expression] = []
    below: list[Expression] = []
    sign, single = False, False
    top, bottom = 1.0, 1.0
    for operands, inverted in ((factors, False), (divisors, True)):
        for operand in operands:
            known = operand if isinstance(operand, Product) else Product((operand,))
            sign ^= known.negative
            for inner, flipped in ((known.factors, inverted), (known.divisors, not inverted)):
                for item in inner:
                    if not _folds(item):
                        (below if flipped else above).append(item)
                        continue
                    assert isinstance(item, Number)
                    single |= item.single
                    if flipped:
                        bottom *= item.value
                    else:
                        top *= item.value
    sign ^= (top < 0) ^ (bottom < 0)
    top, bottom = _cancelled(abs(top), abs(bottom))
    if sort:
        above, below = _collected(above, below)
        above.sort(key=lambda item: item.weight)
    # a product of nothing is 1
    numbers = [_whole(top, single)] if top != 1 or not above else []
    result = (*numbers, *above)
    divide = (*([_whole(bottom, single)] if bottom != 1 else []), *below)
    if len(result) == 1 and not divide:
        return negative(result[0]) if sign else result[0]
    return Product(result, divide, sign, rank=_rank(*above, *below))


def _collected(
    above: Sequence[Expression], below: Sequence[Expression]
) -> tuple[list[Expression], list[Expression]]:
    """Factors and divisors in which nothing occurs twice: as powers."""
    exponents: dict[Expression, Fraction] = {}
    for items, sign in ((above, 1), (below, -1)):
        for item in items:
            base, exponent = item, Fraction(1)
            if isinstance(item, Root):
                base, exponent = item.operand, Fraction(1, 2)
            elif isinstance(item, Power) and _is_whole(item.exponent):
                base, exponent = item.base, Fraction(item.exponent.value)  # type: ignore
            exponents[base] = exponents.get(base, Fraction(0)) + sign * exponent
    factors = [_powered(base, exponent) for base, exponent in exponents.items() if exponent > 0]
    divisors = [_powered(base, -exponent) for base, exponent in exponents.items() if exponent < 0]
    return factors, divisors


def _powered(base: Expression, exponent: Fraction) -> Expression:
    if exponent == 1:
        return base
    if exponent.denominator == 2:
        root, times = Root(base, rank=base.rank), exponent.numerator
        return root if times == 1 else Power(root, Number(times), rank=base.rank)
    return Power(base, Number(int(exponent)), rank=base.rank)


def _is_whole(exponent: Expression) -> bool:
    return isinstance(exponent, Number) and isinstance(exponent.value, int)


def squared(power: Power) -> Expression:
    """A power of a number times something, as the number's power times that of the other."""
    base, exponent = power.base, power.exponent
    if not isinstance(exponent, Number) or not isinstance(exponent.value, int):
        return power
    if not isinstance(base, Product) or exponent.value < 2:
        return power
    numbers = [item for item in base.parts() if isinstance(item, Number)]
    others = [item for item in base.parts() if not isinstance(item, Number)]
    if len(others) != 1 or not numbers:
        return power
    factors, divisors = (
        [
            Number(item.value**exponent.value, item.single)
            if isinstance(item, Number)
            else Power(item, exponent, rank=item.rank)
            for item in items
        ]
        for items in (base.factors, base.divisors)
    )
    result = product(factors, divisors)
    return negative(result) if base.negative and exponent.value % 2 else result


def _folds(item: Expression) -> bool:
    """Whether a factor is a number that can be multiplied with others."""
    return (
        isinstance(item, Number)
        and not isinstance(item.value, bool)
        and math.isfinite(item.value)
        and item.value != 0
    )


def _whole(value: float, single: bool) -> Number:
    return replace(number(value), single=single and not value.is_integer())


def _cancelled(top: float, bottom: float) -> tuple[float, float]:
    """A fraction of numbers in its shortest form: whole numbers, or one number."""
    if top.is_integer() and bottom.is_integer() and max(top, bottom) < 2**53:
        common = math.gcd(int(top), int(bottom))
        return top / common, bottom / common
    value = top / bottom
    mantissa, exponent = math.frexp(value)
    if mantissa == 0.5 and -10 <= exponent <= 0:
        return 1.0, 1 / value
    return (top, bottom) if top == 1 else (value, 1.0)


def _rank(*operands: Expression) -> int:
    return max((operand.rank for operand in operands), default=0)
