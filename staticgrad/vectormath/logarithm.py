"""Logarithms: ``x = 2**k (1 + f)`` with ``1 + f`` between sqrt(1/2) and sqrt(2).

``log(1 + f)`` is ``2 atanh(s)`` with ``s = f / (2 + f)``, arranged as in Sun's fdlibm (e_log.c), so
that the rounding of ``s`` enters scaled down; the polynomial is near-minimax (interpolation at
Chebyshev nodes).
"""

import math

from staticgrad.vectormath.straightline import (
    as_bits,
    as_float,
    elementary,
    fma,
    magnitude,
    polynomial,
    select,
)  # fmt: skip

# (2 atanh(s) / s - 2) / s**2, in powers of s**2
ATANH = {
    32: (0.6666668504515603, 0.39988778282162807, 0.2958005304318844),
    64: (0.666666666666667, 0.39999999999899444, 0.2857142862600327, 0.22222211130259878,
         0.18182889455674947, 0.15331710618210773, 0.14616585424888623),
}  # fmt: skip
# ln 2 in two pieces; the first has so few bits that its products with exponents are exact
LN2_HIGH = {32: 0.693359375, 64: 0.6931471803691238}
LN2_LOW = {32: -0.00021219444005469057, 64: 1.9082149292705877e-10}
FRACTION_BITS = {32: 23, 64: 52}
SQRT_HALF_BITS = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
SMALLEST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}


def decompose(x):
    """``k`` as a float, and ``f``; for positive finite ``x``, else anything."""
    bits = x.bits
    subnormal = x < SMALLEST_NORMAL[bits]
    scaled = select(subnormal, x * 2.0 ** FRACTION_BITS[bits], x)
    pattern = as_bits(scaled)
    exponent = (pattern - SQRT_HALF_BITS[bits]) >> FRACTION_BITS[bits]
    f = as_float(pattern - (exponent << FRACTION_BITS[bits])) - 1.0
    k = as_number(exponent, x) - select(subnormal, x.literal(float(FRACTION_BITS[bits])), 0.0)
    return k, f


def as_number(integer, like):
    """A small integer as a float of the type of ``like``, from its bits."""
    shift = 1.5 * 2 ** FRACTION_BITS[like.bits]
    return as_float(integer + as_bits(like.literal(shift))) - shift


def half_square_and_rest(f):
    """``h`` and ``q`` with ``log(1 + f) = f - (h - q)``, ``h = f**2 / 2``."""
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    return half, s * fma(z, polynomial(z, ATANH[f.bits]), half)


def at_the_edges(x, result):
    """-inf at zero, inf at inf, NaN below zero and at NaN."""
    result = select(x == math.inf, x, result)
    result = select(x == 0.0, -math.inf, result)
    return select(x >= 0.0, result, math.nan)


@elementary
def log(x):
    """The natural logarithm within 1 ULP."""
    k, f = decompose(x)
    half, rest = half_square_and_rest(f)
    low = fma(k, LN2_LOW[x.bits], rest)
    return at_the_edges(x, fma(k, LN2_HIGH[x.bits], f - (half - low)))


@elementary
def log2(x):
    """The logarithm to base 2 within 2 ULP, exact at powers of two."""
    k, f = decompose(x)
    half, rest = half_square_and_rest(f)
    return at_the_edges(x, fma(f - (half - rest), 1 / math.log(2), k))


@elementary
def log1p(x):
    """log(1 + x) within 2 ULP: the logarithm of the rounded sum, and a correction for what was
    rounded away."""
    total = x + 1.0
    correction = (x - (total - 1.0)) / total
    # at -1 and at infinity there is nothing to correct
    correction = select(magnitude(correction) < math.inf, correction, 0.0)
    return select(x == 0.0, x, log.formula(total) + correction)
