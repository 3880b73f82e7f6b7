"""Plain versions on the C library, until each has a vectorised formula."""

import math

from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.vectormath.straightline import (
    Value, call_libm, check_floats, copy_sign, elementary, magnitude, select,
)  # fmt: skip


@elementary
def exp(x):
    return call_libm("exp", x)


@elementary
def expm1(x):
    return call_libm("expm1", x)


@elementary
def log(x):
    return call_libm("log", x)


@elementary
def log1p(x):
    return call_libm("log1p", x)


@elementary
def log2(x):
    return call_libm("log2", x)


@elementary
def sin(x):
    return call_libm("sin", x)


@elementary
def cos(x):
    return call_libm("cos", x)


@elementary
def tan(x):
    return call_libm("tan", x)


@elementary
def asin(x):
    return call_libm("asin", x)


@elementary
def acos(x):
    return call_libm("acos", x)


@elementary
def atan(x):
    return call_libm("atan", x)


@elementary
def atan2(y, x):
    return call_libm("atan2", y, x)


@elementary
def sinh(x):
    return call_libm("sinh", x)


@elementary
def cosh(x):
    return call_libm("cosh", x)


@elementary
def tanh(x):
    return call_libm("tanh", x)


@elementary
def erf(x):
    return call_libm("erf", x)


@elementary
def erfc(x):
    return call_libm("erfc", x)


@elementary
def lgamma(x):
    return call_libm("lgamma", x)


@elementary
def power(x, y):
    return call_libm("pow", x, y)


@elementary
def hypot(x, y):
    return call_libm("hypot", x, y)


@elementary
def sigmoid(x):
    e = call_libm("exp", -magnitude(x))
    return select(x >= 0.0, 1.0, e) / (e + 1.0)


@elementary
def softplus(x):
    return select(x > 0.0, x, x * 0.0) + call_libm("log1p", call_libm("exp", -magnitude(x)))


@elementary
def log_sigmoid(x):
    return -softplus.formula(-x)


@elementary
def logaddexp(x, y):
    difference = x - y
    equal = x == y
    small = select(equal, 0.0 * x.literal(1.0), -magnitude(difference))
    larger = select(x > y, x, y)
    return select(
        equal,
        x + math.log(2),
        select(difference != difference, difference, larger)
        + call_libm("log1p", call_libm("exp", small)),
    )


# the even Bernoulli numbers B2, B4, ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330,
)  # fmt: skip


@elementary
def digamma(x):
    negative = x < 0.5
    y = select(negative, 1.0 - x, x)
    total = y.literal(0.0)
    for _ in range(10):
        total = total - 1.0 / y
        y = y + 1.0
    inverse_square = 1.0 / (y * y)
    series = y.literal(0.0)
    for k in range(len(BERNOULLI), 0, -1):
        series = inverse_square * (series + BERNOULLI[k - 1] / (2 * k))
    value = total + call_libm("log", y) - 0.5 / y - series
    pi_x = (x - call_round(x)) * math.pi
    reflected = value - math.pi / call_libm("tan", pi_x)
    pole = select(x == 0.0, copy_sign(x.literal(math.inf), -x), math.nan)
    integer = (x <= 0.0) & (x == call_round(x))
    return select(integer, pole, select(negative, reflected, value))


def call_round(x):
    from staticgrad.vectormath.straightline import call

    return call("llvm.rint", x)


@intrinsic(prefer_literal=True)
def polygamma(typing_context, n, x):
    """The derivative of order ``n`` of digamma."""
    if not isinstance(n, types.IntegerLiteral) or n.literal_value < 1:
        raise TypingError("polygamma's order is a literal integer, at least 1")
    check_floats("polygamma", (x,))
    order = n.literal_value

    def generate(context, builder, signature, values):
        return polygamma_formula(order, Value(builder, values[1])).value

    return x(n, x), generate


def polygamma_formula(order, x):
    negative = x < 0.5
    y = select(negative, 1.0 - x, x)
    factorial = math.factorial(order)
    total = y.literal(0.0)
    for _ in range(10 + order):
        power = y
        for _ in range(order):
            power = power * y
        total = total + factorial / power
        y = y + 1.0
    inverse = 1.0 / y
    scale = y.literal(1.0)
    for _ in range(order):
        scale = scale * inverse
    series = math.factorial(order - 1) + factorial / 2 * inverse
    term = inverse
    for k in range(1, len(BERNOULLI) + 1):
        term = term * inverse if k == 1 else term * inverse * inverse
        series = series + term * (
            BERNOULLI[k - 1] * math.factorial(2 * k + order - 1) / math.factorial(2 * k)
        )
    value = (total + scale * series) * (-1.0) ** (order + 1)
    # the derivative of order n of cot, as a polynomial in cot itself: c' = -(1 + c^2)
    coefficients = [0.0, 1.0]
    for _ in range(order):
        slope = [i * c for i, c in enumerate(coefficients)][1:]
        coefficients = [0.0] * (len(slope) + 2)
        for i, c in enumerate(slope):
            coefficients[i] -= c
            coefficients[i + 2] -= c
    cot = 1.0 / call_libm("tan", (x - call_round(x)) * math.pi)
    derivative = y.literal(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        derivative = derivative * cot + coefficient
    reflected = value * (-1.0) ** order - derivative * math.pi ** (order + 1)
    return select(negative, reflected, value)
