"""Powers and the hypotenuse."""

import math

from llvmlite import ir

from staticgrad.vectormath.exponential import EXP_RANGE, exp, power_of_two, reduce
from staticgrad.vectormath.logarithm import decompose, log
from staticgrad.vectormath.straightline import (
    Value,
    as_bits,
    call,
    elementary,
    fma,
    magnitude,
    polynomial,
    select,
)  # fmt: skip

# (2 atanh(s) - 2s - 2/3 s**3) / s**5 in powers of s**2
ATANH_TAIL = (
    0.4, 0.28571428571429486, 0.22222222221583057, 0.18181818351736828, 0.15384593233666857,
    0.1333489778380404, 0.11703768295085705, 0.11748731295085944,
)  # fmt: skip
LN2 = (0.6931471805599453, 2.3190468138462996e-17)
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def two_sum(a, b):
    """a + b and what its rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def double_log(x):
    """log(x) for positive finite x as the sum of two numbers, to 68 bits or more."""
    k, f = decompose(x)
    divisor = f + 2.0
    lost_divisor = f - (divisor - 2.0)
    s = f / divisor
    s_low = fma(-s, lost_divisor, fma(-s, divisor, f)) / divisor
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    # s**3 and two thirds of it
    cube = z * s
    cube_low = fma(z, s, -cube) + fma(z, s_low, z_low * s)
    third = cube * TWO_THIRDS[0]
    third_low = fma(cube, TWO_THIRDS[0], -third) + fma(cube, TWO_THIRDS[1], cube_low * TWO_THIRDS[0])
    tail = polynomial(z, ATANH_TAIL) * (z * cube)
    high, low = two_sum(2.0 * s, third)
    low = low + (2.0 * s_low + third_low + tail)
    whole = k * LN2[0]
    whole_low = fma(k, LN2[0], -whole) + k * LN2[1]
    total, rest = two_sum(whole, high)
    rest = rest + (low + whole_low)
    high = total + rest
    return high, (total - high) + rest


def exp_of_sum(high, low):
    """exp(high + low), with a ``low`` below the last bit of ``high``."""
    n, fraction = reduce(high, EXP_RANGE)
    scaled = fma(low, fraction + 1.0, fraction) + 1.0
    half = n >> 1
    return scaled * power_of_two(half, high.bits) * power_of_two(n - half, high.bits)


def magnitude_power(a, y):
    """a**y for a positive finite ``a``."""
    if a.bits == 32:
        wide_a, wide_y = (Value(v.builder, v.builder.fpext(v.value, ir.DoubleType())) for v in (a, y))
        wide = exp.formula(wide_y * log.formula(wide_a))
        return Value(a.builder, a.builder.fptrunc(wide.value, a.type))
    high, low = double_log(a)
    product = y * high
    rest = fma(y, high, -product) + y * low
    # where the product is out of range, there is nothing to correct
    inside = magnitude(product) < 800.0
    return exp_of_sum(product, select(inside, rest, 0.0))


@elementary
def power(x, y):
    """x**y within 1 ULP; at zeros and infinities as C99's pow."""
    a = magnitude(x)
    value = magnitude_power(a, y)
    grows = y > 0.0
    value = select(a == 0.0, select(grows, x.literal(0.0), math.inf), value)
    value = select(a == math.inf, select(grows, x.literal(math.inf), 0.0), value)
    endless = magnitude(y) == math.inf
    value = select(endless, select((a > 1.0) == grows, x.literal(math.inf), 0.0), value)
    value = select(endless & (a == 1.0), 1.0, value)
    whole = call("llvm.floor", y) == y
    half = y * 0.5
    odd = whole & (call("llvm.floor", half) != half)
    negative = as_bits(x) < 0
    value = select(negative & odd, -value, value)
    value = select((x < 0.0) & ~whole & (a < math.inf), math.nan, value)
    value = select((x != x) | (y != y), x + y, value)
    return select((y == 0.0) | (x == 1.0), 1.0, value)


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
    result = select((x != x) | (y != y), x + y, result)
    return select((a == math.inf) | (b == math.inf), math.inf, result)
