"""Logarithms: ``x = 2**k (1 + f)`` with ``1 + f`` between sqrt(1/2) and sqrt(2).

``log(1 + f)`` is ``2 atanh(s)`` with ``s = f / (2 + f)``, arranged as in Sun's fdlibm (e_log.c), so
that the rounding of ``s`` enters scaled down: it is ``f - s (f - R)``. The polynomial is near-minimax
(interpolation at Chebyshev nodes).
"""

import math

from .straightline import (
    Value,
    as_bits,
    as_float,
    copy_sign,
    elementary,
    fma,
    polynomial,
    select,
)  # fmt: skip

# R / s**2 = (2 atanh(s) / s - 2) / s**2, in powers of s**2
ATANH = {
    32: (0.6666668504515603, 0.39988778282162807, 0.2958005304318844),
    64: (0.666666666666667, 0.39999999999899444, 0.2857142862600327, 0.22222211130259878,
         0.18182889455674947, 0.15331710618210773, 0.14616585424888623),
}  # fmt: skip
FRACTION_BITS = {32: 23, 64: 52}
SQRT_HALF_BITS = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
SMALLEST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}


def decompose(x):
    """``k`` as a float, and ``f``; for positive finite ``x``, else anything."""
    bits = x.bits
    subnormal = x < SMALLEST_NORMAL[bits]
    scaled = select(subnormal, x * 2.0 ** FRACTION_BITS[bits], x)
    exponent, f = split(scaled)
    k = as_number(exponent >> FRACTION_BITS[bits], x)
    return k - select(subnormal, x.literal(float(FRACTION_BITS[bits])), 0.0), f


def split(x):
    """The bits of ``k`` where a float has its exponent, and ``f``; for a positive normal ``x``."""
    pattern = as_bits(x)
    exponent = (pattern - SQRT_HALF_BITS[x.bits]) & (-1 << FRACTION_BITS[x.bits])
    return exponent, as_float(pattern - exponent) - 1.0


def as_number(integer, like):
    """A small integer as a float of the type of ``like``; in float64 from its bits, as not every
    processor converts 64 bits."""
    if like.bits == 32:
        return Value(like.builder, like.builder.sitofp(integer.value, like.type))
    shift = 1.5 * 2 ** FRACTION_BITS[like.bits]
    return as_float(integer + as_bits(like.literal(shift))) - shift


def log_of_sum(f):
    """log(1 + f), for ``1 + f`` between sqrt(1/2) and sqrt(2)."""
    s = f / (f + 2.0)
    z = s * s
    return fma(-s, fma(-z, polynomial(z, ATANH[f.bits]), f), f)


def at_the_edges(x, zero, result):
    """-inf at ``zero``, inf at inf, NaN below zero and at NaN."""
    result = select(x < math.inf, result, x)
    return select(x > zero, result, select(x == zero, x.literal(-math.inf), math.nan))


@elementary
def log(x):
    """The natural logarithm within 1.2 ULP."""
    k, f = decompose(x)
    return at_the_edges(x, 0.0, fma(k, math.log(2), log_of_sum(f)))


@elementary
def log2(x):
    """The logarithm to base 2 within 2 ULP, exact at powers of two."""
    k, f = decompose(x)
    return at_the_edges(x, 0.0, fma(log_of_sum(f), 1 / math.log(2), k))


@elementary
def log1p(x):
    """log(1 + x) within 2 ULP: what the rounding of the sum leaves out is added to ``f``."""
    bits = x.bits
    total = x + 1.0
    exponent, f = split(total)
    scale = as_bits(x.literal(1.0)) - exponent
    # times 2**-k; 0 instead of the least
    f = fma(x - (total - 1.0), as_float(select(scale > 0, scale, 0)), f)
    k = as_number(exponent >> FRACTION_BITS[bits], x)
    return copy_sign(at_the_edges(x, -1.0, fma(k, math.log(2), log_of_sum(f))), x)
