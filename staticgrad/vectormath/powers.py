"""Powers and the hypotenuse."""

import math

from llvmlite import ir

from staticgrad.vectormath.exponential import EXP_RANGE, ROUNDER, exp2_of_rest, power_of_two, reduce
from staticgrad.vectormath.logarithm import decompose
from staticgrad.vectormath.straightline import (
    Value,
    as_bits,
    call,
    copy_sign,
    elementary,
    fma,
    is_nan,
    magnitude,
    narrowed,
    polynomial,
    select,
    widened,
)  # fmt: skip

# (2 atanh(s) - 2s - 2/3 s**3) / s**5 in powers of s**2
ATANH_TAIL = (
    0.4, 0.28571428571429486, 0.22222222221583057, 0.18181818351736828, 0.15384593233666857,
    0.1333489778380404, 0.11703768295085705, 0.11748731295085944,
)  # fmt: skip
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
# ln 2 in two pieces; the first has so few bits that its products with exponents are exact
LN2_PIECES = (0.693147180559663, 2.8235290563031577e-13)
# log2(1 + f) / s in powers of s**2, with s = f / (2 + f), for results of 24 bits
LOG2 = (2.8853900817779268, 0.9617966923113125, 0.5770797720509128, 0.4119014529988005,
        0.33658375496218274)  # fmt: skip
# 2**q is 0 below the first and infinite above the second in float32
EXP2_RANGE = (-152.0, 129.0)


def two_sum(a, b):
    """a + b and what its rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def ordered_sum(a, b):
    """The same in fewer steps, where ``|a| >= |b|`` or ``a`` is zero (Dekker)."""
    total = a + b
    return total, b - (total - a)


def double_log(x):
    """log(x) for positive finite x as the sum of two numbers, to 66 bits or so."""
    k, f = decompose(x)
    divisor = f + 2.0
    lost_divisor = f - (divisor - 2.0)
    inverse = 1.0 / divisor
    s = f * inverse
    s_low = fma(-s, lost_divisor, fma(-s, divisor, f)) * inverse
    z = s * s
    double = s + s
    z_low = fma(double, s_low, fma(s, s, -z))
    # s**3 and two thirds of it
    cube = z * s
    cube_low = fma(z_low, s, fma(z, s_low, fma(z, s, -cube)))
    third = cube * TWO_THIRDS[0]
    low = fma(s_low, 2.0, polynomial(z, ATANH_TAIL) * (z * cube))
    low = fma(cube_low, TWO_THIRDS[0], fma(cube, TWO_THIRDS[1], low))
    low = low + fma(cube, TWO_THIRDS[0], -third)
    high, lost = ordered_sum(double, third)
    total, rest = ordered_sum(k * LN2_PIECES[0], high)
    return ordered_sum(total, rest + fma(k, LN2_PIECES[1], lost + low))


def exp_of_sum(high, low):
    """exp(high + low), with a ``low`` below the last bit of ``high``."""
    n, fraction = reduce(high, EXP_RANGE)
    scaled = fma(low, fraction + 1.0, fraction) + 1.0
    half = n >> 1
    return scaled * power_of_two(half, high.bits) * power_of_two(n - half, high.bits)


def endless_at_the_edges(a, finite):
    """``finite``, but -inf, inf and NaN where the logarithm of ``a`` is."""
    return select(a < math.inf, select(a == 0.0, finite.literal(-math.inf), finite), a)


def power32(a, y):
    """a**y for float32 and ``a`` from 0 up: y log2(a) in float64, and a power of 2 in float32."""
    k, f = decompose(a)
    k, f, y = widened(endless_at_the_edges(a, k)), widened(f), widened(y)
    s = f / (f + 2.0)
    q = y * fma(s, polynomial(s * s, LOG2), k)
    low, high = EXP2_RANGE
    q = select(q < low, low, select(q > high, high, q))
    shifted = q + ROUNDER[64]
    r = narrowed(q - (shifted - ROUNDER[64]), a)
    n = as_bits(shifted)
    n = Value(n.builder, n.builder.trunc(n.value, ir.IntType(32)))
    half = n >> 1
    return exp2_of_rest(r) * power_of_two(half, 32) * power_of_two(n - half, 32)


def power64(a, y):
    """a**y for float64 and ``a`` from 0 up."""
    high, low = double_log(a)
    high = endless_at_the_edges(a, high)
    product = y * high
    rest = fma(y, high, -product) + y * low
    # where the product is out of range, there is nothing to correct
    inside = magnitude(product) < 800.0
    return exp_of_sum(product, select(inside, rest, 0.0))


@elementary
def power(x, y):
    """x**y within 1.5 ULP; at zeros and infinities as C99's pow."""
    a = magnitude(x)
    value = power32(a, y) if x.bits == 32 else power64(a, y)
    value = select((y == 0.0) | (a == 1.0), 1.0, value)
    whole = call("llvm.floor", y) == y
    half = y * 0.5
    odd = whole & (call("llvm.floor", half) != half)
    value = select(odd, copy_sign(value, x), value)
    return select((x < 0.0) & ~whole & (a < math.inf), math.nan, value)


@elementary
def hypot(x, y):
    """sqrt(x**2 + y**2) within 1 ULP, without overflow; infinite if either is, even beside NaN."""
    a, b = magnitude(x), magnitude(y)
    larger, smaller = select(a > b, a, b), select(a > b, b, a)
    # scaled by a power of two, so that the squares are in range
    high, down, low, up = (60, -66, -50, 100) if x.bits == 32 else (500, -520, -400, 700)
    huge, tiny = larger > 2.0**high, larger < 2.0**low
    one = x.literal(1.0)
    scale = select(huge, x.literal(2.0**down), select(tiny, x.literal(2.0**up), one))
    back = select(huge, x.literal(2.0**-down), select(tiny, x.literal(2.0**-up), one))
    p, q = larger * scale, smaller * scale
    square = p * p
    rest = fma(p, p, -square)
    total = fma(q, q, square)
    lost = fma(q, q, square - total) + rest
    root = call("llvm.sqrt", total)
    error = fma(-root, root, total) + lost
    root = root + select(root > 0.0, error / (root + root), 0.0)
    result = select(p < math.inf, root, p) * back
    result = select(is_nan(x) | is_nan(y), x + y, result)
    return select((a == math.inf) | (b == math.inf), math.inf, result)
