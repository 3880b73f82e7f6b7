"""exp and what is made of it: expm1, tanh and the logistic functions.

``x = n ln 2 + r`` with ``|r| <= ln(2)/2``, where ``n ln 2`` is taken off in two pieces whose first is
exact; a polynomial gives ``exp(r)``, and ``2**n`` is put together from its bits. The polynomials are
near-minimax (interpolation at Chebyshev nodes).
"""

import math

from staticgrad.vectormath.logarithm import FRACTION_BITS, LN2_HIGH, LN2_LOW, log1p
from staticgrad.vectormath.straightline import (
    as_bits,
    as_float,
    copy_sign,
    elementary,
    fma,
    magnitude,
    polynomial,
    select,
)  # fmt: skip

# (exp(r) - 1 - r) / r**2
EXPONENTIAL = {
    32: (0.5, 0.16666576989698775, 0.041666554617204574, 0.008363179052722578,
         0.0013926183587713494),
    64: (0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136,
         0.0013888888888883748, 0.00019841269874820627, 2.4801587325547743e-05,
         2.7557255400206422e-06, 2.75572736431103e-07, 2.5105217004720745e-08,
         2.0914686968086876e-09),
}  # fmt: skip
# added and taken off again, it rounds to an integer, which then stands in the lowest bits
ROUNDER = {32: 1.5 * 2**23, 64: 1.5 * 2**52}
BIAS = {32: 127, 64: 1023}
# exp is 0 below the first and infinite above the second
EXP_RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
# expm1 is -1 below the first
EXPM1_RANGE = {32: (-18.0, 89.0), 64: (-38.0, 710.0)}
# expm1(x) is x below, and its halves may not be subnormal
TINY = {32: 2.0**-25, 64: 2.0**-54}
# beyond, exp(-x) is nothing beside exp(x)
LARGE = {32: 20.0, 64: 40.0}
HALF_RANGE = {32: (-1.0, 90.0), 64: (-1.0, 711.0)}
# tanh is 1 to the last bit from here on
TANH_ONE = {32: 10.0, 64: 20.0}


def reduce(x, limits):
    """``n`` as an integer, and ``exp(r) - 1``. A NaN runs through to the second."""
    low, high = limits[x.bits]
    x = select(x < low, low, select(x > high, high, x))
    shifted = fma(x, 1 / math.log(2), ROUNDER[x.bits])
    n = shifted - ROUNDER[x.bits]
    r = fma(-n, LN2_LOW[x.bits], fma(-n, LN2_HIGH[x.bits], x))
    integer = as_bits(shifted) - as_bits(x.literal(ROUNDER[x.bits]))
    return integer, fma(polynomial(r, EXPONENTIAL[x.bits]), r * r, r)


def power_of_two(n, bits):
    """2**n for an ``n`` that gives a normal number."""
    return as_float((n + BIAS[bits]) << FRACTION_BITS[bits])


@elementary
def exp(x):
    """e**x within 1 ULP; subnormal results are rounded once."""
    n, fraction = reduce(x, EXP_RANGE)
    # two factors, since 2**n alone may be no normal number where the result is
    half = n >> 1
    return (fraction + 1.0) * power_of_two(half, x.bits) * power_of_two(n - half, x.bits)


@elementary
def expm1(x):
    """e**x - 1 within 2 ULP, for small ``x`` too."""
    n, fraction = reduce(x, EXPM1_RANGE)
    # half of 2**n, which alone may overflow
    scale = power_of_two(n - 1, x.bits)
    return select(magnitude(x) < TINY[x.bits], x, fma(scale, fraction, scale - 0.5) * 2.0)


@elementary
def tanh(x):
    """The hyperbolic tangent within 2 ULP, from ``t = exp(2|x|) - 1`` as ``t / (t + 2)``."""
    size = magnitude(x)
    t = expm1.formula(select(size > TANH_ONE[x.bits], TANH_ONE[x.bits], size) * 2.0)
    # 1 - 2 / (t + 2) loses less where the result is near 1
    small = size < 0.5
    numerator, denominator = select(small, t, 2.0), t + 2.0
    lost = t - (denominator - 2.0)
    inverse = 1.0 / denominator
    rough = numerator * inverse
    # what the roundings of the sum and of the quotient left out
    rest = fma(-rough, denominator, numerator) - rough * lost
    quotient = fma(rest, inverse, rough)
    return copy_sign(select(small, quotient, 1.0 - quotient), x)


@elementary
def sinh(x):
    """The hyperbolic sine within 2 ULP, from ``t = exp(|x|) - 1``."""
    size = magnitude(x)
    # one power of two less, which alone would overflow
    large = size > LARGE[x.bits]
    t = expm1.formula(select(large, 0.0, size))
    value = (t + t / (t + 1.0)) * 0.5
    return copy_sign(select(large, half_exp(size), value), x)


@elementary
def cosh(x):
    """The hyperbolic cosine within 2 ULP."""
    size = magnitude(x)
    large = size > LARGE[x.bits]
    e = exp.formula(select(large, 0.0, size))
    return select(large, half_exp(size), fma(e, 0.5, 0.5 / e))


def half_exp(x):
    """exp(x) / 2, which may be finite where exp(x) is not."""
    n, fraction = reduce(x, HALF_RANGE)
    half = (n - 1) >> 1
    return (fraction + 1.0) * power_of_two(half, x.bits) * power_of_two(n - 1 - half, x.bits)


@elementary
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow on either side."""
    e = exp.formula(-magnitude(x))
    return select(x >= 0.0, 1.0, e) / (e + 1.0)


@elementary
def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return select(x > 0.0, x, 0.0) + log1p.formula(exp.formula(-magnitude(x)))


@elementary
def log_sigmoid(x):
    """log(1 / (1 + exp(-x)))."""
    return -softplus.formula(-x)


@elementary
def logaddexp(x, y):
    """log(exp(x) + exp(y)), without overflow."""
    difference = x - y
    # equal infinities have no difference
    distance = select(x == y, 0.0, magnitude(difference))
    larger = select(x > y, x, y)
    total = larger + log1p.formula(exp.formula(-distance))
    return select(distance != distance, distance, total)
