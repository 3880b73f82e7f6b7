"""digamma and polygamma: recurrence up to where the asymptotic series holds, and reflection.

Abramowitz and Stegun, Handbook of Mathematical Functions, 6.3 and 6.4. In float32 they are computed
in float64: the sums would lose several bits.
"""

import math

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.vectormath.libm import call_libm
from staticgrad.vectormath.straightline import (
    Value,
    call,
    check_floats,
    copy_sign,
    elementary,
    select,
)  # fmt: skip

# the Bernoulli numbers B2, B4, ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330,
)  # fmt: skip
# how far the recurrence goes up
STEPS = 10


def widened(x):
    if x.bits == 64:
        return x
    return Value(x.builder, x.builder.fpext(x.value, ir.DoubleType()))


def narrowed(value, like):
    if like.bits == 64:
        return value
    return Value(value.builder, value.builder.fptrunc(value.value, like.type))


def nearest_integer(x):
    return call("llvm.rint", x)


def cotangent_pi(x):
    """cot(pi x), from the distance to the nearest integer, which is exact."""
    return 1.0 / call_libm("tan", (x - nearest_integer(x)) * math.pi)


@elementary
def lgamma(x):
    """The logarithm of the gamma function's magnitude."""
    return call_libm("lgamma", x)


@elementary
def digamma(argument):
    """The logarithmic derivative of the gamma function; NaN at the negative integers."""
    x = widened(argument)
    reflect = x < 0.5
    y = select(reflect, 1.0 - x, x)
    total = y.literal(0.0)
    for _ in range(STEPS):
        total = total - 1.0 / y
        y = y + 1.0
    inverse_square = 1.0 / (y * y)
    series = y.literal(0.0)
    for k in range(len(BERNOULLI), 0, -1):
        series = inverse_square * (series + BERNOULLI[k - 1] / (2 * k))
    value = total + call_libm("log", y) - 0.5 / y - series
    value = select(reflect, value - math.pi * cotangent_pi(x), value)
    # the pole at zero has a sign on either side, as log has; the others have none
    pole = select(x == 0.0, copy_sign(x.literal(math.inf), -x), math.nan)
    return narrowed(select((x <= 0.0) & (x == nearest_integer(x)), pole, value), argument)


@intrinsic(prefer_literal=True)
def polygamma(typing_context, n, x):
    """The derivative of order ``n`` of digamma; ``n`` is a literal, at least 1."""
    if not isinstance(n, types.IntegerLiteral) or n.literal_value < 1:
        raise TypingError("polygamma's order is a literal integer, at least 1")
    check_floats("polygamma", (x,))
    order = n.literal_value

    def generate(context, builder, signature, values):
        argument = Value(builder, values[1])
        return narrowed(polygamma_formula(order, widened(argument)), argument).value

    return x(n, x), generate


def polygamma_formula(order, x):
    reflect = x < 0.5
    y = select(reflect, 1.0 - x, x)
    factorial = math.factorial(order)
    total = y.literal(0.0)
    for _ in range(STEPS + order):
        total = total + factorial / integer_power(y, order + 1)
        y = y + 1.0
    inverse = 1.0 / y
    series = math.factorial(order - 1) + factorial / 2 * inverse
    term = inverse * inverse
    for k, bernoulli in enumerate(BERNOULLI, start=1):
        series = series + term * (
            bernoulli * math.factorial(2 * k + order - 1) / math.factorial(2 * k)
        )
        term = term * inverse * inverse
    value = (total + integer_power(inverse, order) * series) * (-1.0) ** (order + 1)
    slope = cotangent_derivative(order, cotangent_pi(x)) * math.pi ** (order + 1)
    return select(reflect, value * (-1.0) ** order - slope, value)


def integer_power(x, n):
    result = x
    for _ in range(n - 1):
        result = result * x
    return result


def cotangent_derivative(order, cotangent):
    """The derivative of order ``order`` of cot: a polynomial in cot, since cot' = -(1 + cot**2)."""
    coefficients = [0.0, 1.0]
    for _ in range(order):
        slope = [power * c for power, c in enumerate(coefficients)][1:]
        coefficients = [0.0] * (len(slope) + 2)
        for power, c in enumerate(slope):
            coefficients[power] -= c
            coefficients[power + 2] -= c
    result = cotangent.literal(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * cotangent + coefficient
    return result
