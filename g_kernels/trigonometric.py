"""Sine, cosine, tangent and their inverses.

``x = n pi/2 + r`` with ``|r| <= pi/4``: ``n pi/2`` is taken off in three pieces by fused
multiplications (Cody and Waite, "Software Manual for the Elementary Functions", 1980), which is exact
enough up to a limit. Beyond it, one element at a time, float64 goes to the C library and float32 is
multiplied by 2/pi in float64, its multiples of 4 left out (Payne and Hanek, 1983). The polynomials
are near-minimax (interpolation or least squares at Chebyshev nodes, with mpmath).
"""

import math

from llvmlite import ir

from .exponential import ROUNDER
from .libm import call_libm, unless_large
from .straightline import (
    Value,
    as_bits,
    as_float,
    call,
    copy_sign,
    elementary,
    fma,
    is_nan,
    magnitude,
    polynomial,
    select,
)  # fmt: skip

# where |x| begins, a power of two that divides such a float32, and 2/pi times it but for multiples of
# 4, in two pieces
TURNS = (
    (0.0, 1.0, 0.6366197723675814, -3.935735335036497e-17),
    (2.0**30, 2.0**-7, 1.4873308630504118, 6.928468442900343e-17),
    (2.0**54, 2.0**-31, 3.1528631795645894, 1.6528547839007045e-16),
    (2.0**78, 2.0**-55, 2.582001904936059, -7.725609031762152e-17),
    (2.0**102, 2.0**-79, 3.6715237261804545, 1.9002227009340573e-16),
)
HALF_PI = {
    32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# beyond, n is too large for the three pieces
LARGEST = {32: 2.0**16, 64: 2.0**25}
# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2 / 2) / r**4 in powers of r**2
SINE = {
    32: (-0.1666666716337204, 0.008333331905305386, -0.00019840039021801203,
         2.724378191487631e-06),
    64: (-0.16666666666666666, 0.008333333333333331, -0.00019841269841264567,
         2.7557319218954762e-06, -2.505210610025599e-08, 1.6058510875319195e-10,
         -7.585486485235938e-13),
}  # fmt: skip
COSINE = {
    32: (0.0416666679084301, -0.00138888880610466, 2.48005599132739e-05,
         -2.7295831728224584e-07),
    64: (0.041666666666666664, -0.0013888888888888887, 2.4801587301584367e-05,
         -2.75573192211891e-07, 2.0876755717584403e-09, -1.1470449354466773e-11,
         4.745198807202876e-14),
}  # fmt: skip
# (tan(r) - r) / r**3 in powers of r**2
TANGENT = {
    32: (0.3333333432674408, 0.13333217799663544, 0.05399592965841293, 0.021613959223031998,
         0.009979584254324436, 0.0011645224676701832, 0.003852875903248787),
    64: (0.3333333333333333, 0.13333333333333014, 0.05396825396864072, 0.02186948851767591,
         0.008863235990716, 0.0035921211425320545, 0.001455901411405977, 0.0005895829748789412,
         0.00024119792084255717, 9.006230241954822e-05, 5.544149474905316e-05,
         -1.0823288403374749e-05, 3.63547152733419e-05, -1.8234880785405255e-05,
         8.465492895797432e-06),
}  # fmt: skip
# (atan(x) - x) / x**3 in powers of x**2, up to 1
ATAN = {
    32: (-0.3333333134651184, 0.19999739527702332, -0.1427856832742691, 0.11033764481544495,
         -0.08656880259513855, 0.0625016912817955, -0.035871539264917374, 0.01350777130573988,
         -0.0023869972210377455),
    64: (-0.33333333333333315, 0.1999999999998641, -0.14285714284072867, 0.11111111032045885,
         -0.0909090706749639, 0.07692275905014771, -0.06666332509211019, 0.05879865489802981,
         -0.05249518584337663, 0.04705209153071265, -0.04165211802350559, 0.03536066107263382,
         -0.027590832895856107, 0.01880522404364234, -0.01059534604369583, 0.004642163938026353,
         -0.0014627303082646208, 0.00029221739308086863, -2.7633793313601145e-05),
}  # fmt: skip
# (asin(x) - x) / x**3 in powers of x**2, up to 1/2
ASIN = {
    32: (0.16666673123836517, 0.07498855143785477, 0.045001380145549774, 0.026554541662335396,
         0.03808502480387688),
    64: (0.1666666666666665, 0.07500000000020764, 0.044642857103423646, 0.03038194736709848,
         0.02237204763174451, 0.017355259955786323, 0.013929652902326633, 0.011875494382636922,
         0.0078029494773533175, 0.01603551434914882, -0.010749050339697808, 0.028169218060881414),
}  # fmt: skip


def quadrant_in_float64(x):
    """What ``quadrant`` gives, for a float32 of any size."""
    wide = Value(x.builder, x.builder.fpext(x.value, ir.DoubleType()))
    size = magnitude(wide)
    scale, turns, turns_low = (wide.literal(number) for number in TURNS[0][1:])
    for start, *numbers in TURNS[1:]:
        above = size >= start
        scale, turns, turns_low = (
            select(above, wide.literal(number), before)
            for number, before in zip(numbers, (scale, turns, turns_low), strict=True)
        )
    y = wide * scale
    product = y * turns
    shifted = product + ROUNDER[64]
    lost = fma(y, turns_low, fma(y, turns, -product))
    part = (product - (shifted - ROUNDER[64])) + lost
    # a product so large is rounded to quarters; what it lost may go up to the next integer
    again = part + ROUNDER[64]
    r = (part - (again - ROUNDER[64])) * (math.pi / 2)
    integer = as_bits(shifted) + as_bits(again)
    integer = Value(x.builder, x.builder.trunc(integer.value, ir.IntType(32)))
    narrow = Value(x.builder, x.builder.fptrunc(r.value, x.type))
    return integer, narrow, x.literal(0.0)


def quadrant(x):
    """``n`` as an integer, and ``r`` with what its rounding left out, for ``x`` up to LARGEST."""
    bits = x.bits
    first, second, third = HALF_PI[bits]
    shifted = fma(x, 2 / math.pi, ROUNDER[bits])
    n = shifted - ROUNDER[bits]
    rough = fma(-n, first, x)
    product = n * second
    r = rough - product
    # each of these differences is exact, or too small to matter
    lost = ((rough - r) - product) - fma(n, second, -product)
    rest = fma(-n, third, lost)
    # of the rounder's bits only the highest are set, so the lowest are those of n
    return as_bits(shifted), r, rest


def sine_and_cosine(r, rest):
    square = r * r
    sine = fma(square * r, polynomial(square, SINE[r.bits]), rest) + r
    tail = polynomial(square, COSINE[r.bits])
    if r.bits == 32:
        # within 2 ULP without what the roundings of r and of the first two terms leave out
        return sine, fma(square * square, tail, fma(square, -0.5, 1.0))
    half = square * 0.5
    near = 1.0 - half
    lost = (1.0 - near) - half
    return sine, near + fma(square * square, tail, lost - r * rest)


def signed(value, odd):
    """``value``, negated where the lowest bit of ``odd`` is set."""
    return as_float(as_bits(value) ^ (odd << (value.bits - 1)))


def sine_in_quadrant(n, r, rest):
    sine, cosine = sine_and_cosine(r, rest)
    return signed(select((n & 1) == 0, sine, cosine), n >> 1)


def cosine_in_quadrant(n, r, rest):
    sine, cosine = sine_and_cosine(r, rest)
    return signed(select((n & 1) == 0, cosine, sine), (n + 1) >> 1)


def tangent_in_quadrant(n, r, rest):
    square = r * r
    tail = fma(square * r, polynomial(square, TANGENT[r.bits]), rest)
    tangent = r + tail
    # -1 / tangent, and what the roundings of the tangent and of the inverse leave out
    inverse = -1.0 / tangent
    lost = fma(inverse, tangent, 1.0) + inverse * (r - tangent + tail)
    return select((n & 1) == 0, tangent, fma(inverse, lost, inverse))


def exactly(name, in_quadrant):
    """The same for all arguments, one at a time: by the C library in float64."""

    def formula(x):
        return call_libm(name, x) if x.bits == 64 else in_quadrant(*quadrant_in_float64(x))

    return formula


@elementary
def sin(x):
    """The sine within 1.7 ULP (float64: 1)."""
    value = sine_in_quadrant(*quadrant(x))
    value = select(x == 0.0, x, value)
    return unless_large(x, value, LARGEST[x.bits], "sine", exactly("sin", sine_in_quadrant))


@elementary
def cos(x):
    """The cosine within 1.7 ULP (float64: 1)."""
    value = cosine_in_quadrant(*quadrant(x))
    return unless_large(x, value, LARGEST[x.bits], "cosine", exactly("cos", cosine_in_quadrant))


@elementary
def tan(x):
    """The tangent within 2 ULP."""
    value = tangent_in_quadrant(*quadrant(x))
    value = select(x == 0.0, x, value)
    return unless_large(x, value, LARGEST[x.bits], "tangent", exactly("tan", tangent_in_quadrant))


def small_atan(x):
    """atan for ``|x| <= 1``, without ``x`` itself."""
    square = x * x
    return polynomial(square, ATAN[x.bits]) * (square * x)


@elementary
def atan(x):
    """The inverse tangent within 2 ULP."""
    size = magnitude(x)
    large = size > 1.0
    inverse = 1.0 / size
    reduced = select(large, inverse, size)
    tail = small_atan(reduced)
    high, low, _ = HALF_PI[x.bits]
    # what the inverse's rounding left out
    lost = fma(-inverse, size, 1.0) * inverse
    lost = select(size < math.inf, lost, 0.0)
    value = select(large, (high - reduced) + ((low - lost) - tail), reduced + tail)
    return copy_sign(value, x)


@elementary
def atan2(y, x):
    """The angle of the point (x, y), between -pi and pi, within 2 ULP; at zeros and infinities as
    C99's Annex F has it."""
    a, b = magnitude(x), magnitude(y)
    swap = b > a
    larger, smaller = select(swap, b, a), select(swap, a, b)
    # powers of two keep the quotient in range
    huge = larger > 2.0 ** (60 if x.bits == 32 else 900)
    factor = select(huge, x.literal(2.0**-60), x.literal(2.0**60))
    shrunk, other = larger * factor, smaller * factor
    ratio = other / shrunk
    lost = fma(-ratio, shrunk, other) / shrunk
    both_infinite = (a == math.inf) & (b == math.inf)
    ratio = select(both_infinite, 1.0, select(larger == 0.0, 0.0, ratio))
    # at zeros and infinities there is nothing to correct
    lost = select(magnitude(lost) < 1.0, lost, 0.0)
    tail = small_atan(ratio) + lost / fma(ratio, ratio, 1.0)
    high, low, _ = HALF_PI[x.bits]
    angle = select(swap, (high - ratio) + (low - tail), ratio + tail)
    negative = as_bits(x) < 0
    angle = select(negative, 2 * high - (angle - 2 * low), angle)
    return select(is_nan(x) | is_nan(y), x + y, copy_sign(angle, y))


def asin_parts(size):
    """asin(a) = pi/2 - 2 asin(s) with ``s = sqrt((1 - a) / 2)``, where ``a`` is above 1/2: whether it
    is, the smaller argument, what the root's rounding left out of it, and its asin without itself."""
    large = size > 0.5
    square = select(large, (1.0 - size) * 0.5, size * size)
    root = call("llvm.sqrt", square)
    lost = fma(-root, root, square) / (root + root)
    lost = select(square > 0.0, lost, 0.0)
    tail = polynomial(square, ASIN[size.bits]) * square
    base = select(large, root, size)
    return large, base, lost, tail * base


@elementary
def asin(x):
    """The inverse sine within 1.7 ULP; NaN beyond 1."""
    size = magnitude(x)
    high, low, _ = HALF_PI[x.bits]
    large, base, lost, tail = asin_parts(size)
    far = high - (2.0 * base - (low - 2.0 * (lost + tail)))
    return copy_sign(select(large, far, base + tail), x)


@elementary
def acos(x):
    """The inverse cosine within 1.2 ULP; NaN beyond 1."""
    size = magnitude(x)
    high, low, _ = HALF_PI[x.bits]
    large, base, lost, tail = asin_parts(size)
    near = 2.0 * (base + (lost + tail))
    far = select(x < 0.0, 2 * high - (near - 2 * low), near)
    return select(large, far, high - (x - (low - copy_sign(tail, x))))
